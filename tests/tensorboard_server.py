"""TensorBoard as a process of its own, and what its pages ask it for."""

import contextlib
import pathlib
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

from script_runs import free_port

SECONDS = 300  # of a machine that does a lot else


@contextlib.contextmanager
def tensorboard_of(folder: pathlib.Path) -> Iterator[str]:
    """Serves a folder on loopback, read again every second; its address, with a slash."""
    port = free_port()
    program = str(pathlib.Path(sys.executable).with_name("tensorboard"))
    flags = ["--host", "127.0.0.1", "--port", str(port), "--reload_interval", "1"]
    with subprocess.Popen(
        [program, "--logdir", str(folder), *flags],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            yield f"http://127.0.0.1:{port}/"
        finally:
            server.terminate()


def answer_of(url: str) -> bytes:
    """What the server says; nothing while it has not started."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.read()
    except OSError:
        return b""


def wait_until(condition: Callable[[], Any], not_yet: tuple[type[Exception], ...] = ()) -> Any:
    """Asks again until the answer is true, also after an error of some classes; returns it."""
    deadline = time.monotonic() + SECONDS
    while True:
        with contextlib.suppress(*not_yet):
            if value := condition():
                return value
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.5)
