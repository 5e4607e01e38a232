"""What TensorBoard's summaries add to a run: whole runs at each level, in turn, in one process."""

from __future__ import annotations

import dataclasses
import pathlib
import statistics
import tempfile
import time

import mnist_lib
from benchmarks import overhead, workers
from mnist_lib import choices, runtime

LEVELS = tuple(level for level in choices.NAMES["summaries"] if level != "full")
_EVENT_FILES = "events.out.tfevents.*"


def measure_summaries(
    recipe: str = "fast",
    *,
    epochs: int | None = None,
    num_rounds: int = 4,
    data_options: dict | None = None,
) -> dict:
    """Trains a recipe at each level of summaries, one after the other, in a new process.

    Args:
      recipe: a name that `mnist_lib.recipe` knows.
      epochs: how many; None: the recipe's own.
      num_rounds: how often each level has its turn; medians are reported.
      data_options: arguments of `load_dataset`.

    Returns:
      `dataset`, `recipe`, `epochs`, `num_rounds` and `levels`: for each of `LEVELS`
      `loop_seconds`, from the first training step to the test, with validation, checkpoints and
      tracing; `slower_by`, that relative to the level `none`; `end_seconds`, from the test
      to the end; `event_bytes`, all event files.
    """
    options = {"epochs": epochs, "num_rounds": num_rounds, "data_options": data_options or {}}
    return workers.ask_once("summaries", {"recipe": recipe, **options})


def run(recipe: str, epochs: int | None, num_rounds: int, data_options: dict) -> dict:
    """Does what `measure_summaries` says, in this process."""
    runtime.configure_before_tensorflow()
    runtime.make_deterministic(seed=0)
    fields = {} if epochs is None else {"epochs": epochs}
    config = mnist_lib.recipe(recipe, **fields)
    data = mnist_lib.load_dataset(**data_options)
    calls = overhead.timed_calls()
    loops: dict[str, list[float]] = {level: [] for level in LEVELS}
    ends: dict[str, list[float]] = {level: [] for level in LEVELS}
    sizes = {}
    for _ in range(num_rounds):
        for level in LEVELS:
            calls.clear()
            with tempfile.TemporaryDirectory() as folder:
                workdir = pathlib.Path(folder, "run")
                mnist_lib.train_and_evaluate(
                    dataclasses.replace(config, summaries=level), workdir, data=data
                )
                ended = time.perf_counter()
                sizes[level] = sum(path.stat().st_size for path in workdir.rglob(_EVENT_FILES))
            test_begins = max(begin for part, begin, _ in calls if part == "validation")
            loops[level].append(test_begins - calls[0][1])
            ends[level].append(ended - test_begins)
    without = statistics.median(loops["none"])
    levels = {
        level: {
            "loop_seconds": statistics.median(loops[level]),
            "slower_by": statistics.median(loops[level]) / without,
            "end_seconds": statistics.median(ends[level]),
            "event_bytes": sizes[level],
        }
        for level in LEVELS
    }
    return {
        "dataset": data.name,
        "recipe": recipe,
        "epochs": epochs,
        "num_rounds": num_rounds,
        "levels": levels,
    }
