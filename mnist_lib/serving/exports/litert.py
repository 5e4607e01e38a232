"""LiteRT, once TensorFlow Lite: one file for phones and boards, of built-in operations alone."""

from __future__ import annotations

import pathlib
import typing
from collections.abc import Callable

import numpy as np

if typing.TYPE_CHECKING:
    from mnist_lib.serving.exports.served import ServedModel


def write(served: ServedModel, path: pathlib.Path, calibration_images: np.ndarray | None) -> None:
    """Writes a float32 `.tflite` file with the signature of the SavedModel.

    Args:
      served: what to write.
      path: the file.
      calibration_images: not used.
    """
    from mnist_lib.serving.exports import litert_converter, plain_layers

    model = plain_layers.in_float32(served.model, ("bfloat16", "float16"))
    path.write_bytes(litert_converter.convert(model, served.signature_shape))


def load(path: str) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Returns what answers images with `(probabilities, labels)`, on one thread.

    Probabilities in uint8 are numbers again, `scale * (value - zero_point)`. Where the file has
    no label it is the largest logit, of equal ones the first.
    """
    from ai_edge_litert import interpreter as litert

    interpreter = litert.Interpreter(path, num_threads=1)
    run = interpreter.get_signature_runner("serving_default")
    scale, zero_point = run.get_output_details()["probabilities"]["quantization"]

    def answer(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        answers = run(images=images)
        probabilities = answers["probabilities"]
        labels = answers["label"] if "label" in answers else answers["logits"].argmax(-1)
        if scale:
            probabilities = np.float32(scale) * (probabilities.astype(np.float32) - zero_point)
        return probabilities, labels

    return answer
