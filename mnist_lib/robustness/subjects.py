"""What is tried: a model, and the images that it is asked."""

from __future__ import annotations

import dataclasses
import functools
import os
import typing
from collections.abc import Callable
from typing import Any

import numpy as np

from mnist_lib.datasets.splits import Split
from mnist_lib.inspection import statistics

if typing.TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """A run's model and images.

    Attributes:
      model: of images to logits.
      logits: images `[N, H, W, C]` to logits, float32 `[N, classes]`.
      split: the images that are asked, in the order of the original files.
      validation: those on which choices are made; may be empty.
      class_names: one name per class.
      dataset: the name of the data.
      data_dir: where other data sets are looked for; None for TFDS's folder.
      seed: decides what is random, in [0, 2**64).
    """

    model: keras.Model
    logits: Callable[[np.ndarray], np.ndarray]
    split: Split
    validation: Split
    class_names: tuple[str, ...]
    dataset: str
    data_dir: str | os.PathLike[str] | None
    seed: int

    def count(self, images: np.ndarray) -> dict[str, Any]:
        """Counts how many of the split's images are predicted right as they are given here."""
        return accuracy_of(self.logits(images).argmax(-1) == self.split.labels)

    @functools.cached_property
    def clean_logits(self) -> np.ndarray:
        """Those of the images as they are, float32 `[N, classes]`."""
        return self.logits(self.split.images)


def accuracy_of(is_correct: np.ndarray) -> dict[str, Any]:
    """Returns counts, accuracy and its Wilson 95 % interval; of bool `[N]`, N at least 1."""
    num_examples, num_correct = len(is_correct), int(is_correct.sum())
    return {
        "num_examples": num_examples,
        "num_correct": num_correct,
        "accuracy": num_correct / num_examples,
        "interval": list(statistics.accuracy_interval(num_correct, num_examples)),
    }
