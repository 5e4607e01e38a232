"""What a classifier says of every image of a split: what pictures and tables of it are made of."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from mnist_lib.datasets.splits import Split, stratified_order

_BATCH_SIZE = 500

# Test images of MNIST, by their numbers in the original files, whose label fewer than three of
# five people agreed with (Northcutt et al. 2021, labelerrors.com).
DISPUTED_TEST_IMAGES = frozenset(
    {947, 1621, 1901, 2130, 2462, 2597, 2654, 3520, 3558, 5937, 6651, 6783, 8527, 9679, 9729}
)


@dataclasses.dataclass(frozen=True, eq=False)
class Predictions:
    """The probabilities that a model gives the classes of some images.

    Attributes:
      split: the images and their labels, N of them.
      probabilities: float32 `[N, C]`, each row adds up to 1.
      class_names: one name per class.
      dataset: name of the data set.
    """

    split: Split
    probabilities: np.ndarray
    class_names: tuple[str, ...]
    dataset: str

    @functools.cached_property
    def predicted(self) -> np.ndarray:
        """The most probable class of each image, int64 `[N]`."""
        return self.probabilities.argmax(-1)

    @functools.cached_property
    def confidence(self) -> np.ndarray:
        """The probability of that class, float32 `[N]`."""
        return self.probabilities.max(-1)

    @functools.cached_property
    def is_correct(self) -> np.ndarray:
        """Whether it is the label, bool `[N]`."""
        return self.predicted == self.split.labels

    def of_subset(self, size: int) -> Predictions:
        """Returns those of a stratified choice of at most `size` images, in their order."""
        chosen = np.sort(stratified_order(self.split.labels)[:size])
        return dataclasses.replace(
            self, split=self.split.take(chosen), probabilities=self.probabilities[chosen]
        )

    def mistakes(self) -> np.ndarray:
        """Returns the indices of the images predicted wrong, the most confident first."""
        wrong = np.flatnonzero(~self.is_correct)
        return wrong[np.argsort(-self.confidence[wrong], kind="stable")]

    def confusion_matrix(self) -> np.ndarray:
        """Returns counts, int64 `[C, C]`; row: label, column: prediction."""
        size = len(self.class_names)
        pairs = self.split.labels.astype(np.int64) * size + self.predicted
        return np.bincount(pairs, minlength=size * size).reshape(size, size)

    def is_disputed(self, index: int) -> bool:
        """Whether an image is one of `DISPUTED_TEST_IMAGES`."""
        numbers = self.split.numbers
        is_mnist_test = self.dataset == "mnist" and self.split.name == "test"
        return is_mnist_test and numbers is not None and int(numbers[index]) in DISPUTED_TEST_IMAGES


def classifies(model: keras.Model) -> bool:
    """Whether a model is one of images `[N, ...]` to logits `[N, C]`, as far as it says."""
    inputs: list = list(getattr(model, "inputs", None) or ())
    outputs: list = list(getattr(model, "outputs", None) or ())
    return len(inputs) == len(outputs) == 1 and len(outputs[0].shape) == 2


def predict_split(
    model: keras.Model, split: Split, class_names: tuple[str, ...], dataset: str
) -> Predictions:
    """Returns what a model of images to logits `[N, C]` says of a split."""
    forward = tf.function(
        lambda batch: tf.nn.softmax(model(batch, training=False)),
        autograph=False,
        reduce_retracing=True,
    )
    probabilities = _in_batches(forward, split.images, _BATCH_SIZE)
    return Predictions(split, probabilities, tuple(class_names), dataset)


def logits_function(
    model: keras.Model, batch_size: int = _BATCH_SIZE
) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function, traced once, of images as the model takes them to their logits.

    Args:
      model: of images to logits `[N, C]`.
      batch_size: images that are shown at once.

    Returns:
      A function of images `[N, H, W, C]` to float32 `[N, C]`.
    """
    (image,) = model.inputs
    forward = tf.function(
        lambda batch: tf.cast(model(batch, training=False), tf.float32),
        autograph=False,
        input_signature=[tf.TensorSpec(image.shape, image.dtype)],
    )
    return lambda images: _in_batches(forward, images, batch_size)


def _in_batches(forward: Callable, images: np.ndarray, batch_size: int) -> np.ndarray:
    starts = range(0, len(images), batch_size)
    return np.concatenate(
        [forward(tf.constant(images[start : start + batch_size])).numpy() for start in starts]
    )
