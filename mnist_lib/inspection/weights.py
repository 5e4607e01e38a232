"""How the weights of a model move: updates beside weights, and gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf


def values_of(variables: Sequence[keras.Variable]) -> dict[str, np.ndarray]:
    """Returns the values of variables by their paths."""
    return {variable.path: np.array(variable.numpy()) for variable in variables}


def update_ratios(
    before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Returns the Euclidean norm of each update relative to that of what was updated.

    About 1e-3 is usual; what is much larger is unstable, what is much smaller hardly learns.

    Args:
      before, after: the values of variables by name; one that is all zeros is left out.
    """
    norms = {name: float(np.linalg.norm(value)) for name, value in before.items()}
    return {
        name: float(np.linalg.norm(after[name] - value)) / norms[name]
        for name, value in before.items()
        if norms[name]
    }


class GradientProbe:
    """Gradients of the loss of some fixed examples, as in evaluation."""

    def __init__(
        self,
        model: keras.Model,
        loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
        images: np.ndarray,
        labels: np.ndarray,
    ):
        """Traces nothing yet.

        Args:
          model: images to what the loss takes.
          loss: labels and outputs to a loss per example, `[n]`.
          images, labels: `[n, ...]` and `[n]`.
        """
        self._model = model
        self._loss = loss
        self._images, self._labels = tf.constant(images), tf.constant(labels)

    def gradients(self) -> dict[str, np.ndarray]:
        """Returns the gradient of the mean loss by each trainable variable's path."""
        variables = self._model.trainable_variables
        found = self._compute()
        return {
            variable.path: gradient.numpy()
            for variable, gradient in zip(variables, found, strict=True)
        }

    @tf.function(autograph=False)
    def _compute(self) -> list[tf.Tensor]:
        variables = [variable.value for variable in self._model.trainable_variables]
        with tf.GradientTape() as tape:
            outputs = self._model(self._images, training=False)
            loss = tf.reduce_mean(self._loss(self._labels, outputs))
        return tape.gradient(loss, variables, unconnected_gradients="zero")
