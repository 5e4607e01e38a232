"""Signals: the first is a request; the second ends the process, or interrupts a session."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from mnist_lib import stop_signals
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


STOPPING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGXCPU]


@pytest.mark.parametrize("number", STOPPING)
def test_the_first_is_a_request_and_handlers_are_put_back(number):
    before = [signal.getsignal(n) for n in STOPPING]
    with interruption.stop_on_signal() as stop:
        assert not stop.is_requested
        signal.raise_signal(number)
        _wait_for(stop)
        assert stop.reason == signal.Signals(number).name
    assert [signal.getsignal(n) for n in STOPPING] == before


def test_nohup_is_respected():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruption.stop_on_signal() as stop:
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGTERM)
            _wait_for(stop)
            assert stop.reason == "SIGTERM"
    finally:
        signal.signal(signal.SIGHUP, before)


def test_another_thread_changes_no_handler():
    before = signal.getsignal(signal.SIGTERM)
    during = []

    def look():
        with stop_signals.handled_by(lambda *_: None):
            during.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert during == [before]


_OUTSIDE_OF_TRAINING = """
import signal
from mnist_lib.commands import command_line
command_line.run(lambda: signal.raise_signal(signal.{name}), "Test.", [])
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1"])
def test_a_command_that_is_stopped_outside_of_training_says_so(name):
    code = _OUTSIDE_OF_TRAINING.format(name=name)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == os.EX_TEMPFAIL
    assert done.stderr == f"error: stopped by {name} outside of training; start again\n"


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
