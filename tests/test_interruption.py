"""Signals: the first is a request; the second ends the process, or interrupts a session."""

import os
import signal
import subprocess
import sys
import time

import pytest

from mnist_lib.runs import interruption

_TWICE = """
import signal, time
from mnist_lib.runs import interruption
with interruption.stop_on_signal() as stop:
    for _ in range(2):
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.5)
print("survived")
"""


def _wait_for(stop) -> None:
    deadline = time.monotonic() + 10
    while not stop.is_requested and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_is_a_request_and_handlers_are_put_back(number):
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with interruption.stop_on_signal() as stop:
        assert not stop.is_requested
        signal.raise_signal(number)
        _wait_for(stop)
        assert stop.reason == signal.Signals(number).name
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_the_second_ends_a_command_at_once():
    done = subprocess.run(
        [sys.executable, "-c", _TWICE], capture_output=True, text=True, check=False
    )
    assert done.returncode == os.EX_TEMPFAIL
    assert done.stderr == "error: stopped at once by a second signal; start again to go on\n"


def _interrupt_twice() -> None:
    with interruption.stop_on_signal() as stop:
        signal.raise_signal(signal.SIGINT)
        _wait_for(stop)
        signal.raise_signal(signal.SIGINT)


def test_the_second_keeps_an_interactive_session(monkeypatch):
    """With its variables: what the first has not ended, an exception does."""
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    with pytest.raises(KeyboardInterrupt):
        _interrupt_twice()
