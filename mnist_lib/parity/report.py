"""The comparison of two trainers, and what it found."""

from __future__ import annotations

import dataclasses
import math

import keras
import tensorflow as tf

from mnist_lib import errors
from mnist_lib.distribution import strategies
from mnist_lib.parity import compare, parity_case, record, tolerances

_EVALUATION_BATCHES = 20


@dataclasses.dataclass(frozen=True)
class ParityReport:
    """The result of a check.

    Attributes:
      num_replicas: what one replica was compared with.
      num_steps: steps that were asked for.
      differences: those of the first step that has any, in the order in which a step
        computes them. The later ones usually follow from the first.
    """

    num_replicas: int
    num_steps: int
    differences: tuple[compare.Difference, ...]

    @property
    def agree(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    @property
    def first(self) -> compare.Difference | None:
        """Where the first difference arises; None if nothing differs."""
        return self.differences[0] if self.differences else None

    def __str__(self) -> str:
        if self.agree:
            return f"1 and {self.num_replicas} replicas agree over {self.num_steps} steps"
        lines = [f"1 and {self.num_replicas} replicas differ; the first difference arises in"]
        return "\n  ".join([*lines, *map(str, self.differences)])


@dataclasses.dataclass(frozen=True)
class Question:
    """What is compared; see `check.check_replica_parity`."""

    case: parity_case.ParityCase
    num_replicas: int
    num_steps: int
    tolerance: float | None
    accumulation_steps: int
    devices: tuple[str, ...] | None = None

    def strategy(self, num_replicas: int) -> tf.distribute.Strategy:
        """Returns one over the first devices, or logical devices of the CPU."""
        if self.devices is None:
            return strategies.create_strategy("mirrored", num_replicas)
        return tf.distribute.MirroredStrategy(list(self.devices[:num_replicas]))


def answer(question: Question) -> ParityReport:
    """Trains and compares in this process, which has enough devices.

    Raises:
      ConfigError: as `check.check_replica_parity`.
    """
    one = record.RecordingTrainer(question.case, question.strategy(1))
    many = record.RecordingTrainer(
        question.case, question.strategy(question.num_replicas), question.accumulation_steps
    )
    _start_alike(one, many)
    tolerance = tolerances.for_model(one.model, question.tolerance)
    found: list[compare.Difference] = []
    one_batches, many_batches = one.batches(), many.batches()
    for step in range(1, question.num_steps + 1):
        comparison = compare.Comparison(
            step,
            tolerance,
            question.case.batch_size,
            question.accumulation_steps,
            isinstance(one.optimizer, keras.optimizers.LossScaleOptimizer),
        )
        records = one.compute(one_batches), many.compute(many_batches)
        found += comparison.before_update(*records)
        # Both apply the same gradients, whose difference has been looked at: rounding is
        # not carried on, which Adam would magnify where a gradient is nearly 0.
        for trainer in (one, many):
            trainer.update(records[0].applied)
        found += comparison.variables("update", one.trainable(), many.trainable())
        found += comparison.variables("state", one.state(), many.state())
        if found:
            break
    else:
        found += _evaluation_differences(comparison, one, many)
    if found and math.isnan(found[0].magnitude):
        found = found[:1]  # all that follows is no number either
    return ParityReport(question.num_replicas, question.num_steps, tuple(found))


def _evaluation_differences(
    comparison: compare.Comparison, one: record.RecordingTrainer, many: record.RecordingTrainer
) -> list[compare.Difference]:
    ours, operations = one.evaluate(_EVALUATION_BATCHES)
    theirs, _ = many.evaluate(_EVALUATION_BATCHES)
    found = list(comparison.outputs("evaluation", ours, theirs, operations))
    if not found:
        found += comparison.variables("evaluation", one.state(), many.state())
    tolerance = tolerances.of_metrics(comparison.tolerance, one.metrics)
    return [*found, *comparison.metrics(one.results(), many.results(), tolerance)]


def _start_alike(one: record.RecordingTrainer, many: record.RecordingTrainer) -> None:
    """Gives both the same values, those of their variables that were made alike."""
    for ours, theirs, function in (
        (many.model.variables, one.model.variables, "build_model"),
        (many.optimizer.variables, one.optimizer.variables, "build_optimizer"),
    ):
        shapes = [[tuple(variable.shape) for variable in side] for side in (ours, theirs)]
        if shapes[0] != shapes[1]:
            raise errors.ConfigError(
                function,
                f"made variables of the shapes {_first_unlike(*shapes)} when it was called twice; "
                "it must make the same each time, whatever the strategy",
            )
        for our, their in zip(ours, theirs, strict=True):
            our.assign(their.numpy())


def _first_unlike(ours: list, theirs: list) -> str:
    for our, their in zip(ours, theirs, strict=False):
        if our != their:
            return f"{their} and {our}"
    return f"of {len(theirs)} variables and of {len(ours)}"
