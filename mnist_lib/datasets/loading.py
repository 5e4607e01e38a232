"""Prepared TFDS files to arrays in memory.

data = load_dataset("mnist", manual_dir="/data/mnist")
data.train.images      # uint8 [55000, 28, 28, 1]
data.validation.labels # int32 [5000]
data.test              # read when first asked for
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable

import numpy as np

from mnist_lib.datasets import decoded, preparation, splits, tfrecords
from mnist_lib.datasets.prepared import PreparedDataset
from mnist_lib.datasets.splits import Split


class ImageDataset:
    """A data set with its three splits.

    Attributes:
      name: the name of the data set, as it appears in every output.
      train: the images to train on.
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
        class_names: tuple[str, ...] = tuple("0123456789"),
        stands_in_for: str | None = None,
    ):
        """Keeps the splits; `test` may be a function, called when first needed."""
        self.name = name
        self.train = train
        self.validation = validation
        self.class_names = class_names
        self.stands_in_for = stands_in_for
        self._test = test

    @functools.cached_property
    def test(self) -> Split:
        """The test split. Nothing may be chosen by looking at it."""
        return self._test() if callable(self._test) else self._test


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
    images, labels = read_prepared(prepared, "train")
    for_training, held_out = splits.split_indices(labels, validation_size, prepared.info.name)
    train = Split("train", images[for_training], labels[for_training])
    return ImageDataset(
        prepared.info.name,
        train=train if train_size is None else train.subset(train_size),
        validation=Split("validation", images[held_out], labels[held_out]),
        test=lambda: Split("test", *map(np.array, read_prepared(prepared, "test"))),
        class_names=prepared.info.class_names,
        stands_in_for=prepared.stands_in_for(name),
    )


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

    The images are in the order of the prepared data set, not of the IDX files.

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
    for split in ("train", "test"):
        images, labels = read_prepared(prepared, split)
        images = np.array(images).reshape((-1, 784) if flat else (-1, 28, 28))
        num_classes = len(prepared.info.class_names)
        encoded = np.eye(num_classes, dtype=np.float32)[labels] if one_hot else labels
        pairs.append((images, encoded if one_hot else labels.astype(np.uint8)))
    return pairs[0], pairs[1]


def read_prepared(prepared: PreparedDataset, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads one split of a prepared data set, in the order in which it is stored.

    The first time the shards are decoded (about 1.5 s for 60,000 images), later a
    verified copy is mapped.

    Args:
      prepared: what `prepare_dataset` returned.
      split: `"train"` or `"test"`.

    Returns:
      `(images, labels)`: uint8 `[N, 28, 28, 1]`, read-only, and int32 `[N]`.

    Raises:
      CorruptDataError: names the shard that cannot be read or is incomplete.
    """
    copy = decoded.read(prepared, split)
    if copy is not None:
        return copy
    num_classes = len(prepared.info.class_names)
    parts = [tfrecords.read_shard(shard, num_classes) for shard in prepared.shards[split]]
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    decoded.write(prepared, split, images, labels)
    return images, labels
