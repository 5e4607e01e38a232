"""What the steps of one call amount to: sums that stay on the device until it ends."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf


class StepSums(NamedTuple):
    """Scalars of the global batches, or what they are made of; the fields of `TrainMetrics`.

    Attributes:
      num_examples, num_correct: int64.
      loss_sum, objective_sum: float64, each step's mean times its number of examples.
      gradient_norm: float64, of the last step.
      first_nonfinite_step: int64, 0 if there is none.
    """

    num_examples: tf.Tensor
    num_correct: tf.Tensor
    loss_sum: tf.Tensor
    objective_sum: tf.Tensor
    gradient_norm: tf.Tensor
    first_nonfinite_step: tf.Tensor

    def with_step(self, loss, objective, num_correct, num_examples, norm, is_bad, step) -> StepSums:
        """Returns the sums with those of one more step, the values of its global batch."""
        weight = tf.cast(num_examples, tf.float64)
        first = self.first_nonfinite_step
        return StepSums(
            self.num_examples + num_examples,
            self.num_correct + num_correct,
            self.loss_sum + loss * weight,
            self.objective_sum + objective * weight,
            norm,
            tf.where((first == 0) & is_bad, step, first),
        )


_KINDS = ("int64", "int64", "float64", "float64", "float64", "int64")
SPECS = StepSums(*(tf.TensorSpec([], kind) for kind in _KINDS))


def zeros() -> StepSums:
    """Returns those of no steps."""
    return StepSums(*(tf.zeros([], spec.dtype) for spec in SPECS))
