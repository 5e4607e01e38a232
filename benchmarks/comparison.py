"""Speed of the training loops on the same network, optimizer and images."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import mnist_lib
from benchmarks import arrays, contenders, turns, workers
from benchmarks.tasks import Task
from mnist_lib import errors

_CHANCE_LOSS = 2.303  # -log(1/10)
# How far behind the first contender's training loss another may be, by factor and at all.
_LOSS_FACTOR, _LOSS_MARGIN = 1.5, 0.05


def compare(
    names: Sequence[str],
    *,
    model: str = "mlp",
    batch_size: int = 128,
    num_rounds: int = 5,
    steps_per_round: int | None = None,
    data_options: dict | None = None,
) -> dict:
    """Times contenders in turn and compares each with the first.

    Each lives in a process of its own, set up as its users would set it up. All train
    the same network with Adam (1e-3, epsilon 1e-7) on the same images in memory.

    Args:
      names: keys of `contenders.CONTENDERS`; the first is what the others are compared with.
      model: a key of `contenders.NETWORKS`.
      batch_size: images per step.
      num_rounds: turns of each contender that count, at least 1; one more is warm-up.
      steps_per_round: steps per turn, at least 1; None for 0.2 to 1 s of `mirrored`.
      data_options: arguments of `load_dataset`.

    Returns:
      `settings`, and `results`: for each contender its `description` and what
      `turns.take_turns` returns.

    Raises:
      ConfigError: an unknown name, one that is not installed, no images per step, or more
        steps than an epoch has.
      MnistLibError: names the contender that failed, or that has not learned as much.
    """
    contenders.check(names)
    steps = contenders.steps_per_turn(model, batch_size, steps_per_round)
    _check_within_epoch(steps, batch_size)
    with arrays.exported(data_options or {}) as (path, data):
        tasks = {name: Task(name, model, batch_size, path) for name in names}
        take_turns = functools.partial(turns.take_turns, tasks, num_rounds, steps)
        results = workers.again_if_a_peer_crashes(take_turns)
    check_learned({name: result["loss"] for name, result in results.items()})
    for name, result in results.items():
        result["description"] = contenders.CONTENDERS[name].description
    settings = {
        "dataset": data["dataset"],
        "model": model,
        "batch_size": batch_size,
        "num_rounds": num_rounds,
        "steps_per_round": steps,
    }
    return {"settings": settings, "results": results}


def check_learned(train_losses: dict[str, float]) -> None:
    """Checks that the first contender has learned, and the others about as much.

    Raises:
      MnistLibError: names the contender that has not.
    """
    first = next(iter(train_losses.values()))
    allowed = min(_CHANCE_LOSS / 2, _LOSS_FACTOR * first + _LOSS_MARGIN)
    for name, loss in train_losses.items():
        if not loss <= allowed:
            raise errors.MnistLibError(
                f"benchmark: {name} has not learned: its training loss is {loss:.3f}, and "
                f"{allowed:.3f} is the most allowed. Times of it mean nothing; take more "
                "--steps_per_round or --num_rounds if they were few."
            )


def _check_within_epoch(steps_per_round: int, batch_size: int) -> None:
    available = mnist_lib.TrainConfig().num_train_examples
    if steps_per_round * batch_size > available:
        raise errors.ConfigError(
            "steps_per_round",
            f"{steps_per_round} of {batch_size} images are more than one epoch of {available}, and "
            "Keras fit is timed within one",
        )
