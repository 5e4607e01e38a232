"""What passes before training, and how much memory a whole run takes."""

from __future__ import annotations

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from mnist_lib import choices, errors
from mnist_lib.runs import recipes


def measure_startup(
    train_command: Sequence[str], recipe_names: Sequence[str], num_rounds: int = 3
) -> dict:
    """Measures whole processes; the files they read are warm after the first of them.

    Args:
      train_command: how `scripts/train.py` is called, with flags that say where data is.
      recipe_names: names in `recipes.RECIPES`, each trained to its end.
      num_rounds: how often each is done, at least 1; one more before that is warm-up for
        all but the runs.

    Returns:
      `import_tensorflow` and `help`, the median `seconds` and `peak_memory_mb` of a Python
      that imports TensorFlow and of `train.py --help`; and `runs`, for each recipe the same
      of the whole command, `train_seconds` of training steps in it, and `outside_seconds`,
      the rest.

    Raises:
      ConfigError: there is no such recipe.
      MnistLibError: a command failed.
    """
    for name in recipe_names:
        choices.check("recipes", name, recipes.RECIPES)
    short = {
        "import_tensorflow": [sys.executable, "-c", "import tensorflow"],
        "help": [*train_command, "--help"],
    }
    taken: dict[str, list[dict]] = {}
    for turn in range(1 + num_rounds):
        for name, command in short.items():
            measured = _run(command)
            if turn:
                taken.setdefault(name, []).append(measured)
    report: dict = {name: _medians(measured) for name, measured in taken.items()}
    report["runs"] = {
        name: _medians([_run_recipe(train_command, name) for _ in range(num_rounds)])
        for name in recipe_names
    }
    return report


def _run_recipe(train_command: Sequence[str], name: str) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        workdir = pathlib.Path(folder, "run")
        measured = _run([*train_command, f"--recipe={name}", f"--workdir={workdir}"])
        results = json.loads((workdir / "results.json").read_text())
    train_seconds = results["timing"]["train_seconds"]
    return {
        **measured,
        "train_seconds": train_seconds,
        "outside_seconds": measured["seconds"] - train_seconds,
    }


def _run(command: Sequence[str]) -> dict:
    """Runs a command to its end; returns its seconds and its largest resident set."""
    with tempfile.TemporaryFile("w+") as messages:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=messages)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            messages.seek(0)
            raise errors.MnistLibError(
                f"benchmark: {' '.join(command)} ended with exit code {process.returncode}:\n"
                + "".join(messages.readlines()[-10:])
            )
    return {"seconds": seconds, "peak_memory_mb": usage.ru_maxrss / 1024}


def _medians(measured: list[dict]) -> dict:
    return {key: statistics.median(one[key] for one in measured) for key in measured[0]}
