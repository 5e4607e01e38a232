"""What a process of the benchmark's runs: `python -m benchmarks.child ROLE OPTIONS`.

`workers` starts it. A process that contends does what each line of standard input says
and answers each in a line of JSON; the others answer once.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import typing
from collections.abc import Callable

from benchmarks import (
    arrays,
    contenders,
    device_checks,
    input_cost,
    load,
    overhead,
    settings,
    summaries_cost,
)
from benchmarks.tasks import Task, TrainingLoop

_ANSWERS_ONCE: dict[str, Callable[..., dict]] = {
    "arrays": arrays.write,
    "devices": device_checks.run,
    "input": input_cost.run,
    "overhead": overhead.run,
    "summaries": summaries_cost.run,
}


def main(role: str, options: dict) -> None:
    """Plays a role.

    Args:
      role: `contend`, or a key of `_ANSWERS_ONCE`.
      options: the fields of a `Task`, or the arguments of the function.
    """
    answers = _claim_standard_output()
    if role == "contend":
        _serve(Task(**options), answers)
    else:
        _answer(answers, _ANSWERS_ONCE[role](**options))


def _serve(task: Task, answers: typing.TextIO) -> None:
    if contenders.CONTENDERS[task.contender].is_ours:
        settings.apply(task.process)
    loop = _start(task)
    _answer(answers, {"ready": True})
    for line in sys.stdin:
        command = json.loads(line)
        others = load.OthersLoad()
        answer: dict
        if "num_steps" in command:
            answer = loop.train(command["num_steps"])._asdict()
        else:
            answer = {"accuracy": loop.evaluate()}
        answer["others_cores"] = others.cores()
        answer["peak_memory_mb"] = load.peak_memory_mb()
        _answer(answers, answer)


def _start(task: Task) -> TrainingLoop:
    # By its name: whoever times one contender need not have what another one imports.
    module = importlib.import_module(f"benchmarks.{contenders.CONTENDERS[task.contender].module}")
    return module.start(task)


def _answer(answers: typing.TextIO, answer: dict) -> None:
    print(json.dumps(answer), file=answers, flush=True)


def _claim_standard_output() -> typing.TextIO:
    """Returns standard output; what libraries print goes to standard error instead."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
