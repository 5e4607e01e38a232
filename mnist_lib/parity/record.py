"""Training steps that show what they compute: the raw material of the parity check.

A step is taken apart into what can differ between numbers of replicas: the rows, the
output of each layer, the losses, each replica's gradient, the reduced gradient, the
variables after the update. It is the step that `Trainer` takes, with all its values kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from mnist_lib.distribution.batches import distribute_batches
from mnist_lib.training import keras_internals, losses, replica_step


@dataclasses.dataclass(frozen=True)
class ParityCase:
    """What to train, as functions that build it; see `check.check_replica_parity`."""

    build_model: Callable[[], keras.Model]
    build_optimizer: Callable[[], keras.optimizers.Optimizer]
    build_metrics: Callable[[], Sequence[keras.metrics.Metric]]
    make_batches: Callable[[keras.Model, int], tf.data.Dataset]
    loss: str | losses.PerExampleLoss
    reduce_gradients: replica_step.ReduceGradients | None
    batch_size: int


@dataclasses.dataclass(frozen=True)
class StepRecord:
    """What one step computed; every list has one entry per replica.

    Attributes:
      inputs: images and labels, `[b, ...]` and `[b]`.
      layer_outputs: outputs of each layer in order, by name, the last one the logits.
      example_losses: as the loss function returned them.
      loss_shares: scalars that add up to the global loss.
      local_gradients: by variable, before the reduction.
      reduced_gradients: by variable, after it.
      trainable: trainable variables and those of the optimizer, after the update.
      state: all other variables of the model, after the step.
    """

    inputs: dict[str, list[np.ndarray]]
    layer_outputs: dict[str, list[np.ndarray]]
    example_losses: list[np.ndarray]
    loss_shares: list[np.ndarray]
    local_gradients: dict[str, list[np.ndarray]]
    reduced_gradients: dict[str, list[np.ndarray]]
    trainable: dict[str, list[np.ndarray]]
    state: dict[str, list[np.ndarray]]


class RecordingTrainer:
    """Trains a case on some replicas and records each step."""

    def __init__(self, case: ParityCase, strategy: tf.distribute.Strategy):
        """Builds everything under the strategy's scope."""
        self._case = case
        self._strategy = strategy
        # A loss that averages is what the check is to find: it is taken as it is.
        self._loss = losses.per_example_loss(case.loss) if isinstance(case.loss, str) else case.loss
        with strategy.scope():
            self.model = case.build_model()
            if not getattr(
                self.model, "inputs", None
            ):  # subclassed: its variables come with the first call
                images, _ = next(iter(case.make_batches(self.model, case.batch_size)))
                self.model(images, training=False)
            self.optimizer = case.build_optimizer()
            self.optimizer.build(self.model.trainable_variables)
            self.metrics = list(case.build_metrics())
        probe, self.layer_names = _probe(self.model)
        self._replica_step = replica_step.ReplicaStep(
            self.model,
            self.optimizer,
            self._loss,
            forward=lambda images: probe(images, training=True),
            reduce_gradients=case.reduce_gradients,
        )
        self._traced_step = tf.function(self._step)
        self._traced_evaluation = tf.function(self._evaluation)

    def batches(self) -> tf.data.Iterator:
        """Returns an iterator over the replicas' rows of the case's batches."""
        batches = self._case.make_batches(self.model, self._case.batch_size)
        return iter(distribute_batches(batches, self._strategy))

    def step(self, batches) -> StepRecord:
        """Takes one step and returns what it computed."""
        parts = self._traced_step(batches)
        local = {
            part: {
                name: [np.asarray(x) for x in self._strategy.experimental_local_results(value)]
                for name, value in values.items()
            }
            for part, values in parts.items()
        }
        trainable = self.model.trainable_variables + list(self.optimizer.variables)
        state = [v for v in self.model.variables if all(v is not other for other in trainable)]
        return StepRecord(
            inputs=local["inputs"],
            layer_outputs={name: local["layers"][name] for name in self.layer_names},
            example_losses=local["losses"]["example_losses"],
            loss_shares=local["losses"]["loss_share"],
            local_gradients=local["local_gradients"],
            reduced_gradients=local["reduced_gradients"],
            trainable={v.path: self._copies(v) for v in trainable},
            state={v.path: self._copies(v) for v in state},
        )

    def evaluate(self, num_batches: int) -> dict[str, np.ndarray]:
        """Returns the metrics over batches that hold different numbers of real examples.

        Of batch n the first `1 + (5 n mod size)` are real, so that some replicas hold
        few of them, or none.
        """
        size = self._case.batch_size
        batches = self._case.make_batches(self.model, size).take(num_batches)

        def with_mask(number, batch):
            mask = tf.range(size, dtype=tf.int64) <= (5 * number) % size
            return (*batch, tf.ensure_shape(mask, [size]))

        masked = batches.enumerate().map(with_mask)
        for batch in distribute_batches(masked, self._strategy):
            self._traced_evaluation(batch)
        return {metric.name: np.asarray(metric.result()) for metric in self.metrics}

    def _copies(self, variable: keras.Variable) -> list[np.ndarray]:
        copies = self._strategy.experimental_local_results(variable.value)
        return [copy.numpy() for copy in copies]

    def _step(self, batches):
        with keras_internals.tracing_a_step(self.model, self.optimizer):
            return self._strategy.run(self._on_replica, args=(next(batches),))

    def _on_replica(self, batch) -> dict[str, dict[str, tf.Tensor]]:
        images, labels = batch
        values = self._replica_step.compute(images, labels)
        self._replica_step.update(values.gradients)
        paths = [variable.path for variable in self.model.trainable_variables]
        return {
            "inputs": {"images": tf.identity(images), "labels": tf.identity(labels)},
            "layers": dict(zip(self.layer_names, values.outputs, strict=True)),
            "losses": {"example_losses": values.example_losses, "loss_share": values.loss_share},
            "local_gradients": _present(paths, values.local_gradients),
            "reduced_gradients": _present(paths, values.gradients),
        }

    def _evaluation(self, batch) -> None:
        def on_replica(batch) -> None:
            images, labels, mask = batch
            logits = self.model(images, training=False)
            for metric in self.metrics:
                metric.update_state(labels, logits, sample_weight=tf.cast(mask, tf.float32))

        self._strategy.run(on_replica, args=(batch,))


def _present(paths: list[str], gradients: list[tf.Tensor | None]) -> dict[str, tf.Tensor]:
    pairs = zip(paths, gradients, strict=True)
    return {path: gradient for path, gradient in pairs if gradient is not None}


def _probe(model: keras.Model) -> tuple[Callable, list[str]]:
    """Returns a model of the outputs of all layers, and their names; the logits come last.

    Of a subclassed model, or one whose layers are used twice, only the logits are seen.
    """
    inner = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    try:
        outputs = [layer.output for layer in inner[:-1]]
    except (AttributeError, ValueError):  # subclassed, or a layer that is used twice
        outputs = [None]
    if not all(isinstance(output, keras.KerasTensor) for output in outputs):
        return lambda images, training: [model(images, training=training)], ["logits"]
    names = [layer.name for layer in inner]
    return keras.Model(model.inputs, [*outputs, model.outputs[0]]), names
