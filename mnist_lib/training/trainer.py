"""The inner loop: many training steps in one call of one `tf.function`.

    trainer = Trainer(model, optimizer, strategy=strategy)
    batches = iter(trainer.distribute(train_batches(data.train, batch_size=128)))
    metrics = trainer.train(batches, num_steps=430)

Gradients, loss and counts are summed over the replicas once per step. What
comes after (norm, update) sees the gradient of the global batch and is the same on
every replica.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf

from mnist_lib import errors
from mnist_lib.distribution.batches import distribute_batches, static_batch_size
from mnist_lib.training import (
    added_losses,
    augmentation,
    local_gradients,
    losses,
    optimizers,
    replica_seeds,
    trainable,
)
from mnist_lib.training.metrics import TrainMetrics


@contextlib.contextmanager
def gradients_already_reduced(optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Keeps `optimizer.apply` from summing gradients over the replicas again.

    Keras sums inside `apply`, after clipping, and has no argument to leave it out. The
    method is replaced on this one object while the step is traced, and put back
    after, so that the optimizer still works with `fit`.
    """
    optimizer._all_reduce_sum_gradients = list
    try:
        yield
    finally:
        del optimizer._all_reduce_sum_gradients


class Trainer:
    """Trains any Keras model with any Keras optimizer under a strategy.

    Attributes:
      model: the model, images and labels as the batches give them; logits out.
      optimizer: its optimizer, built.
      strategy: the strategy it trains under.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        *,
        loss: str | losses.PerExampleLoss = "cross_entropy",
        strategy: tf.distribute.Strategy | None = None,
        augment: augmentation.Augmentation | None = None,
        accumulation_steps: int = 1,
        jit_compile: bool = False,
    ):
        """Builds the optimizer's variables.

        Args:
          model: made under `strategy.scope()`; inputs `[b, ...]`, logits `[b, C]`.
          optimizer: made under `strategy.scope()`. Its clipping, moving average and loss
            scaling see the gradient of the global batch.
          loss: a name in `choices.NAMES["loss"]`, or a function of (labels `[b]`, logits
            `[b, C]`) that returns a loss per example, `[b]`.
          strategy: where to train; None for the strategy in scope.
          augment: changes the images of each step, on the device that trains on them.
          accumulation_steps: equal parts in which each replica sees its rows, at least 1.
            The batch, and the step, are those of 1; the memory is that of a part.
          jit_compile: compile the forward pass of the model with XLA.

        Raises:
          ConfigError: the model or the optimizer was made elsewhere, or has something
            that would not be right on several replicas or in several parts.
        """
        self.model = model
        self.optimizer = optimizer
        self.strategy = strategy or tf.distribute.get_strategy()
        self._augment = augment
        self._accumulation_steps = accumulation_steps
        self._updating = optimizers.updating_optimizer(optimizer)
        trainable.check_optimizer(self._updating)
        num_replicas = self.strategy.num_replicas_in_sync
        trainable.check_batch_normalization(model, num_replicas, accumulation_steps)
        with self.strategy.scope():
            trainable.check_scope(model.variables, "model")
            optimizer.build(model.trainable_variables)
            trainable.check_scope(optimizer.variables, "optimizer")
        self._local_gradients = local_gradients.LocalGradientFunction(
            model,
            losses.per_example_loss(loss),
            forward=(
                tf.function(self._forward, jit_compile=True) if jit_compile else self._forward
            ),
            scale_loss=optimizer.scale_loss,
            accumulation_steps=accumulation_steps,
        )

    @property
    def step(self) -> int:
        """Steps taken so far, those included that loss scaling has skipped."""
        return int(self._step_counter.numpy())

    @property
    def learning_rate(self) -> float:
        """The rate that the last update used; before the first, that of the first."""
        rate = self._updating._learning_rate
        if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            rate = rate(tf.maximum(self._updating.iterations - 1, 0))
        return float(rate.numpy())

    def distribute(self, batches: tf.data.Dataset):
        """Divides global batches among the replicas; see `distribute_batches`.

        Raises:
          ConfigError: a replica's rows cannot be divided by `accumulation_steps`.
        """
        distributed = distribute_batches(batches, self.strategy)
        parts = self.strategy.num_replicas_in_sync * self._accumulation_steps
        batch_size = static_batch_size(batches)
        if batch_size % parts:
            raise errors.ConfigError(
                "accumulation_steps",
                f"{self._accumulation_steps} parts on each of "
                f"{self.strategy.num_replicas_in_sync} replicas do not divide batches of "
                f"{batch_size} images; choose a batch_size that is a multiple of {parts}",
            )
        return distributed

    @contextlib.contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Puts the moving averages in the place of the weights while it is open.

        Does nothing if the optimizer keeps none.
        """
        averages = optimizers.averaged_weights(self.optimizer)
        variables = self.model.trainable_variables[: len(averages)]
        weights = [tf.identity(variable.value) for variable in variables]
        try:
            for variable, average in zip(variables, averages, strict=True):
                variable.value.assign(average.value)
            yield
        finally:
            for variable, weight in zip(variables, weights, strict=True):
                variable.value.assign(weight)

    def trace(self, batches: Iterator) -> None:
        """Builds the graph of the steps, which the first call of `train` would do.

        Args:
          batches: as for `train`; none is taken.
        """
        self._train_steps.get_concrete_function(batches, tf.constant(1, tf.int64))

    def train(self, batches: Iterator, num_steps: int) -> TrainMetrics:
        """Takes `num_steps` steps.

        Args:
          batches: an iterator over what `distribute` returned.
          num_steps: at least 1.

        Returns:
          The metrics of these steps.

        Raises:
          ConfigError: `num_steps` is not positive.
          ValueError: the loss function does not return one value per example.
        """
        if num_steps < 1:
            raise errors.ConfigError("num_steps", f"{num_steps} must be at least 1")
        steps = tf.constant(num_steps, tf.int64)
        loss_sum, correct, examples, norm, first_bad = self._train_steps(batches, steps)
        return TrainMetrics(
            num_steps=num_steps,
            num_examples=int(examples),
            num_correct=int(correct),
            loss_sum=float(loss_sum),
            gradient_norm=float(norm),
            first_nonfinite_step=int(first_bad),
        )

    @property
    def _step_counter(self) -> tf.Variable:
        # Of a loss-scaling optimizer `iterations` counts updates; its own counter, which
        # Keras leaves at 0, counts the steps.
        return self.optimizer._iterations.value

    @tf.function
    def _train_steps(self, batches, num_steps: tf.Tensor) -> tuple[tf.Tensor, ...]:
        loss_sum = tf.constant(0.0, tf.float64)
        correct = tf.constant(0, tf.int64)
        examples = tf.constant(0, tf.int64)
        norm = tf.constant(0.0, tf.float64)
        first_bad = tf.constant(0, tf.int64)
        for _ in tf.range(num_steps):
            with (
                gradients_already_reduced(self._updating),
                replica_seeds.different_in_each_part(self.model),
                added_losses.kept_apart(self.model),
            ):
                results = self.strategy.run(self._replica_step, args=(next(batches),))
            # All replicas return the same global values: take the first local one.
            local = [self.strategy.experimental_local_results(value)[0] for value in results]
            loss, batch_correct, batch_examples, norm, is_bad, step = local
            loss_sum += loss * tf.cast(batch_examples, tf.float64)
            correct += batch_correct
            examples += batch_examples
            first_bad = tf.where((first_bad == 0) & is_bad, step, first_bad)
        return loss_sum, correct, examples, norm, first_bad

    def _forward(self, images: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with added_losses.collecting() as added:
            logits = self.model(images, training=True)
        return logits, added

    def _replica_step(self, batch) -> tuple[tf.Tensor, ...]:
        """One step on this replica's rows; returns values of the global batch."""
        images, labels = batch
        replica = tf.distribute.get_replica_context()
        examples = labels.shape[0] * replica.num_replicas_in_sync
        if self._augment is not None:
            first = tf.cast(self._step_counter, tf.int64) * examples
            first += tf.cast(replica.replica_id_in_sync_group, tf.int64) * labels.shape[0]
            images = self._augment(images, first)
        local = self._local_gradients(images, labels)
        gradients, loss, correct = all_reduce_sum(local)
        norm = tf.linalg.global_norm([gradient for gradient in gradients if gradient is not None])
        is_bad, norm = self._judge(loss, norm)
        self.optimizer.apply(gradients, self.model.trainable_variables)
        if self.optimizer is not self._updating:
            self._step_counter.assign_add(1)
        return (
            tf.cast(loss, tf.float64),
            tf.cast(correct, tf.int64),
            tf.constant(examples, tf.int64),
            tf.cast(norm, tf.float64),
            is_bad,
            tf.cast(self._step_counter, tf.int64),
        )

    def _judge(self, loss: tf.Tensor, norm: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns whether the step has diverged, and the norm without loss scale."""
        is_finite = tf.math.is_finite(loss)
        if self.optimizer is self._updating:
            return tf.logical_not(is_finite & tf.math.is_finite(norm)), norm
        scale = self.optimizer.dynamic_scale.value
        # An overflow halves the scale and the step is skipped. Below 1 there is no scale
        # to blame.
        return tf.logical_not(is_finite) | (scale < 1.0), norm / tf.cast(scale, norm.dtype)


def all_reduce_sum(
    local: local_gradients.LocalGradients,
) -> tuple[list[tf.Tensor | None], tf.Tensor, tf.Tensor]:
    """Sums over the replicas, in one pack; call it in replica context.

    Returns:
      The gradients, the loss, and the number of images predicted right, of the global
      batch, the same on every replica.
    """
    present = [gradient for gradient in local.gradients if gradient is not None]
    *present, loss, correct = tf.distribute.get_replica_context().all_reduce(
        tf.distribute.ReduceOp.SUM, [*present, local.loss, local.num_correct]
    )
    reduced = iter(present)
    gradients = [None if gradient is None else next(reduced) for gradient in local.gradients]
    return gradients, loss, correct
