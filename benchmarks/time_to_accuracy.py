"""Seconds of training until the validation accuracy first reaches a target."""

from __future__ import annotations

import dataclasses
import functools
import math
import statistics
from collections.abc import Sequence

import mnist_lib
from benchmarks import arrays, contenders, workers
from benchmarks.tasks import Task
from mnist_lib import choices, errors
from mnist_lib.runs import recipes


@dataclasses.dataclass(frozen=True)
class _Plan:
    """When to evaluate: after these numbers of steps, all counted from the start."""

    task: Task
    epoch_ends: list[int]


def measure_time_to_accuracy(
    recipe_names: Sequence[str],
    peers: Sequence[str],
    *,
    target: float = 0.99,
    max_epochs: int = 10,
    num_rounds: int = 1,
    data_options: dict | None = None,
) -> dict:
    """Trains recipes of ours and peers, an epoch each in turn, until each has got there.

    Args:
      recipe_names: names in `recipes.RECIPES`; each is trained no longer than it says.
        The first is what the others are compared with.
      peers: keys of `CONTENDERS` other than ours; they train the `cnn`, 128 images a step.
      target: validation accuracy, in (0, 1].
      max_epochs: after which a peer gives up, at least 1.
      num_rounds: how often all of it is done, with seeds 0, 1, ...
      data_options: arguments of `load_dataset`.

    Returns:
      `target`, `dataset`, and `results`: for each contender `runs`, which hold
      `seconds` (training alone; tracing included, evaluation not), `first_step_seconds`
      of these, `epochs`, `accuracy`, and `reached`; the median `seconds` if all runs
      reached the target, else None; and `slower_by`, relative to the first.

    Raises:
      ConfigError: an unknown recipe, or a peer that does not exist or is not installed.
    """
    for name in recipe_names:
        choices.check("recipes", name, recipes.RECIPES)
    if peers or not recipe_names:
        contenders.check(peers)
    runs: dict[str, list[dict]] = {}
    with arrays.exported(data_options or {}) as (path, data):
        for seed in range(num_rounds):
            plans = make_plans(recipe_names, peers, path, data["num_train"], max_epochs, seed)
            train = functools.partial(_train_in_turn, plans, target)
            for name, run in workers.again_if_a_peer_crashes(train).items():
                runs.setdefault(name, []).append(run)
    results = {name: _summary(its_runs) for name, its_runs in runs.items()}
    first = next(iter(results.values()))["seconds"]
    for result in results.values():
        is_known = first is not None and result["seconds"] is not None
        result["slower_by"] = result["seconds"] / first if is_known else None
    return {"dataset": data["dataset"], "target": target, "results": results}


def make_plans(
    recipe_names: Sequence[str],
    peers: Sequence[str],
    path: str,
    num_train: int,
    max_epochs: int,
    seed: int,
) -> dict[str, _Plan]:
    """Returns what each contender does, under the name that the report gives it."""
    plans = {}
    for name in recipe_names:
        config = mnist_lib.recipe(name)
        if config.train_size is not None or config.strategy != "mirrored":
            raise errors.ConfigError("recipes", f"{name} trains on a part, or not mirrored")
        steps, total = config.steps_per_epoch(num_train), config.total_steps(num_train)
        ends = [*range(steps, total, steps), total]
        task = Task("mirrored", config.model, config.batch_size, path, seed, name)
        plans[f"mnist_lib --recipe={name}"] = _Plan(task, ends)
    steps = math.ceil(num_train / 128)
    for name in peers:
        task = Task(name, "cnn", 128, path, seed)
        ends = [steps * (epoch + 1) for epoch in range(max_epochs)]
        plans[f"{name} (cnn)"] = _Plan(task, ends)
    return plans


def _train_in_turn(plans: dict[str, _Plan], target: float) -> dict[str, dict]:
    """Gives every contender an epoch at a time until it has reached the target."""
    runs = {}
    with workers.running({name: plan.task for name, plan in plans.items()}) as running:
        for name, worker in running.items():
            seconds = worker.train(1)["seconds"]
            runs[name] = {"seconds": seconds, "first_step_seconds": seconds, "epochs": 0}
        unfinished = set(plans)
        while unfinished:
            for name in [name for name in plans if name in unfinished]:
                run, ends = runs[name], plans[name].epoch_ends
                begin = ends[run["epochs"] - 1] if run["epochs"] else 1
                end = ends[run["epochs"]]
                run["seconds"] += running[name].train(end - begin)["seconds"]
                run["epochs"] += 1
                run["accuracy"] = running[name].evaluate()
                run["reached"] = run["accuracy"] >= target
                if run["reached"] or run["epochs"] == len(ends):
                    unfinished.remove(name)
    return runs


def _summary(runs: list[dict]) -> dict:
    reached = all(run["reached"] for run in runs)
    return {
        "seconds": statistics.median(run["seconds"] for run in runs) if reached else None,
        "runs": runs,
    }
