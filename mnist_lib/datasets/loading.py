"""Prepared TFDS files to arrays in memory.

data = load_dataset("mnist", manual_dir="/data/mnist")
data.train.images      # uint8 [55000, 28, 28, 1]
data.validation.labels # int32 [5000]
data.test              # read when first asked for
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from mnist_lib import errors
from mnist_lib.datasets import preparation, splits

IMAGE_SHAPE = (28, 28, 1)
_READ_BATCH_SIZE = 1000


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Images and their labels.

    Attributes:
      name: `"train"`, `"validation"` or `"test"`.
      images: uint8 `[N, 28, 28, 1]`, 0 is background, 255 is ink.
      labels: int32 `[N]`, in [0, number of classes).
    """

    name: str
    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self):
        if len(self.images) != len(self.labels):
            raise errors.ConfigError(
                self.name,
                f"{len(self.images)} images and {len(self.labels)} labels; there "
                "must be one label per image",
            )

    def __len__(self) -> int:
        return len(self.labels)

    @functools.cached_property
    def sha256(self) -> str:
        """SHA-256 of the image bytes followed by the label bytes, hexadecimal."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels, dtype="<i4").data)
        return digest.hexdigest()


class ImageDataset:
    """A data set with its three splits.

    Attributes:
      name: the name of the data set, as it appears in every output.
      train: the images to train on.
      validation: the images held out of training, for making choices. May be empty.
      class_names: one name per label.
    """

    def __init__(
        self,
        name: str,
        train: Split,
        validation: Split,
        test: Split | Callable[[], Split],
        class_names: tuple[str, ...] = tuple("0123456789"),
    ):
        """Keeps the splits; `test` may be a function, called when first needed."""
        self.name = name
        self.train = train
        self.validation = validation
        self.class_names = class_names
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
    validation_size: int = 5000,
) -> ImageDataset:
    """Prepares a data set if need be and reads it into memory.

    Args:
      name: a name in `catalog.DATASET_NAMES`.
      data_dir: where TFDS keeps prepared data; `~/tensorflow_datasets` if None.
      manual_dir: a folder that holds the four original files.
      download: whether the original files may be downloaded.
      validation_size: how many training images are held out, in [0, 60000).

    Returns:
      The data set; its test split is read on first use.

    Raises:
      DataNotFoundError, CorruptDataError, ConfigError, OutputError, StorageError.
    """
    prepared = preparation.prepare_dataset(
        name, data_dir=data_dir, manual_dir=manual_dir, download=download
    )
    images, labels = read_prepared(prepared, "train")
    train, validation = splits.split_indices(labels, validation_size)
    return ImageDataset(
        prepared.info.name,
        train=Split("train", images[train], labels[train]),
        validation=Split("validation", images[validation], labels[validation]),
        test=lambda: Split("test", *read_prepared(prepared, "test")),
        class_names=prepared.info.class_names,
    )


def read_prepared(
    prepared: preparation.PreparedDataset, split: str
) -> tuple[np.ndarray, np.ndarray]:
    """Reads one split of a prepared data set, in the order in which it is stored.

    Args:
      prepared: what `prepare_dataset` returned.
      split: `"train"` or `"test"`.

    Returns:
      `(images, labels)`: uint8 `[N, 28, 28, 1]` and int32 `[N]`.

    Raises:
      CorruptDataError: names the shard that cannot be read or is incomplete.
    """
    num_classes = len(prepared.info.class_names)
    parts = [_read_shard(shard, num_classes) for shard in prepared.shards[split]]
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return images, labels


def _read_shard(shard: preparation.Shard, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    rebuild = f"Delete {shard.path.parent} and run again to rebuild it"
    images = np.empty((shard.num_examples, *IMAGE_SHAPE), np.uint8)
    labels = np.empty(shard.num_examples, np.int32)
    position = 0
    try:
        records = tf.data.TFRecordDataset(str(shard.path)).batch(_READ_BATCH_SIZE)
        for image_batch, label_batch in records.map(_decode, num_parallel_calls=tf.data.AUTOTUNE):
            end = position + len(label_batch)
            if end > shard.num_examples:
                break
            images[position:end] = image_batch
            labels[position:end] = label_batch
            position = end
        else:
            end = position
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
        raise errors.CorruptDataError(
            f"{shard.path}: damaged after example {position} ({error.message}). {rebuild}."
        ) from error
    if end != shard.num_examples:
        raise errors.CorruptDataError(
            f"{shard.path}: holds {end} examples{' or more' if end > position else ''}, "
            f"expected {shard.num_examples}. {rebuild}."
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if wrong.size:
        raise errors.CorruptDataError(
            f"{shard.path}: label {labels[wrong[0]]} of example {wrong[0]} is not in "
            f"[0, {num_classes - 1}]. {rebuild}."
        )
    return images, labels


def _decode(records: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Serialised examples `[B]` to uint8 `[B, 28, 28, 1]` and int32 `[B]`."""
    features = tf.io.parse_example(
        records,
        {
            "image": tf.io.FixedLenFeature([], tf.string),
            "label": tf.io.FixedLenFeature([], tf.int64),
        },
    )
    images = tf.map_fn(
        lambda png: tf.ensure_shape(tf.io.decode_png(png, channels=1), IMAGE_SHAPE),
        features["image"],
        fn_output_signature=tf.TensorSpec(IMAGE_SHAPE, tf.uint8),
    )
    return images, tf.cast(features["label"], tf.int32)
