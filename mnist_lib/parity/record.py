"""Training steps that show what they compute: the raw material of the parity check.

A step is taken apart into what can differ between numbers of replicas: the rows, the
output of each layer, the losses, each replica's gradient, the reduced gradient, the
variables after the update. It is the step that `Trainer` takes, with all its values kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from mnist_lib.distribution.batches import distribute_batches
from mnist_lib.parity import parity_case, probe
from mnist_lib.parity.step_record import Copies, Named, StepRecord
from mnist_lib.training import keras_internals, losses, replica_step
from mnist_lib.training.targets import Batch


class RecordingTrainer:
    """Trains a case on some replicas and records each step."""

    def __init__(
        self,
        case: parity_case.ParityCase,
        strategy: tf.distribute.Strategy,
        accumulation_steps: int = 1,
    ):
        """Builds everything under the strategy's scope.

        Raises:
          ConfigError: a function returned what was there before, or batch normalisation
            would see parts of the rows.
        """
        self.case = case
        self.strategy = strategy
        # A loss that averages is what the check is to find: it is taken as it is.
        self._is_named = isinstance(case.loss, str)
        loss = case.loss if callable(case.loss) else losses.per_example_loss(case.loss)
        with strategy.scope():
            self.model = case.build_model()
            if not self.model.built or not self.model.variables:
                # Its variables come with the first call.
                inputs, *_ = next(iter(case.make_batches(self.model, case.batch_size)))
                self.model(inputs, training=False)
            parity_case.check_own(self.model.variables, "build_model", strategy)
            parity_case.check_parts(self.model, accumulation_steps)
            self.optimizer = case.build_optimizer()
            parity_case.check_own(self.optimizer.variables, "build_optimizer", strategy)
            self.optimizer.build(self.model.trainable_variables)
            self.metrics = list(case.build_metrics())
        self._probe = probe.Probe(self.model)
        self._replica_step = replica_step.ReplicaStep(
            self.model,
            self.optimizer,
            loss,
            forward=lambda inputs: self._outputs_in_loss(inputs, training=True),
            one_hot=self._is_named,
            reduce_gradients=case.reduce_gradients,
            accumulation_steps=accumulation_steps,
        )
        # What the last trace found, the same on every replica.
        self._outputs: list[probe.Output] = []
        self._has_gradient: list[bool] = []
        self._traced_compute = tf.function(self._compute)
        self._traced_update = tf.function(self._update)
        self._traced_evaluation = tf.function(self._evaluation)

    def batches(self) -> tf.data.Iterator:
        """Returns an iterator over the replicas' rows of the case's batches."""
        return iter(distribute_batches(self._batches(), self.strategy))

    def compute(self, batches) -> StepRecord:
        """Computes the gradients of the next batch and returns what led to them."""
        parts = self._traced_compute(batches)
        variables = self.model.trainable_variables
        paths = [
            v.path for v, present in zip(variables, self._has_gradient, strict=True) if present
        ]
        return StepRecord(
            inputs=[
                (name if len(values) == 1 else f"{name}[{number}]", self._copies(value))
                for name, values in parts["batch"].items()
                for number, value in enumerate(values)
            ],
            layer_outputs=self._named_outputs(parts["outputs"]),
            operations=[output.operation for output in self._outputs],
            example_losses=next(map(self._copies, parts["example_losses"]), []),
            loss_shares=self._copies(parts["loss_share"]),
            local_gradients=self._named(paths, parts["local_gradients"]),
            reduced_gradients=self._named(paths, parts["gradients"]),
            applied=[self._local(value)[0] for value in parts["gradients"]],
        )

    def update(self, gradients: list[tf.Tensor]) -> None:
        """Ends the step: applies gradients of the global batch, as in `StepRecord.applied`."""
        self._traced_update(gradients)

    def trainable(self) -> Named:
        """Returns the trainable variables and those of the optimizer."""
        variables = self._updated_variables()
        return self._named([v.path for v in variables], [v.value for v in variables])

    def state(self) -> Named:
        """Returns all other variables of the model."""
        updated = {id(variable) for variable in self._updated_variables()}
        variables = [v for v in self.model.variables if id(v) not in updated]
        return self._named([v.path for v in variables], [v.value for v in variables])

    def evaluate(self, num_batches: int) -> tuple[Named, list[keras.Operation]]:
        """Evaluates batches that hold different numbers of real examples.

        Of batch n the first `1 + (5 n mod size)` are real, so that some replicas hold
        few of them, or none.

        Returns:
          What the layers return for the first batch, and the layers. `results` has the
          metrics.
        """
        size = self.case.batch_size
        batches = self._batches().take(num_batches)

        def with_mask(number, batch):
            mask = tf.range(size, dtype=tf.int64) <= (5 * number) % size
            return (*batch, tf.ensure_shape(mask, [size]))

        distributed = distribute_batches(batches.enumerate().map(with_mask), self.strategy)
        outputs = [self._traced_evaluation(batch) for batch in distributed]
        return self._named_outputs(outputs[0]), [output.operation for output in self._outputs]

    def results(self) -> Named:
        """Returns the metrics; the values of one that has several under one name each."""
        return [
            (metric.name, [np.asarray(value.numpy())])
            for metric in self.metrics
            for value in tf.nest.flatten(
                tf.nest.map_structure(tf.convert_to_tensor, metric.result())
            )
        ]

    def _batches(self) -> tf.data.Dataset:
        # The tuner's thread may take seconds to end, for each iterator.
        options = tf.data.Options()
        options.autotune.enabled = False
        return self.case.make_batches(self.model, self.case.batch_size).with_options(options)

    def _updated_variables(self) -> list[keras.Variable]:
        return [*self.model.trainable_variables, *self.optimizer.variables]

    def _local(self, value) -> Sequence[tf.Tensor]:
        return self.strategy.experimental_local_results(value)

    def _copies(self, value) -> Copies:
        return [np.asarray(copy.numpy()) for copy in self._local(value)]

    def _named(self, names: list[str], values) -> Named:
        return list(zip(names, map(self._copies, values), strict=True))

    def _named_outputs(self, values) -> Named:
        return self._named([output.name for output in self._outputs], values)

    def _outputs_in_loss(self, inputs, training: bool):
        """Returns what the loss is of; others are compared as outputs of their layers."""
        outputs = self.model(inputs, training=training)
        return tf.nest.flatten(outputs)[0] if self._is_named else outputs

    def _compute(self, batches):
        with (
            keras_internals.tracing_a_step(self.model, self.optimizer),
            self._probe.listening(),
        ):
            return self.strategy.run(self._compute_on_replica, args=(next(batches),))

    def _compute_on_replica(self, batch) -> dict:
        batch = Batch(*batch)
        values, outputs = self._probe.outputs_of(lambda: self._replica_step.compute(batch))
        self._outputs = outputs
        self._has_gradient = [gradient is not None for gradient in values.gradients]
        losses_of_rows = values.example_losses
        return {
            "batch": {
                name: [tf.identity(x) for x in tf.nest.flatten(part)]
                for name, part in zip(("inputs", "targets", "weights"), batch, strict=True)
                if part is not None
            },
            "outputs": [output.value for output in outputs],
            "example_losses": [] if losses_of_rows is None else [losses_of_rows],
            "loss_share": values.loss_share,
            "local_gradients": [x for x in values.local_gradients if x is not None],
            "gradients": [x for x in values.gradients if x is not None],
        }

    def _update(self, gradients: list[tf.Tensor]) -> None:
        def on_replica(gradients: list[tf.Tensor]) -> None:
            # On the replica's device, where an optimizer that sums again looks for them.
            present = map(tf.identity, gradients)
            self._replica_step.update(
                [next(present) if has else None for has in self._has_gradient]
            )

        with keras_internals.tracing_a_step(self.model, self.optimizer):
            self.strategy.run(on_replica, args=(gradients,))

    def _evaluation(self, batch) -> list:
        def on_replica(batch) -> list[tf.Tensor]:
            *element, mask = batch
            inputs, targets, _ = Batch(*element)
            # What layers add to the loss goes nowhere.
            forward = keras_internals.collecting_added_losses(self.model)
            (found, _), outputs = self._probe.outputs_of(lambda: forward(inputs, training=False))
            first = [tf.nest.flatten(part)[0] for part in (targets, found)]
            mask = tf.cast(mask, tf.float32)
            for metric in self.metrics:
                metric.update_state(*first, sample_weight=mask)
            self._outputs = outputs
            return [output.value for output in outputs]

        with keras_internals.losses_apart(self.model), self._probe.listening():
            return self.strategy.run(on_replica, args=(batch,))
