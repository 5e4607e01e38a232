"""What the steps of each recipe take on a machine that does nothing else.

    python docs/recipe_seconds.py --data_dir=DIR
    python docs/results.py

The seconds of a study are of whatever else ran beside it. Here each recipe takes steps in a process
of its own, one recipe after the other, and the median of several turns, times the steps of a whole
run on all 60,000 images (`few_*`: on theirs), goes into docs/recipe_seconds.json, from which
docs/results.py takes it. The steps themselves are of images that are not held out, 55,000.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from typing import Any

import marked_page

import mnist_lib

sys.path.append(str(marked_page.DOCS.parent))  # benchmarks/ is not installed
from benchmarks import arrays, environment, workers
from benchmarks.tasks import Task
from mnist_lib.runs import recipes

FILE = marked_page.DOCS / "recipe_seconds.json"
_NUM_IMAGES = 60_000
_NUM_TURNS, _TURN_SECONDS = 7, 1.5


def measure(names: list[str], data_options: dict[str, Any]) -> dict[str, Any]:
    """Times recipes.

    Args:
      names: of recipes.
      data_options: arguments of `load_dataset`.

    Returns:
      `environment`, and `recipes`: for each `milliseconds_per_step`, the median of its turns;
      `milliseconds_range`, lowest and highest; `others_cores`, what other processes kept busy, the
      highest of the turns; `num_steps` of a whole run; and `seconds`, of as many such steps.
    """
    found = {}
    with arrays.exported(data_options) as (path, _):
        for name in names:
            config = mnist_lib.recipe(name)
            task = Task("mirrored", config.model, config.batch_size, path, recipe=name)
            num_steps = config.total_steps(config.train_size or _NUM_IMAGES)
            with workers.running({name: task}) as running:
                found[name] = _timed(running[name], num_steps)
            print(name, found[name], flush=True)
    return {"environment": environment.describe(), "recipes": found}


def _timed(worker: workers.Worker, num_steps: int) -> dict[str, Any]:
    worker.train(10)  # traced, and warm
    each = worker.train(10)["seconds"] / 10
    per_turn = max(5, round(_TURN_SECONDS / each))
    turns = [worker.train(per_turn) for _ in range(_NUM_TURNS)]
    milliseconds = [1e3 * turn["seconds"] / per_turn for turn in turns]
    median = statistics.median(milliseconds)
    return {
        "milliseconds_per_step": round(median, 2),
        "milliseconds_range": [round(min(milliseconds), 2), round(max(milliseconds), 2)],
        "others_cores": round(max(turn["others_cores"] for turn in turns), 2),
        "num_steps": num_steps,
        "seconds": round(median * num_steps / 1e3, 1),
    }


def main(arguments: list[str]) -> None:
    """Writes the file; `arguments` are those of the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data_dir", help="where the prepared data is")
    data_dir = parser.parse_args(arguments).data_dir
    rows = json.loads((marked_page.DOCS / "results.json").read_text())
    names = [row["name"] for row in rows if row["name"] in recipes.RECIPES]
    FILE.write_text(
        json.dumps(measure(names, {"name": "mnist", "data_dir": data_dir}), indent=1) + "\n"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
