"""Where two records of a training step first differ."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence

import keras
import numpy as np

from mnist_lib.parity import advice
from mnist_lib.parity.step_record import Copies, Named, StepRecord
from mnist_lib.parity.tolerances import Tolerance, largest_of

EXACT = Tolerance(0.0, 0.0)


@dataclasses.dataclass(frozen=True)
class Difference:
    """Something that is not the same on one replica and on several.

    Attributes:
      stage: one of `advice.STAGES`, what a step computes.
      step: the step it arose in; 1 is the first.
      name: of the layer, variable or metric.
      magnitude: the largest absolute difference; infinite if shapes differ, not a number
        if what differs, or both, holds what is none.
      advice: what it is likely to be, and what to do.
    """

    stage: str
    step: int
    name: str
    magnitude: float
    advice: str

    def __str__(self) -> str:
        is_none = math.isnan(self.magnitude)
        what = "is not a number" if is_none else f"differs by up to {self.magnitude:.3g}"
        return f"{self.stage}: {self.name} {what} in step {self.step}. {self.advice}"


@dataclasses.dataclass(frozen=True)
class _Pair:
    """What should be the same, and what it is measured by (see `tolerances`)."""

    name: str
    expected: np.ndarray
    found: np.ndarray
    scale: float = 0.0
    largest: float = 0.0
    operation: keras.Operation | None = None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Compares a step of one replica with that of several.

    Attributes:
      step: the number of the step; 1 is the first.
      tolerance: what may differ.
      batch_size: rows of the global batch.
      num_parts: parts in which a replica sees its rows.
      may_overflow: the optimizer scales the loss, and skips a step whose gradient is not
        finite.
    """

    step: int
    tolerance: Tolerance
    batch_size: int
    num_parts: int = 1
    may_overflow: bool = False

    def before_update(self, one: StepRecord, many: StepRecord) -> Iterator[Difference]:
        """Yields the first difference of each stage up to the reduced gradients."""
        inputs = self._rows(one.inputs, many.inputs)
        yield from self._first("input", inputs, EXACT)
        yield from self.outputs("forward", one.layer_outputs, many.layer_outputs, one.operations)
        yield from self._losses(one, many)
        yield from self._gradients(one, many)

    def outputs(
        self,
        stage: str,
        one: Named,
        many: Named,
        operations: Sequence[keras.Operation],
    ) -> Iterator[Difference]:
        """Yields the first output of a layer that differs."""
        if len(one) != len(many):
            yield Difference(stage, self.step, "what is called", math.inf, advice.OTHER_LAYERS)
            return
        pairs = self._rows(one, many, self.num_parts if stage == "forward" else 1)
        largest = 0.0
        measured = []
        for pair, operation in zip(pairs, operations, strict=True):
            largest = max(largest, largest_of([pair.expected]))
            measured.append(dataclasses.replace(pair, largest=largest, operation=operation))
        yield from self._first(stage, measured)

    def variables(self, stage: str, one: Named, many: Named) -> Iterator[Difference]:
        """Yields the first variable of which a replica has another value."""
        scales = _layer_scales(one)
        largest = max(scales.values(), default=0.0)
        yield from self._first(
            stage,
            [
                _Pair(name, expected[0], copy, scales[_layer(name)], largest)
                for (name, expected), (_, copies) in zip(one, many, strict=True)
                for copy in copies
            ],
        )

    def metrics(self, one: Named, many: Named, tolerance: Tolerance) -> Iterator[Difference]:
        """Yields the first metric that differs."""
        pairs = [
            _Pair(name, expected[0], found[0])
            for (name, expected), (_, found) in zip(one, many, strict=True)
        ]
        yield from self._first("metric", pairs, tolerance)

    def _losses(self, one: StepRecord, many: StepRecord) -> Iterator[Difference]:
        # What they are computed from: where a loss is nearly 0, the logits are not.
        largest = largest_of([copies[0] for _, copies in one.layer_outputs])
        pairs = []
        if many.example_losses:
            # One value per example; a loss that averages returns fewer.
            shape = [sum(len(np.atleast_1d(x)) for x in many.example_losses)]
            shape += many.example_losses[0].shape[1:]
            pairs = [
                _Pair("the shape of the loss", np.array([self.batch_size]), np.array(shape)),
                *self._rows(
                    [("the loss per example", one.example_losses)],
                    [("the loss per example", many.example_losses)],
                ),
            ]
        pairs.append(_Pair("the global loss", _sum(one.loss_shares), _sum(many.loss_shares)))
        yield from self._first(
            "loss", [dataclasses.replace(pair, largest=largest) for pair in pairs]
        )

    def _gradients(self, one: StepRecord, many: StepRecord) -> Iterator[Difference]:
        """Yields what differs in the replicas' gradients, and in their sums.

        A gradient that should cancel is left with the rounding of its contributions: those
        of the replicas, and of the layer, whose other gradients come from the same ones.
        """
        locals_ = [*one.local_gradients, *many.local_gradients]
        scales = _layer_scales(one.local_gradients)
        for (name, _), (_, copies) in zip(one.local_gradients, many.local_gradients, strict=True):
            scales[_layer(name)] = max(scales[_layer(name)], largest_of(copies))
        largest = largest_of([copy for _, copies in locals_ for copy in copies])
        yield from self._first(
            "gradient",
            [
                _Pair(name, _sum(expected), _sum(found), scales[_layer(name)], largest)
                for (name, expected), (_, found) in zip(
                    one.local_gradients, many.local_gradients, strict=True
                )
            ],
        )
        yield from self._first(
            "reduction",
            [
                _Pair(name, _sum(local), reduced, largest_of(local), largest)
                for step in (one, many)
                for (name, local), (_, copies) in zip(
                    step.local_gradients, step.reduced_gradients, strict=True
                )
                for reduced in copies
            ],
        )

    def _rows(self, one: Named, many: Named, num_parts: int = 1) -> list[_Pair]:
        """Returns what one replica has of the whole batch beside what the replicas have."""
        return [
            _Pair(f"{name}", expected, found)
            for (name, whole), (_, copies) in zip(one, many, strict=True)
            for expected, found in self._aligned(whole[0], copies, num_parts)
        ]

    def _aligned(
        self, whole: np.ndarray, copies: Copies, num_parts: int
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Returns one pair: along which axis the rows lie can be seen from the shapes."""
        rows = self.batch_size // len(copies) // num_parts
        shapes = {copy.shape for copy in copies}
        shape = shapes.pop()
        if shapes or len(shape) != whole.ndim:
            return [(whole, copies[0])]  # the shapes differ, and that is said
        axes = [axis for axis in range(whole.ndim) if whole.shape[axis] != shape[axis]]
        if not axes:  # no rows in it, such as a table of positions: each replica has it all
            return [(np.stack([whole] * len(copies)), np.stack(copies))]
        axis = axes[0]
        if len(axes) > 1 or whole.shape[axis] * rows != shape[axis] * self.batch_size:
            return [(whole, copies[0])]
        # Of the rows of a replica its first part.
        of_replicas = np.split(whole, len(copies), axis)
        expected = [np.take(x, range(shape[axis]), axis) for x in of_replicas]
        return [(np.concatenate(expected, axis), np.concatenate(copies, axis))]

    def _first(
        self, stage: str, pairs: Iterable[_Pair], tolerance: Tolerance | None = None
    ) -> Iterator[Difference]:
        """Yields the first pair that differs, if any, as a difference."""
        tolerance = tolerance or self.tolerance
        overflow = self.may_overflow and stage in ("gradient", "reduction")
        for pair in pairs:
            if overflow and not _is_finite(pair.expected) and not _is_finite(pair.found):
                continue
            magnitude = tolerance.difference(pair.expected, pair.found, pair.scale, pair.largest)
            if magnitude:
                is_none_on_both = not _is_finite(pair.expected) and not _is_finite(pair.found)
                where, what = advice.of(stage, pair.operation, not_finite=is_none_on_both)
                yield Difference(where, self.step, pair.name, magnitude, what)
                return


def _layer(path: str) -> str:
    return path.rpartition("/")[0]


def _layer_scales(variables: Named) -> dict[str, float]:
    """Returns the largest value of all variables of each layer."""
    scales: dict[str, float] = {}
    for name, copies in variables:
        scales[_layer(name)] = max(scales.get(_layer(name), 0.0), largest_of(copies[:1]))
    return scales


def _sum(copies: Copies) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.sum([copy.astype(np.float64) for copy in copies], axis=0)


def _is_finite(values: np.ndarray) -> bool:
    return values.dtype.kind in "OSU" or bool(np.isfinite(values.astype(np.float64)).all())
