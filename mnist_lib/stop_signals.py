"""The signals that ask a process to stop, where it can be gone on with.

Slurm sends SIGTERM, or before the time limit what `--signal` names, often SIGUSR1; a closed
terminal SIGHUP; a limit on processor time SIGXCPU.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGXCPU)


def stopping() -> tuple[signal.Signals, ...]:
    """Returns them, without SIGHUP where it is ignored, as under `nohup`."""
    is_kept_alive = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return tuple(one for one in _STOPPING if one is not signal.SIGHUP or not is_kept_alive)


@contextlib.contextmanager
def handled_by(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Has a function called for each of them; only the main thread can say so.

    In another thread nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, handler) for number in stopping()}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
