"""Prepared TFDS files to arrays in memory.

data = load_dataset("mnist", manual_dir="/data/mnist")
data.train.images      # uint8 [55000, 28, 28, 1]
data.validation.labels # int32 [5000]
data.test              # read when first asked for
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Sequence

import numpy as np

from mnist_lib import errors
from mnist_lib.datasets import descriptions, examples, original_order, preparation, splits
from mnist_lib.datasets.prepared import PreparedDataset
from mnist_lib.datasets.splits import Split
from mnist_lib.datasets.stored_splits import read_prepared

_logger = logging.getLogger(__name__)


class ImageDataset:
    """A data set with its three splits, which fit together.

    Attributes:
      name: the name of the data set, as it appears in every output.
      train: the images to train on, at least one.
      validation: the images held out of training, for making choices. May be empty.
      class_names: one name per label.
      stands_in_for: the name of the data set that could not be had; None: this is it.
    """

    def __init__(
        self,
        name: str,
        train: Split,
        validation: Split,
        test: Split | Callable[[], Split],
        class_names: Sequence[str] = tuple("0123456789"),
        stands_in_for: str | None = None,
    ):
        """Keeps the splits; `test` may be a function, called when first needed.

        Raises:
          ConfigError: there is nothing to train on, images of two splits differ in shape,
            dtype or range, or a label has no name.
        """
        self.name = name
        self.train = train
        self.validation = validation
        self.class_names = tuple(map(str, class_names))
        self.stands_in_for = stands_in_for
        self._test = test
        self._check(train)
        self._check(validation)
        if not callable(test):
            self._check(test)
        if not len(train):
            raise errors.ConfigError("train", f"{name} has no images to train on")

    @functools.cached_property
    def test(self) -> Split:
        """The test split. Nothing may be chosen by looking at it."""
        test = self._test() if callable(self._test) else self._test
        self._check(test)
        return test

    def __repr__(self) -> str:
        return descriptions.dataset_text(self, read_test=self._has_read_test())

    def _repr_html_(self) -> str:
        return descriptions.dataset_html(self, read_test=self._has_read_test())

    def _has_read_test(self) -> bool:
        return "test" in vars(self) or not callable(self._test)

    def with_train(self, train: Split) -> ImageDataset:
        """Returns the data set with other images to train on."""
        return ImageDataset(
            self.name,
            train,
            self.validation,
            lambda: self.test,
            self.class_names,
            self.stands_in_for,
        )

    def _check(self, split: Split) -> None:
        """Checks that a split has images like those to train on, and labels that have names."""
        if not isinstance(split, Split):
            raise errors.ConfigError(
                "data",
                f"{self.name} has a {type(split).__name__} for a split; give "
                "mnist_lib.Split(name, images, labels)",
            )
        examples.check_classes(split.name, split.labels, len(self.class_names))
        ours, theirs = (
            f"{list(part.image_shape)} {part.images.dtype}"
            + (f" in {part.value_range}" if part.value_range else "")
            for part in (self.train, split)
        )
        if ours != theirs:
            raise errors.ConfigError(
                f"{split.name} images", f"are {theirs}, those of train {ours}; make them alike"
            )


def load_dataset(
    name: str = "mnist",
    *,
    data_dir: str | os.PathLike[str] | None = None,
    manual_dir: str | os.PathLike[str] | None = None,
    download: bool = True,
    validation_size: int = splits.VALIDATION_SIZE,
    train_size: int | None = None,
) -> ImageDataset:
    """Prepares a data set if need be and reads it into memory.

    Args:
      name: a name in `choices.NAMES["dataset"]`.
      data_dir: where TFDS keeps prepared data; `~/tensorflow_datasets` if None.
      manual_dir: a folder that holds the original files.
      download: whether the original files may be downloaded.
      validation_size: how many training images are held out, in [0, 60000).
      train_size: how many of the others are used, a stratified choice; None for all.

    Returns:
      The data set; its test split is read on first use.

    Raises:
      DataNotFoundError, CorruptDataError, ConfigError, OutputError, StorageError.
    """
    prepared = preparation.prepare_dataset(
        name, data_dir=data_dir, manual_dir=manual_dir, download=download
    )
    whole = read_split(prepared, "train")
    for_training, held_out = splits.split_indices(whole.labels, validation_size, prepared.info.name)
    train = whole.take(for_training)
    return ImageDataset(
        prepared.info.name,
        train=train if train_size is None else train.subset(train_size),
        validation=whole.take(held_out, "validation"),
        test=lambda: _copied(read_split(prepared, "test")),
        class_names=prepared.info.class_names,
        stands_in_for=prepared.stands_in_for(name),
    )


def _copied(split: Split) -> Split:
    """Returns a split of memory of its own, which may be written to."""
    return split.take(np.arange(len(split)))


def load_arrays(
    name: str = "mnist",
    *,
    flat: bool = False,
    one_hot: bool = False,
    data_dir: str | os.PathLike[str] | None = None,
    manual_dir: str | os.PathLike[str] | None = None,
    download: bool = True,
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Reads a data set as `keras.datasets.mnist.load_data()` gives it.

    In Keras's order too, which is that of the original files.

    Args:
      name: a name in `choices.NAMES["dataset"]`.
      flat: images as `[N, 784]` rather than `[N, 28, 28]`.
      one_hot: labels as float32 `[N, 10]` rather than uint8 `[N]`.
      data_dir, manual_dir, download: as for `load_dataset`.

    Returns:
      `((x_train, y_train), (x_test, y_test))` with all 60,000 training images, uint8.
    """
    prepared = preparation.prepare_dataset(
        name, data_dir=data_dir, manual_dir=manual_dir, download=download
    )
    pairs = []
    for name_of_split in ("train", "test"):
        images, labels = read_prepared(prepared, name_of_split)
        order = np.argsort(original_order.numbers_as_stored(prepared.info, name_of_split))
        images = images[order].reshape((-1, 784) if flat else (-1, 28, 28))
        labels = labels[order]
        num_classes = len(prepared.info.class_names)
        encoded = np.eye(num_classes, dtype=np.float32)[labels] if one_hot else labels
        pairs.append((images, encoded if one_hot else labels.astype(np.uint8)))
    return pairs[0], pairs[1]


def read_split(prepared: PreparedDataset, split: str) -> Split:
    """Reads one split of a prepared data set, in the order in which it is stored.

    Its `sha256` is the same on every machine, however TFDS has packed the images.

    Args:
      prepared: what `prepare_dataset` returned.
      split: `"train"` or `"test"`.

    Returns:
      The split; its images may be read-only.

    Raises:
      CorruptDataError: as for `read_prepared`.
    """
    images, labels = read_prepared(prepared, split)
    numbers = original_order.numbers_as_stored(prepared.info, split)
    names = prepared.info.class_names
    counts = np.bincount(labels, minlength=len(names))
    if missing := [name for name, count in zip(names, counts, strict=False) if not count]:
        _logger.warning(
            "%s: its %s split has no image of %s; nothing that is said of that split is of them",
            prepared.info.name,
            split,
            ", ".join(missing),
        )
    return Split(split, images, labels, numbers)
