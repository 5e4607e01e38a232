"""Ends processes when the one that started them has died, however it died.

A process that is killed can do nothing any more. So a second one waits at a pipe that the
first holds open: its end is the first one's. This file is also what that second one runs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

_LOOK_SECONDS = 0.1


class Guard:
    """Ends the process groups it was told of if this process dies before it is closed."""

    def __init__(self, seconds_to_end: float):
        """Starts the process that waits.

        Args:
          seconds_to_end: how long the groups have between SIGTERM and SIGKILL.
        """
        # With the standard library alone, it is there at once and weighs little.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(seconds_to_end)],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # what is sent to our group does not reach it
        )

    def __enter__(self) -> Guard:
        return self

    def add(self, group: int) -> None:
        """Guards a process group; its number is that of its first process."""
        self._tell(f"{group}\n")

    def forget(self, group: int) -> None:
        """Guards it no more: it has ended, and its number may become another's."""
        self._tell(f"-{group}\n")

    def __exit__(self, *_error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # somebody has killed it
            self._process.stdin.write(line.encode())


def _wait_and_end(seconds_to_end: float) -> None:
    """Reads groups from standard input up to its end, then ends them."""
    groups = set()
    for line in sys.stdin:
        number = int(line)
        if number > 0:
            groups.add(number)
        else:
            groups.discard(-number)
    groups = _send(groups, signal.SIGTERM)
    deadline = time.monotonic() + seconds_to_end
    while groups and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
        groups = _send(groups, 0)
    _send(groups, signal.SIGKILL)


def _send(groups: set[int], number: int) -> set[int]:
    """Sends a signal, or 0 for none; returns the groups that are still there."""
    there = set()
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            try:
                os.killpg(group, number)
            except ProcessLookupError:  # its first process may not have founded it yet
                os.kill(group, number)
            there.add(group)
    return there


if __name__ == "__main__":
    _wait_and_end(float(sys.argv[1]))
