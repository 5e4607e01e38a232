"""Processes that do one thing when told to, so that contenders can take turns."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from benchmarks import contenders, load, settings
from mnist_lib import errors


class Worker:
    """A process that trains one contender, a turn at a time."""

    def __init__(self, name: str, task: contenders.Task):
        """Starts the process; `name` stands for it in messages."""
        self._name = name
        # Its messages, and those of the libraries in it, are shown if it fails.
        self._messages = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            _command("contend", dataclasses.asdict(task)),
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
def running(tasks: dict[str, contenders.Task]) -> Iterator[dict[str, Worker]]:
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


def serve(task: contenders.Task) -> None:
    """Does, in a worker's process, what each line of standard input says."""
    answers = _claim_standard_output()
    if contenders.CONTENDERS[task.contender].module == "ours":
        settings.apply(task.process)
    loop = contenders.start(task)
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        others = load.OthersLoad()
        if "num_steps" in command:
            answer = loop.train(command["num_steps"])._asdict()
        else:
            answer = {"accuracy": loop.evaluate()}
        answer["others_cores"] = others.cores()
        answer["peak_memory_mb"] = peak_memory_mb()
        print(json.dumps(answer), file=answers, flush=True)


def ask_once(role: str, options: dict) -> dict:
    """Returns the answer of a process that is started for one question.

    Raises:
      MnistLibError: it failed; its messages are on standard error.
    """
    done = subprocess.run(_command(role, options), stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise errors.MnistLibError(f"benchmark: ended with exit code {done.returncode}, see above")
    return json.loads(done.stdout.splitlines()[-1])


def peak_memory_mb() -> float:
    """Returns the largest resident set of this process so far, in MB (2**20 bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _command(role: str, options: dict) -> list[str]:
    return [sys.executable, "-m", "benchmarks", role, json.dumps(options)]


def _claim_standard_output():
    """Returns standard output; what libraries print goes to standard error instead."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers
