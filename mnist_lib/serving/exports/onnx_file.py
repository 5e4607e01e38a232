"""ONNX, which onnxruntime and others run."""

from __future__ import annotations

import pathlib
import typing
from collections.abc import Callable

import numpy as np

if typing.TYPE_CHECKING:
    from mnist_lib.serving.exports.served import ServedModel

# Of 2022; runtimes of then and later read it.
OPSET = 18


def write(served: ServedModel, path: pathlib.Path, calibration_images: np.ndarray | None) -> None:
    """Writes an `.onnx` file with the input and the outputs of the SavedModel's signature.

    Args:
      served: what to write.
      path: the file.
      calibration_images: not used.
    """
    import tf2onnx

    from mnist_lib.serving.exports import plain_layers, signatures

    model = plain_layers.in_float32(served.model, ("bfloat16",))  # which onnxruntime lacks
    module = signatures.with_constants(model, served.signature_shape)
    converted, _ = tf2onnx.convert.from_function(
        module.answer, input_signature=module.answer.input_signature, opset=OPSET
    )
    path.write_bytes(converted.SerializeToString())


def load(path: str) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Returns what answers images with `(probabilities, labels)`, on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def answer(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        probabilities, labels = session.run(["probabilities", "label"], {"images": images})
        return probabilities, labels

    return answer
