"""Several workers as processes of this machine, to try a multi-worker run.

    exit_code = run_workers(["scripts/train.py", "--strategy=multi_worker_mirrored"], 2)

Each gets a `TF_CONFIG` with addresses on loopback. What they print is passed on with
a prefix, signals are passed to them, and when one fails the others are ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import typing
from collections.abc import Iterator, Sequence

from mnist_lib import errors, stop_signals


def run_workers(command: Sequence[str], num_workers: int, *, seconds_to_end: float = 90.0) -> int:
    """Runs one command as several workers and waits for them.

    Args:
      command: a Python script and its arguments, or a program and its.
      num_workers: how many, at least 1.
      seconds_to_end: how long the others may take to end by themselves, saving what they
        can, once one has failed; then they are killed.

    Returns:
      The exit code of the first that failed (128 + the signal's number, if a signal
      ended it); 0 if none did.

    Raises:
      ConfigError: no command, or it cannot be started.
      BrokenPipeError: whoever reads what this process prints has gone. The workers have
        ended first, by themselves.
    """
    if not command:
        raise errors.ConfigError("command", "give the script to run after `--`")
    if num_workers < 1:
        raise errors.ConfigError("num_workers", f"{num_workers} must be at least 1")
    program = [sys.executable, *command] if command[0].endswith(".py") else list(command)
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(num_workers)]
    with contextlib.ExitStack() as stack:
        workers: list[_Worker] = []
        stack.enter_context(_passing_signals_to(workers))
        for index in range(num_workers):
            cluster = {"worker": addresses}
            task = {"type": "worker", "index": index}
            config = json.dumps({"cluster": cluster, "task": task})
            workers.append(stack.enter_context(_worker(index, program, config)))
        code = _wait(workers, seconds_to_end)
    sys.stdout.flush()
    return code


class _Worker:
    """A process and the threads that pass its output on."""

    def __init__(self, index: int, program: list[str], tf_config: str):
        self.index = index
        try:
            self.process = subprocess.Popen(
                program,
                env=os.environ | {"TF_CONFIG": tf_config, "PYTHONUNBUFFERED": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # a terminal's ^C reaches it once, through us
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise errors.ConfigError(
                "command", f"{program[0]} cannot be started ({error.strerror})"
            ) from error
        pipes = ((self.process.stdout, sys.stdout), (self.process.stderr, sys.stderr))
        self._threads = [
            threading.Thread(target=_pass_on, args=(pipe, f"[worker {index}] ", stream))
            for pipe, stream in pipes
        ]
        for thread in self._threads:
            thread.start()

    @property
    def exit_code(self) -> int | None:
        """Its exit code, 128 and more for signals; None while it runs."""
        code = self.process.poll()
        return 128 - code if code is not None and code < 0 else code

    def wait_for_output(self) -> None:
        for thread in self._threads:
            thread.join()


@contextlib.contextmanager
def _worker(index: int, program: list[str], tf_config: str) -> Iterator[_Worker]:
    worker = _Worker(index, program, tf_config)
    try:
        yield worker
    finally:
        if worker.exit_code is None:
            worker.process.kill()
        worker.process.wait()
        worker.wait_for_output()


def _wait(workers: list[_Worker], seconds_to_end: float) -> int:
    """Waits for all; returns the first exit code that is not 0."""
    ended = threading.Event()
    codes: list[int] = []

    def watch(worker: _Worker) -> None:
        worker.process.wait()
        worker.wait_for_output()
        assert worker.exit_code is not None
        if worker.exit_code:
            codes.append(worker.exit_code)
            ended.set()
            with contextlib.suppress(BrokenPipeError):  # as in `_pass_on`
                ending = f"ended with exit code {worker.exit_code}"
                print(f"worker {worker.index} {ending}", file=sys.stderr)

    watchers = [threading.Thread(target=watch, args=(worker,)) for worker in workers]
    for watcher in watchers:
        watcher.start()
    while any(watcher.is_alive() for watcher in watchers) and not ended.wait(0.2):
        pass
    deadline = threading.Event()
    timer = threading.Timer(seconds_to_end, deadline.set)
    timer.daemon = True
    timer.start()
    while any(watcher.is_alive() for watcher in watchers):
        if deadline.wait(0.2):
            for worker in workers:
                if worker.exit_code is None:
                    worker.process.kill()
            break
    timer.cancel()
    for watcher in watchers:
        watcher.join()
    return codes[0] if codes else 0


@contextlib.contextmanager
def _passing_signals_to(workers: list[_Worker]) -> Iterator[None]:
    def pass_on(number: int, _frame) -> None:
        for worker in workers:
            if worker.exit_code is None:
                worker.process.send_signal(number)

    with stop_signals.handled_by(pass_on):
        yield


def _pass_on(pipe: typing.IO[str] | None, prefix: str, stream: typing.TextIO) -> None:
    assert pipe is not None
    with pipe:
        for line in pipe:  # to its end, or the worker could not go on
            # A reader that has gone is noticed when all have ended.
            with contextlib.suppress(BrokenPipeError):
                stream.write(f"{prefix}{line.rstrip()}\n")
                stream.flush()


def _free_ports(count: int) -> list[int]:
    """Returns ports that were free a moment ago; all are held while they are chosen."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
