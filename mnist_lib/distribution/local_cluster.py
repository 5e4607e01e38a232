"""Several workers as processes of this machine, to try a multi-worker run.

    exit_code = run_workers(["scripts/train.py", "--strategy=multi_worker_mirrored"], 2)

Each gets a `TF_CONFIG` with addresses on loopback. What they print is passed on with
a prefix, signals are passed to them, and when one fails the others are ended. When this
process is killed they get SIGTERM, and save what they can.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import typing
from collections.abc import Iterator, Sequence

from mnist_lib import errors, stop_signals
from mnist_lib.distribution import orphans

_SECONDS_AFTER_SECOND_SIGNAL = 2.0
_LOOK_SECONDS = 0.1


def run_workers(command: Sequence[str], num_workers: int, *, seconds_to_end: float = 90.0) -> int:
    """Runs one command as several workers and waits for them.

    A signal that asks this process to stop is passed to them, with all that they have
    started; a second one, too, and what has not ended soon after it is killed.

    Args:
      command: a Python script and its arguments, or a program and its.
      num_workers: how many, at least 1.
      seconds_to_end: how long the others may take to end by themselves, saving what they
        can, once one has failed, or this process has been killed; then they are killed.

    Returns:
      The exit code of the first that failed (128 + the signal's number, if a signal ended
      it; 75, if that was one passed on); 0 if none did.

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
        signals = stack.enter_context(_passing_signals_to(workers))
        guard = stack.enter_context(orphans.Guard(seconds_to_end))
        for index in range(num_workers):
            cluster = {"worker": addresses}
            task = {"type": "worker", "index": index}
            config = json.dumps({"cluster": cluster, "task": task})
            if signals:
                break
            workers.append(stack.enter_context(_worker(index, program, config, guard)))
            if signals:  # while it was not yet in the list
                workers[-1].send(signals[-1])
        code = _wait(workers, seconds_to_end, signals, guard)
    sys.stdout.flush()
    was_signal_s = code in {128 + number for number in signals}
    was_killed = len(signals) > 1 and code == 128 + signal.SIGKILL
    if was_signal_s or was_killed or (signals and len(workers) < num_workers):
        return os.EX_TEMPFAIL
    return code


class _Worker:
    """A process and the threads that pass its output on."""

    def __init__(self, index: int, program: list[str], tf_config: str, guard: orphans.Guard):
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
        guard.add(self.process.pid)  # before anything else, in which this process may be killed
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

    def send(self, number: int) -> None:
        """Sends a signal to it and to what it has started, as far as they have not ended."""
        if self.exit_code is None or any(thread.is_alive() for thread in self._threads):
            with contextlib.suppress(ProcessLookupError):  # it has this moment
                os.killpg(self.process.pid, number)

    def wait_for_output(self) -> None:
        for thread in self._threads:
            thread.join()


@contextlib.contextmanager
def _worker(
    index: int, program: list[str], tf_config: str, guard: orphans.Guard
) -> Iterator[_Worker]:
    worker = _Worker(index, program, tf_config, guard)
    try:
        yield worker
    finally:
        worker.send(signal.SIGKILL)
        worker.process.wait()
        worker.wait_for_output()


def _wait(
    workers: list[_Worker], seconds_to_end: float, signals: list[int], guard: orphans.Guard
) -> int:
    """Waits for all; returns the first exit code that is not 0.

    Args:
      workers: those that were started.
      seconds_to_end: what others have once one has failed.
      signals: what this process gets meanwhile; the second of them is the last.
      guard: is told of those that have ended.
    """
    codes: list[int] = []

    def watch(worker: _Worker) -> None:
        worker.process.wait()
        if worker.exit_code:
            codes.append(worker.exit_code)
        worker.wait_for_output()
        guard.forget(worker.process.pid)
        if worker.exit_code:
            with contextlib.suppress(BrokenPipeError):  # as in `_pass_on`
                # With its end of line at once: others write, too.
                ending = f"ended with exit code {worker.exit_code}\n"
                sys.stderr.write(f"worker {worker.index} {ending}")

    watchers = [threading.Thread(target=watch, args=(worker,)) for worker in workers]
    for watcher in watchers:
        watcher.start()
    deadline = math.inf
    while any(watcher.is_alive() for watcher in watchers):
        now = time.monotonic()
        if codes:
            deadline = min(deadline, now + seconds_to_end)
        if len(signals) > 1:
            deadline = min(deadline, now + _SECONDS_AFTER_SECOND_SIGNAL)
        if now > deadline:
            for worker in workers:
                worker.send(signal.SIGKILL)
        time.sleep(_LOOK_SECONDS)
    return codes[0] if codes else 0


@contextlib.contextmanager
def _passing_signals_to(workers: list[_Worker]) -> Iterator[list[int]]:
    """Yields the list of the signals that have come."""
    received: list[int] = []

    def pass_on(number: int, _frame) -> None:
        received.append(number)
        for worker in workers:
            worker.send(number)

    with stop_signals.handled_by(pass_on):
        yield received


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
