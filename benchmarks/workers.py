"""Processes that do one thing when told to, so that contenders can take turns."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from benchmarks.tasks import Task
from mnist_lib import errors

# Where this package is found.
_ROOT = pathlib.Path(__file__).parent.parent


class Worker:
    """A process that trains one contender, a turn at a time."""

    def __init__(self, name: str, task: Task):
        """Starts the process; `name` stands for it in messages."""
        self._name = name
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
            exit_code = self._process.wait()
            self._messages.seek(0)
            raise errors.MnistLibError(
                f"benchmark: {self._name} ended with exit code {exit_code}:\n"
                + "".join(self._messages.readlines()[-10:])
            )
        return json.loads(answer)


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
