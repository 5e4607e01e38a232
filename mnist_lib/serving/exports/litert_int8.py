"""LiteRT in whole numbers: int8 weights and activations, uint8 in and out."""

from __future__ import annotations

import pathlib

import numpy as np

from mnist_lib import errors
from mnist_lib.serving.exports import litert_converter, plain_layers
from mnist_lib.serving.exports.served import ServedModel


def write(served: ServedModel, path: pathlib.Path, calibration_images: np.ndarray) -> None:
    """Writes an int8 `.tflite` file: `images` to `logits` and `probabilities`, all uint8.

    Pixels go in as they are; what comes out has a scale and a zero point, which the file has.

    Args:
      served: what to write.
      path: the file.
      calibration_images: uint8 `[M, *signature_shape]`, from which the ranges are taken.

    Raises:
      ConfigError: the run's images are not uint8, or the model has layers of its own.
    """
    if served.model.inputs[0].dtype != "uint8":
        raise errors.ConfigError(
            "format",
            f"litert_int8 takes uint8 images, and those of the run are "
            f"{served.model.inputs[0].dtype}; choose litert",
        )
    # Of float images: whole numbers are what quantization makes of them.
    model = plain_layers.with_plain_layers(served.model, input_dtype="float32", dtype="float32")
    path.write_bytes(
        litert_converter.convert(
            model, served.signature_shape, _with_full_range(calibration_images)
        )
    )


def _with_full_range(images: np.ndarray) -> np.ndarray:
    """Returns the images and one more that has 0 and 255, so that a pixel is its own code."""
    extreme = images[:1].copy()
    extreme[0, 0, 0], extreme[0, -1, -1] = 0, 255
    return np.concatenate([images, extreme])
