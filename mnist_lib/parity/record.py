"""Training steps that show what they compute: the raw material of the parity check.

A step is taken apart into what can differ between numbers of replicas: the rows, the
output of each layer, the losses, each replica's gradient, the reduced gradient, the
variables after the update. It is built from the same parts as `Trainer`'s.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from mnist_lib.distribution.batches import distribute_batches
from mnist_lib.training import (
    added_losses,
    local_gradients,
    losses,
    optimizers,
    replica_seeds,
    trainer,
)

# Gradients of one replica in replica context to those of the global batch.
ReduceGradients = Callable[[list[tf.Tensor]], list[tf.Tensor]]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What to train, as functions that build it; see `check.check_replica_parity`."""

    build_model: Callable[[], keras.Model]
    build_optimizer: Callable[[], keras.optimizers.Optimizer]
    build_metrics: Callable[[], Sequence[keras.metrics.Metric]]
    make_batches: Callable[[keras.Model, int], tf.data.Dataset]
    loss: str | losses.PerExampleLoss
    reduce_gradients: ReduceGradients | None
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
    """Trains a recipe on some replicas and records each step."""

    def __init__(self, recipe: Recipe, strategy: tf.distribute.Strategy):
        """Builds everything under the strategy's scope."""
        self._recipe = recipe
        self._strategy = strategy
        # A loss that averages is what the check is to find: it is taken as it is.
        self._loss = (
            losses.per_example_loss(recipe.loss) if isinstance(recipe.loss, str) else recipe.loss
        )
        with strategy.scope():
            self.model = recipe.build_model()
            if not getattr(
                self.model, "inputs", None
            ):  # subclassed: its variables come with the first call
                images, _ = next(iter(recipe.make_batches(self.model, recipe.batch_size)))
                self.model(images, training=False)
            self.optimizer = recipe.build_optimizer()
            self.optimizer.build(self.model.trainable_variables)
            self.metrics = list(recipe.build_metrics())
        self._updating = optimizers.updating_optimizer(self.optimizer)
        self._probe, self.layer_names = _probe(self.model)
        self._names: dict[str, list[str]] = {}
        self._traced_step = tf.function(self._step)
        self._traced_evaluation = tf.function(self._evaluation)

    def batches(self) -> tf.data.Iterator:
        """Returns an iterator over the replicas' rows of the recipe's batches."""
        batches = self._recipe.make_batches(self.model, self._recipe.batch_size)
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
        size = self._recipe.batch_size
        batches = self._recipe.make_batches(self.model, size).take(num_batches)

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
        with (
            trainer.gradients_already_reduced(self._updating),
            replica_seeds.different_in_each_part(self.model),
            added_losses.kept_apart(self.model),
        ):
            return self._strategy.run(self._replica_step, args=(next(batches),))

    def _replica_step(self, batch) -> dict[str, dict[str, tf.Tensor]]:
        images, labels = batch
        context = tf.distribute.get_replica_context()
        num_replicas = context.num_replicas_in_sync
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            with added_losses.collecting() as added:
                outputs = self._probe(images, training=True)
            logits = outputs[-1]
            example_losses = self._loss(labels, logits)
            share = losses.scaled_loss(
                example_losses,
                labels.shape[0] * num_replicas,
                [*added, *added_losses.weight_penalties(self.model)],
                num_replicas,
            )
            scaled = self.optimizer.scale_loss(share)
        gradients = tape.gradient(scaled, [variable.value for variable in variables])
        paths = [
            v.path for v, gradient in zip(variables, gradients, strict=True) if gradient is not None
        ]
        present = [tf.convert_to_tensor(g) for g in gradients if g is not None]
        if self._recipe.reduce_gradients is None:
            local = local_gradients.LocalGradients(share, tf.zeros([], share.dtype), present)
            reduced, _, _ = trainer.all_reduce_sum(local)
        else:
            reduced = self._recipe.reduce_gradients(present)
        given = iter(reduced)
        self.optimizer.apply([None if g is None else next(given) for g in gradients], variables)
        return {
            "inputs": {"images": tf.identity(images), "labels": tf.identity(labels)},
            "layers": dict(zip(self.layer_names, outputs, strict=True)),
            "losses": {"example_losses": example_losses, "loss_share": share},
            "local_gradients": dict(zip(paths, present, strict=True)),
            "reduced_gradients": dict(zip(paths, reduced, strict=True)),
        }

    def _evaluation(self, batch) -> None:
        def on_replica(batch) -> None:
            images, labels, mask = batch
            logits = self.model(images, training=False)
            for metric in self.metrics:
                metric.update_state(labels, logits, sample_weight=tf.cast(mask, tf.float32))

        self._strategy.run(on_replica, args=(batch,))


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
