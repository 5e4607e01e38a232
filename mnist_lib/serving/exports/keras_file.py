"""Keras's own file, of Keras's layers alone: `keras.models.load_model` needs no library of ours."""

from __future__ import annotations

import pathlib
import typing
from collections.abc import Callable

import numpy as np

if typing.TYPE_CHECKING:
    from mnist_lib.serving.exports.served import ServedModel


def write(served: ServedModel, path: pathlib.Path, calibration_images: np.ndarray | None) -> None:
    """Writes a `.keras` file: images `[N, H, W, C]` to float32 logits `[N, num_classes]`.

    Args:
      served: what to write.
      path: the file, ending in `.keras`.
      calibration_images: not used.

    Raises:
      ConfigError: a layer is not Keras's, and no layers of Keras's stand for it.
    """
    from mnist_lib.serving.exports import plain_layers

    plain_layers.with_plain_layers(served.model).save(path)


def load(path: str) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Returns what answers images with `(probabilities, labels)`, on one thread."""
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = keras.models.load_model(path, compile=False)

    @tf.function(autograph=False, reduce_retracing=True)
    def forward(images: tf.Tensor) -> tf.Tensor:
        return tf.cast(model(images, training=False), tf.float32)

    def answer(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        logits = forward(tf.constant(images.reshape(-1, *model.input_shape[1:])))
        return tf.nn.softmax(logits).numpy(), tf.argmax(logits, -1).numpy()

    return answer
