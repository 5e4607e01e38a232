"""One replica's share of the loss of a global batch, and the gradient of the share.

The shares and gradients of all replicas add up to those of the global batch. A
replica may see its rows in several parts, one after the other, to need less memory;
the sum over the parts is the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import keras
import tensorflow as tf

from mnist_lib.models import batch_parts
from mnist_lib.training import added_losses, losses, replica_seeds


@dataclasses.dataclass(frozen=True)
class LocalGradients:
    """What one replica contributes to a step.

    Attributes:
      loss: its share of the global loss, a scalar.
      num_correct: float32 scalar, how many of its images were predicted right.
      gradients: the gradient of `loss`, one tensor per trainable variable; None for a
        variable that the loss does not depend on.
    """

    loss: tf.Tensor
    num_correct: tf.Tensor
    gradients: list[tf.Tensor | None]


class LocalGradientFunction:
    """Computes the `LocalGradients` of a replica's rows; call it inside `strategy.run`."""

    def __init__(
        self,
        model: keras.Model,
        loss: losses.PerExampleLoss,
        *,
        forward: Callable[[tf.Tensor], tuple[tf.Tensor, list[tf.Tensor]]],
        scale_loss: Callable[[tf.Tensor], tf.Tensor],
        accumulation_steps: int = 1,
    ):
        """Keeps its arguments.

        Args:
          model: the model whose trainable variables the gradients are of.
          loss: labels `[b]` and logits `[b, C]` to losses `[b]`.
          forward: images `[b, ...]` to logits `[b, C]` and the losses that layers added.
          scale_loss: what to multiply the loss with before gradients are taken.
          accumulation_steps: equal parts in which the rows are seen, at least 1.
        """
        self._model = model
        self._loss = loss
        self._forward = forward
        self._scale_loss = scale_loss
        self._accumulation_steps = accumulation_steps

    def __call__(self, images: tf.Tensor, labels: tf.Tensor) -> LocalGradients:
        """Returns the share of rows `images` `[b, ...]` with `labels` `[b]`."""
        count = self._accumulation_steps
        if count == 1:
            return self._of_part(images, labels)
        rows = labels.shape[0] // count
        generators = replica_seeds.seed_generators(self._model)
        states = [tf.identity(generator.state.value) for generator in generators]

        def of_part(index: int | tf.Tensor) -> LocalGradients:
            # Each part continues from where the step began, as the whole batch would.
            for generator, state in zip(generators, states, strict=True):
                generator.state.assign(state)
            part = slice(index * rows, (index + 1) * rows)
            with batch_parts.accumulation_part(index, count):
                return self._of_part(
                    tf.ensure_shape(images[part], [rows, *images.shape[1:]]),
                    tf.ensure_shape(labels[part], [rows]),
                )

        first = of_part(0)
        present = [gradient for gradient in first.gradients if gradient is not None]

        def add_part(index: tf.Tensor, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
            part = of_part(index)
            values = [
                part.loss,
                part.num_correct,
                *(gradient for gradient in part.gradients if gradient is not None),
            ]
            return index + 1, *(a + b for a, b in zip(sums, values, strict=True))

        # A loop and not a sum of `count` graphs, which would all be in memory at once.
        _, loss, num_correct, *totals = tf.while_loop(
            lambda index, *sums: index < count,
            add_part,
            [tf.constant(1), first.loss, first.num_correct, *present],
            parallel_iterations=1,
        )
        total = iter(totals)
        return LocalGradients(
            loss,
            num_correct,
            [None if gradient is None else next(total) for gradient in first.gradients],
        )

    def _of_part(self, images: tf.Tensor, labels: tf.Tensor) -> LocalGradients:
        num_replicas = tf.distribute.get_replica_context().num_replicas_in_sync
        num_parts = num_replicas * self._accumulation_steps
        with tf.GradientTape() as tape:
            logits, added = self._forward(images)
            terms = [*added, *added_losses.weight_penalties(self._model)]
            example_losses = self._loss(labels, logits)
            losses.check_per_example(example_losses, labels)
            loss = losses.scaled_loss(example_losses, labels.shape[0] * num_parts, terms, num_parts)
            scaled = self._scale_loss(loss)
        variables = [variable.value for variable in self._model.trainable_variables]
        gradients = [
            tf.convert_to_tensor(gradient) if isinstance(gradient, tf.IndexedSlices) else gradient
            for gradient in tape.gradient(scaled, variables)
        ]
        return LocalGradients(loss, _num_correct(labels, logits), gradients)


def _num_correct(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    predictions = tf.argmax(logits, axis=-1, output_type=tf.int32)
    return tf.reduce_sum(tf.cast(predictions == tf.cast(labels, tf.int32), tf.float32))
