"""Signs that training has gone wrong, looked for where a run is validated or saved.

What each step computes, loss and gradient, the step itself judges (`optimizers.judge`). Here
is what it cannot see: the update comes after them.
"""

from __future__ import annotations

import logging
import math
import pathlib
from collections.abc import Iterable, Mapping

import keras
import numpy as np
import tensorflow as tf

from mnist_lib import errors

_logger = logging.getLogger(__name__)

# How far, of the way from always naming the most frequent class to all right, an epoch must get.
_SHARE_OF_THE_WAY = 0.1


class VariablesCheck:
    """Checks that nothing is saved that is infinite or no number."""

    def __init__(self, variables: Iterable[keras.Variable]):
        """Keeps the variables, of the model and the optimizer."""
        self._variables = [
            variable for variable in variables if tf.as_dtype(variable.dtype).is_floating
        ]

    def check(self, run_path: pathlib.Path, step: int) -> None:
        """Looks at all of them.

        Args:
          run_path: of the run, for the message.
          step: that has been reached.

        Raises:
          DivergedError: names the first variable that holds such a value.
        """
        if self._are_finite():
            return
        name = next(
            variable.path for variable in self._variables if not np.isfinite(variable.numpy()).all()
        )
        raise errors.DivergedError(
            f"{run_path}: {name} is not finite after step {step}, though loss and gradient were. "
            "Nothing of it was saved; try a smaller --learning_rate."
        )

    # One graph: under a strategy each variable that is read outside of one takes a millisecond.
    @tf.function(autograph=False)
    def _are_finite(self) -> tf.Tensor:
        return tf.reduce_all(
            [tf.reduce_all(tf.math.is_finite(variable.value)) for variable in self._variables]
        )


def check_loss(loss: float, run_path: pathlib.Path, step: int) -> None:
    """Checks the loss of a validation.

    Raises:
      DivergedError: it is infinite or no number.
    """
    if not math.isfinite(loss):
        raise errors.DivergedError(
            f"{run_path}: the validation loss is {loss} after step {step}. Nothing of it was "
            "saved; try a smaller --learning_rate."
        )


class GuessingWatch:
    """Warns once, after the first epoch, of a model that does no better than guessing."""

    def __init__(self, labels: np.ndarray, steps_per_epoch: int):
        """Counts the classes.

        Args:
          labels: of the training images, integers `[N]`.
          steps_per_epoch: steps before which nothing is said.
        """
        self._guessing = float(np.bincount(labels).max() / len(labels))
        self._next_step = steps_per_epoch

    def look(self, step: int, train: Mapping[str, float]) -> None:
        """Looks at the training metrics since the validation before; `accuracy` may be missing."""
        accuracy = train.get("accuracy")
        if accuracy is None or step < self._next_step:
            return
        self._next_step = np.iinfo(np.int64).max
        if accuracy < self._guessing + _SHARE_OF_THE_WAY * (1 - self._guessing):
            _logger.warning(
                "WARNING: after step %d the model is right on %.1f %% of the training images, and "
                "always naming the most frequent class on %.1f %%: it does not learn. Look at the "
                "learning rate and the labels.",
                step,
                100 * accuracy,
                100 * self._guessing,
            )
