"""Stops a run on SIGINT, SIGTERM and their like where its state can be saved."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator

from mnist_lib import stop_signals

_STOPPED_AT_ONCE = b"error: stopped at once by a second signal; start again to go on\n"


class StopRequest:
    """Whether a signal, or anything else, has asked the run to stop.

    Attributes:
      signal_name: one of `stop_signals`, such as `"SIGTERM"`, once it has, else None.
    """

    signal_name: str | None = None
    _asked_by: str | None = None

    def ask(self, reason: str) -> None:
        """Asks for a stop where the state can be saved; `reason` is who asks, for a message."""
        self._asked_by = reason

    @property
    def is_requested(self) -> bool:
        """Whether this process has been asked."""
        return self.signal_name is not None or self._asked_by is not None

    @property
    def reason(self) -> str:
        """What has asked for it, for a message."""
        return self.signal_name or self._asked_by or "a signal to another worker"


@contextlib.contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Turns the first signal into a request; the second ends the process at once.

    In an interactive session, whose process holds the user's variables, the second raises
    KeyboardInterrupt instead, as soon as the steps at hand are done.

    The main thread may be inside TensorFlow for seconds, and Python runs signal
    handlers only on return. Python's C handler writes each signal to a socket
    immediately, however, and a thread waits on its other end.

    Outside the main thread signals cannot be handled, and nothing is changed.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    is_interactive = hasattr(sys, "ps1") or "ipykernel" in sys.modules
    received: list[int] = []

    def handle(number: int, _frame) -> None:
        received.append(number)
        if len(received) > 1 and is_interactive:
            raise KeyboardInterrupt

    reader, writer = socket.socketpair()
    writer.setblocking(False)

    def watch() -> None:
        with reader:
            while number := reader.recv(1):
                if number[0] not in numbers:
                    continue
                if request.signal_name is not None and not is_interactive:
                    os.write(2, _STOPPED_AT_ONCE)
                    os._exit(os.EX_TEMPFAIL)
                request.signal_name = signal.Signals(number[0]).name

    numbers = stop_signals.stopping()
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    previous_fd = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        with stop_signals.handled_by(handle):
            yield request
    finally:
        signal.set_wakeup_fd(previous_fd)
        writer.close()  # ends the thread
        watcher.join()
