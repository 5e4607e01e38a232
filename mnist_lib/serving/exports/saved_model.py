"""TensorFlow's SavedModel: the graph and its weights, which `tf.saved_model.load` runs."""

from __future__ import annotations

import pathlib
import typing
from collections.abc import Callable

import numpy as np

if typing.TYPE_CHECKING:
    from mnist_lib.serving.exports.served import ServedModel


def write(served: ServedModel, path: pathlib.Path, calibration_images: np.ndarray | None) -> None:
    """Writes a folder with the signature `serving_default`.

    It takes `images`, `[N, H, W]` of any N (`[N, H, W, C]` where there are several
    channels) in the dtype of the run's images, and returns `logits` float32 `[N, C]`,
    `probabilities` float32 `[N, C]` and `label` int64 `[N]`.

    Args:
      served: what to write.
      path: the folder to make.
      calibration_images: not used.
    """
    import tensorflow as tf

    from mnist_lib.serving.exports import signatures

    module = signatures.with_variables(served.model, served.signature_shape)
    tf.saved_model.save(module, str(path), signatures={signatures.NAME: module.answer})


def load(path: str) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Returns what answers images with `(probabilities, labels)`, on one thread."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    loaded = tf.saved_model.load(path)
    signature = loaded.signatures["serving_default"]

    def answer(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        answers = signature(images=tf.constant(images))
        return answers["probabilities"].numpy(), answers["label"].numpy()

    return answer
