"""Where two records of a training step first differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import keras
import numpy as np

from mnist_lib.parity import record
from mnist_lib.training import keras_internals

STAGES = ("input", "forward", "loss", "gradient", "reduction", "update", "state", "metric")


@dataclasses.dataclass(frozen=True)
class Difference:
    """Something that is not the same on one replica and on several.

    Attributes:
      stage: one of `STAGES`, what a step computes.
      step: the step it arose in; 1 is the first.
      name: of the layer, variable or metric.
      magnitude: the largest absolute difference; infinite if shapes differ.
      advice: what it is likely to be, and what to do.
    """

    stage: str
    step: int
    name: str
    magnitude: float
    advice: str

    def __str__(self) -> str:
        return (
            f"{self.stage}: {self.name} differs by up to {self.magnitude:.3g} in step {self.step}. "
            f"{self.advice}"
        )


_ADVICE = {
    "input": "make_batches must not depend on the model, the strategy or the time it is called.",
    "forward": "The layer sees only its replica's rows; what it computes must not depend on the "
    "other rows of a batch.",
    "loss": "The loss of an example must depend on that example alone, and be returned unreduced.",
    "gradient": "The gradients of the replicas do not add up to that of the whole batch: a custom "
    "gradient depends on the other rows, or normalises or clips before the sum.",
    "reduction": "What is applied is not the sum of the replicas' gradients: they are averaged, "
    "summed twice, or not at all.",
    "update": "The optimizer got the same gradients and left other values: it reduces or scales "
    "by itself, or draws random numbers.",
    "state": "The layer keeps statistics of its replica's rows; they must be reduced over the "
    "replicas (BatchNormalization: synchronized=True).",
    "metric": "The metric is not the same over uneven parts: sum numerators and denominators, use "
    "sample_weight, and divide once.",
}
_DROPOUT_ADVICE = (
    "The layer draws other random numbers on other replicas, which is sound but not "
    "comparable; mnist_lib.Dropout draws the rows of one mask."
)


def step_differences(
    model: keras.Model,
    one: record.StepRecord,
    many: record.StepRecord,
    step: int,
    tolerance: float,
) -> Iterator[Difference]:
    """Yields the first difference of each stage, in the order of the stages."""
    yield from first_difference(
        "input",
        step,
        [
            (name, _whole(expected), _whole(found), 0.0)
            for name, expected, found in _pairs(one.inputs, many.inputs)
        ],
    )
    yield from _forward_difference(model, one, many, step, tolerance)
    yield from _loss_difference(one, many, step, tolerance)
    yield from first_difference(
        "gradient",
        step,
        [
            (name, sum(expected), sum(found), tolerance)
            for name, expected, found in _pairs(one.local_gradients, many.local_gradients)
        ],
    )
    yield from first_difference(
        "reduction",
        step,
        [
            (name, sum(local), reduced, tolerance)
            for record in (one, many)
            for name, local, copies in _pairs(record.local_gradients, record.reduced_gradients)
            for reduced in copies
        ],
    )
    for stage, ours, theirs in (
        ("update", one.trainable, many.trainable),
        ("state", one.state, many.state),
    ):
        copies_of = [
            (name, expected[0], copy, tolerance)
            for name, expected, copies in _pairs(ours, theirs)
            for copy in copies
        ]
        yield from first_difference(stage, step, copies_of)


def _pairs(one: dict[str, list], many: dict[str, list]) -> Iterator[tuple[str, list, list]]:
    """Yields name and both lists, by position: Keras names the layers of a second model anew."""
    for (name, expected), found in zip(one.items(), many.values(), strict=True):
        yield name, expected, found


def _loss_difference(one, many, step, tolerance) -> Iterator[Difference]:
    yield from first_difference(
        "loss",
        step,
        [
            # One value per label; a loss that averages returns fewer.
            (
                "the shape of the loss",
                np.shape(_whole(many.inputs["labels"])),
                np.shape(_whole(many.example_losses)),
                0.0,
            ),
            (
                "the loss per example",
                _whole(one.example_losses),
                _whole(many.example_losses),
                tolerance,
            ),
            ("the global loss", sum(one.loss_shares), sum(many.loss_shares), tolerance),
        ],
    )


def _forward_difference(model, one, many, step, tolerance) -> Iterator[Difference]:
    compared = [
        (name, _whole(expected), _whole(found), tolerance)
        for name, expected, found in _pairs(one.layer_outputs, many.layer_outputs)
    ]
    for difference in first_difference("forward", step, compared):
        layers = {layer.name: layer for layer in keras_internals.flat_layers(model)}
        layer = layers.get(difference.name)
        if layer is not None and keras_internals.seed_generators(layer):
            difference = dataclasses.replace(difference, advice=_DROPOUT_ADVICE)
        elif layer is not None and layer.non_trainable_variables:
            # Statistics of the batch: of the rows of one replica.
            difference = dataclasses.replace(difference, stage="state", advice=_ADVICE["state"])
        yield difference


def first_difference(stage: str, step: int, compared) -> Iterator[Difference]:
    """Yields the first of (name, expected, found, tolerance) that differs, if any."""
    # Gradients that should cancel are left with the rounding of the others.
    sums = stage in ("gradient", "reduction")
    scale = max((_largest(expected) for _, expected, *_ in compared), default=0) if sums else 0
    for name, expected, found, tolerance in compared:
        magnitude = _difference(expected, found, tolerance, scale)
        if magnitude:
            yield Difference(stage, step, name, magnitude, _ADVICE[stage])
            return


def _difference(expected, found, tolerance: float, scale: float = 0.0) -> float:
    """Returns the largest absolute difference; 0 if it is within the tolerance.

    The tolerance is relative to `scale` or the largest value expected, if that is more.
    """
    expected, found = np.asarray(expected), np.asarray(found)
    if expected.shape != found.shape:
        return float("inf")
    if expected.size == 0 or np.array_equal(expected, found, equal_nan=expected.dtype.kind == "f"):
        return 0.0
    expected, found = expected.astype(np.float64), found.astype(np.float64)
    magnitude = float(np.max(np.abs(expected - found)))
    scale = max(scale, _largest(expected))
    return 0.0 if magnitude <= tolerance * scale + tolerance**2 else magnitude


def _largest(values) -> float:
    return float(np.max(np.abs(values), initial=0.0))


def _whole(parts: list[np.ndarray]) -> np.ndarray:
    """Returns the global batch from the rows of the replicas."""
    return np.concatenate(parts) if parts[0].ndim else np.stack(parts)
