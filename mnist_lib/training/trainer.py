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
import dataclasses
from collections.abc import Iterator

import keras
import tensorflow as tf

from mnist_lib import errors
from mnist_lib.datasets import augmentation
from mnist_lib.training import losses, strategies


@dataclasses.dataclass(frozen=True)
class TrainMetrics:
    """What some training steps amounted to.

    Attributes:
      num_steps: how many steps.
      num_examples: images they used, on all replicas together.
      num_correct: how many of them were predicted right, before each update.
      loss_sum: sum over the steps of each step's mean loss times its images.
      gradient_norm: Euclidean norm of the last step's global gradient.
      first_nonfinite_step: the first optimizer step (1 is the first of a run) whose
        loss or gradient was not finite; 0 if there was none.
    """

    num_steps: int
    num_examples: int
    num_correct: int
    loss_sum: float
    gradient_norm: float
    first_nonfinite_step: int

    @property
    def loss(self) -> float:
        """Mean loss per image."""
        return self.loss_sum / self.num_examples

    @property
    def accuracy(self) -> float:
        """Fraction of images predicted right, in [0, 1]."""
        return self.num_correct / self.num_examples


@contextlib.contextmanager
def _gradients_already_reduced(optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Keeps `optimizer.apply` from summing gradients over the replicas again.

    Keras sums inside `apply` and has no argument to leave it out. The method is
    replaced on this one object while the step is traced, and put back after, so
    that the optimizer still works with `fit`.
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
        jit_compile: bool = False,
    ):
        """Builds the optimizer's variables.

        Args:
          model: made under `strategy.scope()`; inputs `[b, ...]`, logits `[b, C]`.
          optimizer: made under `strategy.scope()`. Clipping, gradient accumulation and
            loss scaling by the optimizer are refused: Keras applies them per replica.
          loss: a name in `config.LOSS_NAMES`, or a function of (labels `[b]`, logits
            `[b, C]`) that returns a loss per example, `[b]`.
          strategy: where to train; None for the strategy in scope.
          augment: changes the images of each step, on the device that trains on them.
          jit_compile: compile the forward pass of the model with XLA.

        Raises:
          ConfigError: the model was made elsewhere, or the optimizer does more than update.
        """
        self.model = model
        self.optimizer = optimizer
        self.strategy = strategy or tf.distribute.get_strategy()
        self._loss = losses.per_example_loss(loss)
        self._augment = augment
        _check_optimizer(optimizer)
        with self.strategy.scope():
            _check_scope(model.variables, "model")
            optimizer.build(model.trainable_variables)
            _check_scope(optimizer.variables, "optimizer")
        self._forward = (
            tf.function(self._model_logits, jit_compile=True) if jit_compile else self._model_logits
        )

    @property
    def step(self) -> int:
        """Optimizer steps taken so far."""
        return int(self.optimizer.iterations.numpy())

    def distribute(self, batches: tf.data.Dataset):
        """Divides global batches among the replicas; see `distribute_batches`."""
        return strategies.distribute_batches(batches, self.strategy)

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

    @tf.function
    def _train_steps(self, batches, num_steps: tf.Tensor) -> tuple[tf.Tensor, ...]:
        loss_sum = tf.constant(0.0, tf.float64)
        correct = tf.constant(0, tf.int64)
        examples = tf.constant(0, tf.int64)
        norm = tf.constant(0.0, tf.float64)
        first_bad = tf.constant(0, tf.int64)
        for _ in tf.range(num_steps):
            with _gradients_already_reduced(self.optimizer):
                results = self.strategy.run(self._replica_step, args=(next(batches),))
            # All replicas return the same global values: take the first local one.
            local = [self.strategy.experimental_local_results(value)[0] for value in results]
            loss, batch_correct, batch_examples, norm, step = local
            loss_sum += loss * tf.cast(batch_examples, tf.float64)
            correct += batch_correct
            examples += batch_examples
            is_bad = tf.logical_not(tf.math.is_finite(loss) & tf.math.is_finite(norm))
            first_bad = tf.where((first_bad == 0) & is_bad, step, first_bad)
        return loss_sum, correct, examples, norm, first_bad

    def _model_logits(self, images: tf.Tensor) -> tf.Tensor:
        return self.model(images, training=True)

    def _replica_step(self, batch) -> tuple[tf.Tensor, ...]:
        """One step on this replica's rows; returns values of the global batch."""
        images, labels = batch
        replica = tf.distribute.get_replica_context()
        num_replicas = replica.num_replicas_in_sync
        examples = labels.shape[0] * num_replicas
        variables = self.model.trainable_variables
        if self._augment is not None:
            first = tf.cast(self.optimizer.iterations.value, tf.int64) * examples
            first += tf.cast(replica.replica_id_in_sync_group, tf.int64) * labels.shape[0]
            images = self._augment(images, first)
        with tf.GradientTape() as tape:
            logits = self._forward(images)
            example_losses = self._loss(labels, logits)
            losses.check_per_example(example_losses, labels)
            loss = losses.scaled_loss(example_losses, examples, self.model.losses, num_replicas)
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        correct = tf.reduce_sum(tf.cast(_is_correct(labels, logits), tf.float32))
        present = [gradient for gradient in gradients if gradient is not None]
        *present, loss, correct = replica.all_reduce(
            tf.distribute.ReduceOp.SUM, [*present, loss, correct]
        )
        reduced = iter(present)
        gradients = [None if gradient is None else next(reduced) for gradient in gradients]
        self.optimizer.apply(gradients, variables)
        return (
            tf.cast(loss, tf.float64),
            tf.cast(correct, tf.int64),
            tf.constant(examples, tf.int64),
            tf.cast(tf.linalg.global_norm(present), tf.float64),
            tf.cast(self.optimizer.iterations.value, tf.int64),
        )


def _is_correct(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    return tf.argmax(logits, axis=-1, output_type=tf.int32) == tf.cast(labels, tf.int32)


def _check_optimizer(optimizer: keras.optimizers.Optimizer) -> None:
    """Refuses what Keras would do to each replica's gradient before it is reduced."""
    if hasattr(optimizer, "inner_optimizer"):
        raise errors.ConfigError(
            "optimizer",
            f"{optimizer.name} scales the loss, which is not supported; pass its inner one",
        )
    if getattr(optimizer, "gradient_accumulation_steps", None):
        raise errors.ConfigError(
            "optimizer", "gradient_accumulation_steps is not supported; use a larger batch_size"
        )
    for option in ("clipnorm", "global_clipnorm", "clipvalue"):
        if getattr(optimizer, option, None) is not None:
            raise errors.ConfigError(
                "optimizer", f"{option} clips each replica's gradient by itself; leave it out"
            )


def _check_scope(variables, owner: str) -> None:
    """Checks that variables were made under the strategy that is in scope."""
    for variable in variables:
        if not tf.distribute.get_strategy().extended.variable_created_in_scope(variable.value):
            raise errors.ConfigError(
                owner,
                f"{variable.path} was not made under the strategy; make the {owner} inside "
                "`with strategy.scope():`",
            )
