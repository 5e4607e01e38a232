"""What one replica does in a training step, with all that it computes on the way.

The trainer keeps a few of these values and the parity checker all of them: what is
checked is what runs. The shares of the loss, and their gradients, of all replicas add up
to those of the global batch. A replica may see its rows in several parts, one after the
other, to need less memory; the sum over the parts is the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from mnist_lib.models import batch_parts
from mnist_lib.training import keras_internals, losses
from mnist_lib.training.targets import Batch, as_loss_labels, class_labels

# Inputs of one replica to the outputs of the model.
Forward = Callable[[Any], Any]
# In replica context: tensors of one replica to those of the global batch.
ReduceGradients = Callable[[list[tf.Tensor]], list[tf.Tensor]]


@dataclasses.dataclass(frozen=True)
class StepValues:
    """What a step computed on one replica, before the update.

    Attributes:
      example_losses: `[b]`, as the loss function returned them; None if the rows were seen in
        several parts.
      loss_share: scalar; the shares of all replicas add up to `loss`.
      local_gradients: of `loss_share`, one per trainable variable; None for a variable
        that the loss does not depend on.
      loss: of the global batch, what is minimised; the same on every replica.
      reported_loss: mean of the reported losses of the global batch, likewise.
      num_correct: float32 scalar, images of the global batch that were predicted right;
        negative if their targets are no classes.
      gradients: of the global batch, the same on every replica.
    """

    example_losses: tf.Tensor | None
    loss_share: tf.Tensor
    local_gradients: list[tf.Tensor | None]
    loss: tf.Tensor
    reported_loss: tf.Tensor
    num_correct: tf.Tensor
    gradients: list[tf.Tensor | None]


@dataclasses.dataclass(frozen=True)
class _Part:
    """What was computed of some rows: the fields of `StepValues` before the reduction."""

    example_losses: tf.Tensor
    loss_share: tf.Tensor
    reported_share: tf.Tensor
    num_correct: tf.Tensor
    gradients: list[tf.Tensor | None]


class ReplicaStep:
    """A training step on the rows of one replica; call it inside `strategy.run`."""

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        loss: losses.PerExampleLoss,
        *,
        forward: Forward,
        reported_loss: losses.PerExampleLoss | None = None,
        one_hot: bool = False,
        reduce_gradients: ReduceGradients | None = None,
        accumulation_steps: int = 1,
        jit_compile: bool = False,
    ):
        """Keeps its arguments.

        Args:
          model: the model whose trainable variables are updated.
          optimizer: its optimizer; a loss-scaling one scales the loss.
          loss: targets and outputs to losses `[b]`.
          forward: inputs to outputs.
          reported_loss: what `StepValues.reported_loss` is of, as `loss`; None for that. No
            penalty of a layer is in it.
          one_hot: whether targets `[b, C]` are classes, too.
          reduce_gradients: how gradients are summed; None for one all-reduce.
          accumulation_steps: equal parts in which the rows are seen, at least 1.
          jit_compile: compile `forward` with XLA.
        """
        self._model = model
        self._optimizer = optimizer
        self._loss = loss
        # The added losses leave a compiled graph as its outputs.
        collecting = keras_internals.collecting_added_losses(forward)
        self._forward = tf.function(collecting, jit_compile=True) if jit_compile else collecting
        self._reported_loss = reported_loss
        self._one_hot = one_hot
        self._reduce_gradients = reduce_gradients
        self._accumulation_steps = accumulation_steps

    def compute(self, batch: Batch) -> StepValues:
        """Returns what the rows of a replica give."""
        is_whole = self._accumulation_steps == 1
        local = self._part(batch) if is_whole else self._sum_over_parts(batch)
        gradients, (loss, reported_loss, num_correct) = self._reduce(local)
        return StepValues(
            example_losses=local.example_losses if is_whole else None,
            loss_share=local.loss_share,
            local_gradients=local.gradients,
            loss=loss,
            reported_loss=reported_loss,
            num_correct=num_correct,
            gradients=gradients,
        )

    def update(self, gradients: list[tf.Tensor | None]) -> None:
        """Updates the variables; the optimizer counts the step, skipped or not."""
        self._optimizer.apply(gradients, self._model.trainable_variables)
        if isinstance(self._optimizer, keras.optimizers.LossScaleOptimizer):
            keras_internals.step_counter(self._optimizer).value.assign_add(1)

    def _reduce(self, local: _Part) -> tuple[list[tf.Tensor | None], list[tf.Tensor]]:
        """Sums over the replicas, in one pack unless there is a way of one's own."""
        present = [gradient for gradient in local.gradients if gradient is not None]
        scalars = [local.loss_share, local.reported_share, local.num_correct]
        if self._reduce_gradients is None:
            *present, loss, reported, num_correct = all_reduce_sum([*present, *scalars])
            scalars = [loss, reported, num_correct]
        else:
            present = self._reduce_gradients(present)
            scalars = all_reduce_sum(scalars)
        reduced = iter(present)
        gradients = [None if gradient is None else next(reduced) for gradient in local.gradients]
        return gradients, scalars

    def _sum_over_parts(self, batch: Batch) -> _Part:
        count = self._accumulation_steps
        rows = batch.num_rows // count
        generators = keras_internals.seed_generators(self._model)
        states = [tf.identity(generator.state.value) for generator in generators]

        def of_part(index: int | tf.Tensor) -> _Part:
            # Each part continues from where the step began, as the whole batch would.
            for generator, state in zip(generators, states, strict=True):
                generator.state.assign(state)

            def rows_of(x: tf.Tensor) -> tf.Tensor:
                part = x[index * rows : (index + 1) * rows]
                return tf.ensure_shape(part, [rows, *x.shape[1:]])

            with batch_parts.accumulation_part(index, count):
                return self._part(batch.map(rows_of))

        def summed(part: _Part) -> list[tf.Tensor]:
            present = [gradient for gradient in part.gradients if gradient is not None]
            return [part.loss_share, part.reported_share, part.num_correct, *present]

        first = of_part(0)
        # A loop and not a sum of `count` graphs, which would all be in memory at once.
        _, loss_share, reported_share, num_correct, *totals = tf.while_loop(
            lambda index, *sums: index < count,
            lambda index, *sums: (
                index + 1,
                *(a + b for a, b in zip(sums, summed(of_part(index)), strict=True)),
            ),
            [tf.constant(1), *summed(first)],
            parallel_iterations=1,
        )
        total = iter(totals)
        return dataclasses.replace(
            first,
            loss_share=loss_share,
            reported_share=reported_share,
            num_correct=num_correct,
            gradients=[None if one is None else next(total) for one in first.gradients],
        )

    def _part(self, batch: Batch) -> _Part:
        num_replicas = tf.distribute.get_replica_context().num_replicas_in_sync
        num_parts = num_replicas * self._accumulation_steps
        with tf.GradientTape() as tape:
            outputs, added = self._forward(batch.inputs)
            targets = as_loss_labels(batch.targets)
            example_losses = self._loss(targets, outputs)
            weighted = _weighted(example_losses, batch.weights)
            share = losses.scaled_loss(
                weighted,
                batch.num_rows * num_parts,
                [*added, *keras_internals.weight_penalties(self._model)],
                num_parts,
            )
            scaled = self._optimizer.scale_loss(share)
        if self._reported_loss is not None:
            weighted = _weighted(self._reported_loss(targets, outputs), batch.weights)
        variables = [variable.value for variable in self._model.trainable_variables]
        gradients = [
            tf.convert_to_tensor(gradient) if isinstance(gradient, tf.IndexedSlices) else gradient
            for gradient in tape.gradient(scaled, variables)
        ]
        labels = class_labels(batch.targets, outputs, one_hot=self._one_hot)
        return _Part(
            example_losses,
            loss_share=share,
            reported_share=losses.scaled_loss(weighted, batch.num_rows * num_parts, [], num_parts),
            num_correct=_num_correct(labels, outputs),
            gradients=gradients,
        )


def all_reduce_sum(tensors: list[tf.Tensor]) -> list[tf.Tensor]:
    """Sums over the replicas, in one pack; call it in replica context."""
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tensors)


def _weighted(example_losses: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
    if weights is None:
        return example_losses
    return example_losses * tf.cast(weights, example_losses.dtype)


def _num_correct(labels: tf.Tensor | None, outputs: Any) -> tf.Tensor:
    if labels is None:
        return tf.constant(-1.0)
    predictions = tf.argmax(outputs, axis=-1, output_type=tf.int32)
    return tf.reduce_sum(tf.cast(predictions == tf.cast(labels, tf.int32), tf.float32))
