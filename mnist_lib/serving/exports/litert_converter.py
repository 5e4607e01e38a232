"""Calls TensorFlow's converter to LiteRT, in float32 and in int8."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from mnist_lib import errors, os_errors
from mnist_lib.serving.exports import signatures


def convert(
    model: keras.Model, shape: tuple[int, ...], calibration_images: np.ndarray | None = None
) -> bytes:
    """Returns a LiteRT file.

    Args:
      model: images to logits; in int8 of float32 images from 0 to 255.
      shape: of an image, without its channel where there is only one.
      calibration_images: `[M, *shape]` from which the ranges of int8 values are taken; the
        file then takes and gives uint8, and no label, which LiteRT finds in floats alone.
        None: float32 throughout.

    Raises:
      ConfigError: an operation of the model is not among those built into LiteRT.
    """
    module = signatures.with_constants(model, shape, with_label=calibration_images is None)
    with os_errors.temporary_folder() as folder, _conversion_errors():
        tf.saved_model.save(module, str(folder), signatures={signatures.NAME: module.answer})
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if calibration_images is not None:
            images = calibration_images.astype(np.float32)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([image[None]] for image in images)
            converter.inference_input_type = tf.uint8
            converter.inference_output_type = tf.uint8
        return converter.convert()


@contextlib.contextmanager
def _conversion_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # The converter's own class has no public name.
        if type(error).__name__ != "ConverterError":
            raise
        lacking = re.findall(r"(?m)^(?:TF Select|Custom) ops: (.*)$", str(error))
        what = ", ".join(lacking) or str(error).strip().splitlines()[0]
        raise errors.ConfigError(
            "format",
            f"LiteRT has no built-in operation for {what}; choose saved_model",
        ) from error
