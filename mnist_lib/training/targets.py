"""What a data set's element says: inputs, targets, weights; and whether the targets are classes."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any

import tensorflow as tf


class Batch(typing.NamedTuple):
    """A batch of a data set, as Keras's `fit` reads an element, too.

    Attributes:
      inputs: what the model takes: a tensor `[B, ...]`, or a structure of them.
      targets: what the loss takes beside the outputs, likewise.
      weights: of the examples in the loss, `[B]`; None: all 1.
    """

    inputs: Any
    targets: Any
    weights: tf.Tensor | None = None

    @property
    def num_rows(self) -> int:
        """B, which is static."""
        return tf.nest.flatten(self.inputs)[0].shape[0]

    def map(self, function: Callable[[tf.Tensor], tf.Tensor]) -> Batch:
        """Returns what a function makes of each tensor."""
        parts = self if self.weights is not None else self[:2]
        return Batch(*(tf.nest.map_structure(function, part) for part in parts))


def class_labels(targets: Any, outputs: Any, *, one_hot: bool) -> tf.Tensor | None:
    """Returns the class of each example; None if the targets are no classes.

    They are if the model has one output `[B, C]` with C > 1, and the targets are integers `[B]`.

    Args:
      targets: of a batch.
      outputs: of the model for it.
      one_hot: whether targets `[B, C]` are probabilities, the largest of which is the class's.

    Returns:
      Integers `[B]`, not necessarily in [0, C).
    """
    if not tf.is_tensor(targets) or not tf.is_tensor(outputs):
        return None
    if outputs.shape.rank != 2 or (outputs.shape[1] or 0) < 2:
        return None
    if one_hot and targets.shape.rank == 2:
        return tf.argmax(targets, axis=-1, output_type=tf.int32)
    is_class = targets.shape.rank == 1 and targets.dtype.is_integer
    return as_loss_labels(targets) if is_class else None


def as_loss_labels(targets: Any) -> Any:
    """Casts small integers, which the losses do not take, to int32; leaves all else."""

    def cast(x: tf.Tensor) -> tf.Tensor:
        is_small = x.dtype.is_integer and x.dtype not in (tf.int32, tf.int64)
        return tf.cast(x, tf.int32) if is_small else x

    return tf.nest.map_structure(cast, targets)
