"""Processes that do one thing when told to, so that contenders can take turns."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import TypeVar

import tenacity

from benchmarks import contenders
from benchmarks.tasks import Task
from mnist_lib import errors

# Where this package is found.
_ROOT = pathlib.Path(__file__).parent.parent
# Below the library's logger, whose lines the command shows.
_logger = logging.getLogger("mnist_lib.benchmarks")
_T = TypeVar("_T")
_MOST_ATTEMPTS = 3


class PeerCrashError(errors.MnistLibError):
    """A signal, such as SIGSEGV, ended the process of a contender that is not ours."""


class Worker:
    """A process that trains one contender, a turn at a time."""

    def __init__(self, name: str, task: Task):
        """Starts the process; `name` stands for it in messages."""
        self._name = name
        self._is_ours = contenders.CONTENDERS[task.contender].is_ours
        # Its messages, and those of the libraries in it, are shown if it fails.
        self._messages = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            _command("contend", dataclasses.asdict(task)),
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._messages,
            text=True,
        )

    def wait_until_ready(self) -> None:
        """Waits until it has loaded its data and built its model."""
        self._answer()

    def train(self, num_steps: int) -> dict:
        """Trains.

        Returns:
          `loss`; `seconds`; `peak_memory_mb`, of the process so far; and `others_cores`,
          how many cores other processes kept busy meanwhile.
        """
        return self._ask({"num_steps": num_steps})

    def evaluate(self) -> float:
        """Returns the accuracy on the validation images."""
        return self._ask({})["accuracy"]

    def close(self) -> None:
        """Ends the process, which has nothing to save."""
        self._process.kill()
        self._process.communicate()
        self._messages.close()

    def _ask(self, command: dict) -> dict:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # then there is no answer either
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        if not answer:
            raise self._failure(self._process.wait())
        return json.loads(answer)

    def _failure(self, exit_code: int) -> errors.MnistLibError:
        self._messages.seek(0)
        messages = "".join(self._messages.readlines()[-10:])
        if exit_code >= 0:
            end = f"ended with exit code {exit_code}"
        else:
            end = f"was ended by {signal.strsignal(-exit_code) or 'a signal'} ({-exit_code})"
        error = errors.MnistLibError if exit_code >= 0 or self._is_ours else PeerCrashError
        return error(f"benchmark: {self._name} {end}:\n{messages}")


@contextlib.contextmanager
def running(tasks: dict[str, Task]) -> Iterator[dict[str, Worker]]:
    """Starts a process per task, waits until all are ready, and ends them afterwards."""
    workers: dict[str, Worker] = {}
    try:
        for name, task in tasks.items():
            workers[name] = Worker(name, task)
        for worker in workers.values():
            worker.wait_until_ready()
        yield workers
    finally:
        for worker in workers.values():
            worker.close()


def again_if_a_peer_crashes(measure: Callable[[], _T]) -> _T:
    """Returns what `measure` returns, which is called again if a peer crashed in it.

    A crash of a peer is no result of ours, and must not cost those of the others. Keras
    `fit` under MirroredStrategy did once in some 1,700 calls (TensorFlow 2.21). A crash of
    ours is an error at once.

    Raises:
      PeerCrashError: it did three times.
    """

    def say(state: tenacity.RetryCallState) -> None:
        assert state.outcome is not None
        _logger.warning("%s\nAll contenders begin again", state.outcome.exception())

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(PeerCrashError),
        stop=tenacity.stop_after_attempt(_MOST_ATTEMPTS),
        before_sleep=say,
        reraise=True,
    )(measure)


def ask_once(role: str, options: dict) -> dict:
    """Returns the answer of a process that is started for one question.

    Args:
      role: a role of `child` that answers once.
      options: the arguments of what it does.

    Raises:
      MnistLibError: it failed; its messages are on standard error.
    """
    command, environment = _command(role, options), _environment()
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise errors.MnistLibError(
            f"benchmark: {role} ended with exit code {done.returncode}, see above"
        )
    return json.loads(done.stdout)


def _command(role: str, options: dict) -> list[str]:
    # -P: what lies in the current directory must not be taken for this package.
    return [sys.executable, "-P", "-m", "benchmarks.child", role, json.dumps(options)]


def _environment() -> dict[str, str]:
    """Returns that of this process, with the package to be found wherever it was started."""
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
