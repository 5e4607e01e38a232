"""The inner loop: many training steps in one call of one `tf.function`.

    trainer = Trainer(model, optimizer, strategy=strategy)
    batches = iter(trainer.distribute(train_batches(data.train, batch_size=128)))
    metrics = trainer.train(batches, num_steps=430)

Gradients, loss and counts are summed over the replicas once per step. What
comes after (norm, update) sees the gradient of the global batch, the same on all.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator

import keras
import tensorflow as tf

from mnist_lib import errors, runtime
from mnist_lib.datasets import batch_checks, pipelines
from mnist_lib.datasets.splits import Split
from mnist_lib.distribution import batches as distributed
from mnist_lib.distribution import division
from mnist_lib.training import (
    augmentation,
    keras_internals,
    losses,
    optimizers,
    own_errors,
    portions,
    replica_step,
    step_sums,
    trainable,
)
from mnist_lib.training.metrics import TrainMetrics
from mnist_lib.training.targets import Batch


class Trainer:
    """Trains any Keras model with any optimizer: `model`, `optimizer` (built), `strategy`."""

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        *,
        loss: losses.Loss = "cross_entropy",
        reported_loss: losses.Loss | None = None,
        strategy: tf.distribute.Strategy | None = None,
        augment: augmentation.Augmentation | None = None,
        accumulation_steps: int = 1,
        jit_compile: bool = False,
    ):
        """Builds the optimizer's variables.

        Args:
          model: made under `strategy.scope()`; inputs `[b, ...]`, logits `[b, C]`, or
            structures of inputs and of outputs.
          optimizer: made under `strategy.scope()`. Its clipping, moving average and loss
            scaling see the gradient of the global batch. At update t a moving average uses
            `min(momentum, (1 + t) / (10 + t))`, so that it soon forgets how it began.
          loss: a name in `choices.NAMES["loss"]`, or a function of (targets, outputs) to a
            loss per example, `[b]`; or one of them for each output, to be added up.
          reported_loss: what `TrainMetrics.loss` is of, as `loss`; None for that.
          strategy: where to train; None for the strategy in scope.
          augment: changes the images of each step, where it trains; the only input then.
          accumulation_steps: equal parts in which each replica sees its rows, at least 1.
            The batch, and the step, are those of 1; the memory is that of a part.
          jit_compile: compile the forward pass of the model with XLA.

        Raises:
          ConfigError: the model or the optimizer was made elsewhere, or has something
            that would not be right on several replicas or in several parts.
        """
        runtime.check_not_forked()
        self.model = model
        self.optimizer = optimizer
        self.strategy = strategy or tf.distribute.get_strategy()
        self._augment = augment
        self._accumulation_steps = accumulation_steps
        trainable.prepare(
            model, optimizer, self.strategy, accumulation_steps, jit_compile=jit_compile
        )
        self._step_counter = keras_internals.step_counter(optimizer).value
        self._trainable_flags = trainable.trainable_flags(model)
        self._updated_state: dict[str, keras.Variable] = {}
        self._loss = loss
        if isinstance(loss, str):
            trainable.warn_of_probabilities(model)
        self._step = replica_step.ReplicaStep(
            model,
            optimizer,
            losses.checked(losses.per_example_loss(loss)),
            forward=lambda inputs: model(inputs, training=True),
            reported_loss=losses.checked_or_none(reported_loss),
            one_hot=isinstance(loss, str),
            accumulation_steps=accumulation_steps,
            jit_compile=jit_compile,
        )

    @property
    def step(self) -> int:
        """Steps taken so far, those included that loss scaling has skipped."""
        return int(self._step_counter.numpy())

    @property
    def learning_rate(self) -> float:
        """The rate that the last update used; before the first, that of the first."""
        return optimizers.learning_rate(self.optimizer)

    def distribute(
        self, data: Split | tf.data.Dataset, batch_size: int | None = None, *, seed: int = 0
    ):
        """Divides global batches among the replicas.

        Args:
          data: a split, to be shuffled without end from the step that comes next; or a
            data set of `(inputs, targets)` or `(inputs, targets, weights)`, as for
            `distribute_batches`; the loss of an example is multiplied by its weight.
          batch_size, seed: the global batch size, and what chooses the order; for a split.

        Returns:
          A distributed data set; `iter()` of it goes into `train`.

        Raises:
          ConfigError: the batches do not fit the model, replicas and parts.
        """
        runtime.check_not_forked()
        batch_checks.check_fits(self.model, data, loss=self._loss)
        size = batch_size if isinstance(data, Split) else distributed.static_batch_size(data)
        if size is None:
            raise errors.ConfigError("batch_size", f"is needed to train on split {data.name}")
        division.check_divides(size, self.strategy.num_replicas_in_sync, self._accumulation_steps)
        if not isinstance(data, Split):
            return distributed.distribute_batches(data, self.strategy)
        batches_from = functools.partial(
            pipelines.train_batches, data, size, seed=seed, start_step=self.step
        )
        return distributed.distribute_rows(
            lambda rows: batches_from(rows=rows), size, self.strategy
        )

    def averaged_weights(self) -> contextlib.AbstractContextManager[None]:
        """Puts the moving averages, if any, in the place of the weights while it is open."""
        return optimizers.averages_in_place(self.model, self.optimizer)

    def trace(self, batches: Iterator) -> tf.Graph:
        """Builds the graph of the steps, which `train` would do; takes no batch."""
        trainable.check_flags(self.model, self._trainable_flags)
        with own_errors.as_raised():
            count = tf.TensorSpec([], tf.int64)
            traced = self._train_steps.get_concrete_function(batches, count, step_sums.SPECS)
        trainable.check_state_updates(self._updated_state, self._accumulation_steps)
        return traced.graph

    def train(
        self, data, num_steps: int, batch_size: int | None = None, *, seed: int = 0
    ) -> TrainMetrics:
        """Takes `num_steps` steps.

        Args:
          data: an iterator over what `distribute` returned, to go on with; or what
            `distribute` takes or returns, of which a new iterator is made.
          num_steps: at least 1.
          batch_size, seed: as for `distribute`.

        Returns:
          The metrics of these steps.

        Raises:
          ConfigError: `num_steps` is not positive, the batches are not distributed, or
            there were fewer; the steps that there were have been taken then.
          ValueError: the loss function does not return one value per example.
        """
        runtime.check_not_forked()
        if num_steps < 1:
            raise errors.ConfigError("num_steps", f"{num_steps} must be at least 1")
        if isinstance(data, Split | tf.data.Dataset):
            data = self.distribute(data, batch_size, seed=seed)
        batches = distributed.iterator_over(data, self.strategy)
        self.trace(batches)
        before = self.step
        sums = step_sums.zeros()
        try:
            with own_errors.as_raised(), losses.label_errors():
                for portion in portions.portions(num_steps):
                    sums = self._train_steps(batches, tf.constant(portion, tf.int64), sums)
                    int(sums.first_nonfinite_step)  # the portion is over when its values are there
        except tf.errors.OutOfRangeError as error:
            raise errors.ConfigError(
                "batches",
                f"the data ended after {self.step - before} of {num_steps} steps, which were "
                "taken; ask for as many, or take data without an end",
            ) from error
        trainable.warn_of_drift(self._updated_state, self.strategy)
        return TrainMetrics.of_sums(num_steps, *(value.numpy().item() for value in sums))

    @tf.function(autograph=False)
    def _train_steps(
        self, batches, num_steps: tf.Tensor, sums: step_sums.StepSums
    ) -> step_sums.StepSums:
        """Takes steps and adds what they amount to."""

        def take_one(taken: tf.Tensor, sums: step_sums.StepSums):
            with (
                keras_internals.tracing_a_step(self.model, self.optimizer),
                keras_internals.state_updates_noted(self.model, self._updated_state),
            ):
                results = self.strategy.run(self._replica_step, args=(next(batches),))
            # All replicas return the same global values: take the first local one.
            local = [self.strategy.experimental_local_results(value)[0] for value in results]
            return taken + 1, sums.with_step(*local)

        start = tf.constant(0, num_steps.dtype)
        return tf.while_loop(lambda taken, _: taken < num_steps, take_one, (start, sums))[1]

    def _replica_step(self, batch) -> tuple[tf.Tensor, ...]:
        """One step on this replica's rows; returns values of the global batch."""
        batch = Batch(*batch)
        replica = tf.distribute.get_replica_context()
        examples = batch.num_rows * replica.num_replicas_in_sync
        # Where the data ends nothing is counted or changed of a step that has no batch.
        with tf.control_dependencies([x for x in tf.nest.flatten(batch) if x is not None]):
            if self._augment is not None:
                first = tf.cast(self._step_counter, tf.int64) * examples
                first += tf.cast(replica.replica_id_in_sync_group, tf.int64) * batch.num_rows
                batch = Batch(self._augment(batch.inputs, first), *batch[1:])
            values = self._step.compute(batch)
            present = [gradient for gradient in values.gradients if gradient is not None]
            norm = tf.linalg.global_norm(present)
            is_bad, norm = optimizers.judge(self.optimizer, values.loss, norm)
            self._step.update(values.gradients)
            return (
                tf.cast(values.reported_loss, tf.float64),
                tf.cast(values.loss, tf.float64),
                tf.cast(values.num_correct, tf.int64),
                tf.constant(examples, tf.int64),
                tf.cast(norm, tf.float64),
                is_bad,
                tf.cast(self._step_counter, tf.int64),
            )
