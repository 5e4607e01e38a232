"""A run's network, and what each of its layers makes of an image."""

from __future__ import annotations

import base64
import os
import threading
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mnist_lib import errors
from mnist_lib.inspection.figures import layer_outputs
from mnist_lib.runs import finished_runs, run_directory

# What comes out of these is what goes in, in another form.
_NOT_SHOWN = ("InputLayer", "Rescaling", "Dropout", "Flatten", "Reshape")


class WatchedRun:
    """A run whose model is loaded, to be asked about one image after another.

    Attributes:
      class_names: a name for each output.
    """

    def __init__(self, path: str | os.PathLike[str]):
        """Loads the model.

        Raises:
          ConfigError: it takes images of another shape than 28 x 28 x 1.
          MnistLibError: what `load_model` raises.
        """
        model = finished_runs.load_model(path)
        if layer_outputs.image_shape(model) != (28, 28, 1):
            height, width, channels = layer_outputs.image_shape(model)
            raise errors.ConfigError(
                "run",
                f"{path} takes images of {height} x {width} x {channels}, and a drawing becomes "
                "28 x 28 x 1; choose another run",
            )
        run = run_directory.RunDirectory(path)
        config = finished_runs.load_config(path)
        self.class_names = [str(name) for name in finished_runs.class_names(run, config)]
        self._shown = [layer for layer in model.layers if type(layer).__name__ not in _NOT_SHOWN]
        outputs = [layer_outputs.tensors_of(model, layer, "output")[0] for layer in self._shown]
        self._model = keras.Model(model.inputs, [*model.outputs, *outputs])
        self._forward = tf.function(
            lambda images: self._model(images, training=False), autograph=False
        )
        self._lock = threading.Lock()

    def look(self, image: np.ndarray) -> dict[str, Any]:
        """Returns what the network makes of an image, as JSON takes it.

        Args:
          image: uint8 `[28, 28]`.

        Returns:
          `probabilities`; `class_names`; `image`, its bytes in base64; `layers`: of each its
          `name`, `kind`, `shape` (`[h, w, channels]` or `[units]`), whether it `is_signed`,
          and `values`, bytes in base64, `[channels, h, w]`: 0 to the largest as 0 to 255, or,
          where some are below zero, 128 for 0.
        """
        batch = tf.cast(image[np.newaxis, :, :, np.newaxis], self._model.inputs[0].dtype)
        with self._lock:
            logits, *values = self._forward(batch)
        layers = [
            _shown_layer(layer, np.asarray(value, np.float32)[0])
            for layer, value in zip(self._shown, values, strict=True)
        ]
        return {
            "probabilities": [float(p) for p in tf.nn.softmax(tf.cast(logits, tf.float32))[0]],
            "class_names": self.class_names,
            "image": _base64(image),
            "layers": layers,
        }


def _shown_layer(layer: keras.layers.Layer, values: np.ndarray) -> dict[str, Any]:
    is_signed = bool(values.min() < 0)
    largest = float(np.abs(values).max()) or 1.0
    greys = 128 + 127 * values / largest if is_signed else 255 * values / largest
    channels_first = greys.transpose(2, 0, 1) if greys.ndim == 3 else greys
    return {
        "name": layer.name,
        "kind": layer_outputs.kind(layer),
        "shape": list(values.shape),
        "is_signed": is_signed,
        "values": _base64(np.rint(channels_first).astype(np.uint8)),
    }


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
