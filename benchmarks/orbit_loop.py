"""Orbit, as its own documents have it: a StandardTrainer driven by a Controller.

Model, loss, metrics and optimizer are Keras 3's, as with the other contenders.
"""

from __future__ import annotations

import time

import keras
import tensorflow as tf

from benchmarks import arrays, keras_fit
from benchmarks.tasks import Task, Turn

_SHUFFLE_BUFFER = 10_000


def start(task: Task) -> OrbitLoop:
    """Starts Orbit under MirroredStrategy."""
    return OrbitLoop(task)


class OrbitLoop:
    """A trainer and the controller that drives it, `num_steps` per loop."""

    def __init__(self, task: Task):
        import orbit

        self._data = arrays.read(task.arrays)
        keras.utils.set_random_seed(task.seed)
        strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
        dataset = orbit.utils.make_distributed_dataset(
            strategy, _batches, self._data, task.batch_size
        )
        with strategy.scope():
            self._model = keras_fit.plain_network(task.model, task.seed)
            optimizer = keras.optimizers.Adam(1e-3)
            optimizer.build(self._model.trainable_variables)
            self._trainer = _make_trainer(dataset, self._model, optimizer, strategy)
        self._num_steps = 1
        self._controller = orbit.Controller(
            global_step=optimizer.iterations.value,
            trainer=self._trainer,
            strategy=strategy,
            steps_per_loop=lambda step: self._num_steps,
        )

    def train(self, num_steps: int) -> Turn:
        started = time.perf_counter()
        self._num_steps = num_steps
        self._controller.train(int(self._controller.global_step.numpy()) + num_steps)
        loss = float(self._trainer.train_loss.result())
        return Turn(loss, time.perf_counter() - started)

    def evaluate(self) -> float:
        images, labels = self._data.validation_images, self._data.validation_labels
        predicted = self._model.predict(images, verbose=0).argmax(axis=-1)
        return float((predicted == labels).mean())


def _batches(data: arrays.Arrays, batch_size: int) -> tf.data.Dataset:
    dataset = tf.data.Dataset.from_tensor_slices((data.train_images, data.train_labels))
    dataset = dataset.shuffle(_SHUFFLE_BUFFER).repeat().batch(batch_size, drop_remainder=True)
    return dataset.prefetch(tf.data.AUTOTUNE)


def _make_trainer(dataset, model: keras.Model, optimizer, strategy):
    """Returns an `orbit.StandardTrainer`; its class needs Orbit, so it is made here."""
    import orbit

    loss_function = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)

    class MnistTrainer(orbit.StandardTrainer):
        """Trains a classifier; counts its loss and accuracy."""

        def __init__(self):
            super().__init__(dataset)
            self.train_loss = keras.metrics.Mean("loss")
            self.train_accuracy = keras.metrics.SparseCategoricalAccuracy("accuracy")

        def train_loop_begin(self):
            self.train_loss.reset_state()
            self.train_accuracy.reset_state()

        def train_step(self, iterator):
            strategy.run(self._replica_step, args=(next(iterator),))

        def train_loop_end(self):
            return {
                metric.name: metric.result() for metric in (self.train_loss, self.train_accuracy)
            }

        def _replica_step(self, batch):
            images, labels = batch
            with tf.GradientTape() as tape:
                logits = model(images, training=True)
                loss = tf.reduce_mean(loss_function(labels, logits))
                # The optimizer sums gradients over the replicas.
                scaled_loss = loss / strategy.num_replicas_in_sync
            variables = model.trainable_variables
            gradients = tape.gradient(scaled_loss, variables)
            optimizer.apply_gradients(zip(gradients, variables, strict=True))
            self.train_loss.update_state(loss)
            self.train_accuracy.update_state(labels, logits)

    return MnistTrainer()
