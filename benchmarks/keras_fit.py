"""Keras `fit`, as Keras's own examples have it: arrays in memory, compile, fit."""

from __future__ import annotations

import contextlib
import time

import keras
import tensorflow as tf

import mnist_lib
from benchmarks import arrays
from benchmarks.tasks import Task, Turn


def start(task: Task) -> FitLoop:
    """Starts `fit` without a strategy, or under MirroredStrategy as `fit_mirrored`."""
    return FitLoop(task)


def plain_network(model: str, seed: int) -> keras.Model:
    """Returns one of the library's networks with Keras's own dropout in place of its."""

    def plain(layer: keras.layers.Layer) -> keras.layers.Layer:
        if type(layer).__name__ == "Dropout":
            return keras.layers.Dropout(layer.rate)
        return layer.__class__.from_config(layer.get_config())

    built = mnist_lib.build_model(model, seed=seed)
    return keras.models.clone_model(built, clone_function=plain)


class _EpochTimer(keras.callbacks.Callback):
    """Times the epoch within `fit`, without the 60 ms that `fit` takes once to set up."""

    def on_epoch_begin(self, epoch, logs=None):
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds = time.perf_counter() - self._started


class FitLoop:
    """A compiled model and the arrays it is fitted to."""

    def __init__(self, task: Task):
        self._data = arrays.read(task.arrays)
        self._batch_size = task.batch_size
        self._next_image = 0
        self._timer = _EpochTimer()
        keras.utils.set_random_seed(task.seed)
        is_mirrored = task.contender == "fit_mirrored"
        strategy = tf.distribute.MirroredStrategy(["/cpu:0"]) if is_mirrored else None
        with strategy.scope() if strategy else contextlib.nullcontext():
            self._model = plain_network(task.model, task.seed)
            self._model.compile(
                keras.optimizers.Adam(1e-3),
                keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                metrics=["accuracy"],
            )

    def train(self, num_steps: int) -> Turn:
        chosen = self._next_images(num_steps)
        history = self._model.fit(
            self._data.train_images[chosen],
            self._data.train_labels[chosen],
            batch_size=self._batch_size,
            epochs=1,
            verbose=0,
            callbacks=[self._timer],
        )
        return Turn(history.history["loss"][-1], self._timer.seconds)

    def evaluate(self) -> float:
        result = self._model.evaluate(
            self._data.validation_images,
            self._data.validation_labels,
            verbose=0,
            return_dict=True,
        )
        return result["accuracy"]

    def _next_images(self, num_steps: int) -> slice:
        """Returns the images of the next steps; the last step of an epoch may have fewer.

        `fit` shuffles them. If the epoch has too few steps left, a new one begins.
        """
        before_last = (num_steps - 1) * self._batch_size
        if self._next_image + before_last >= len(self._data.train_labels):
            self._next_image = 0
        first = self._next_image
        self._next_image = first + before_last + self._batch_size
        return slice(first, self._next_image)
