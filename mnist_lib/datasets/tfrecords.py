"""Reads the TFRecord shards that TFDS writes, faster than TFDS, and checks them."""

from __future__ import annotations

import struct

import numpy as np
import tensorflow as tf

from mnist_lib import errors, paths, runtime
from mnist_lib.datasets import record_framing
from mnist_lib.datasets.prepared import Shard, elsewhere

IMAGE_SHAPE = (28, 28, 1)
_READ_BATCH_SIZE = 1000
_LONGEST_RECORD = 2**14  # ten times an image that cannot be compressed
# Signature and header of a PNG file of this size: decoders believe it before they decode.
_PNG_BEGINS = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", *IMAGE_SHAPE[:2])


def read_shard(
    shard: Shard, num_classes: int, first_label: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Decodes one shard and checks that it is all there.

    Args:
      shard: the file and the number of its examples, N.
      num_classes: labels must be in [first_label, first_label + num_classes).
      first_label: the least label.

    Returns:
      `(images, labels)`: uint8 `[N, 28, 28, 1]` and int32 `[N]`, in the order stored.

    Raises:
      CorruptDataError: names the shard and what is wrong with it.
    """
    runtime.check_not_forked()
    rebuild = elsewhere(shard.path.parent)
    images = np.empty((shard.num_examples, *IMAGE_SHAPE), np.uint8)
    labels = np.empty(shard.num_examples, np.int64)
    position = 0
    try:
        record_framing.check_lengths(shard.path, _LONGEST_RECORD)
    except ValueError as error:
        raise errors.CorruptDataError(f"{shard.path}: damaged, {error}. {rebuild}.") from error
    try:
        with paths.for_tensorflow(shard.path.parent) as folder:
            records = tf.data.TFRecordDataset(str(folder / shard.path.name))
            batches = records.batch(_READ_BATCH_SIZE)
            for image_batch, label_batch in batches.map(_decode, tf.data.AUTOTUNE):
                end = position + len(label_batch)
                if end > shard.num_examples:
                    break
                images[position:end] = image_batch
                labels[position:end] = label_batch
                position = end
            else:
                end = position
    except (tf.errors.OpError, UnicodeDecodeError) as error:  # the second: what TensorFlow says
        reason = str(getattr(error, "message", error)).strip().partition("\n")[0]
        raise errors.CorruptDataError(
            f"{shard.path}: damaged after example {position} ({reason}). {rebuild}."
        ) from error
    if end != shard.num_examples:
        raise errors.CorruptDataError(
            f"{shard.path}: holds {end} examples{' or more' if end > position else ''}, "
            f"expected {shard.num_examples}. {rebuild}."
        )
    last_label = first_label + num_classes - 1
    wrong = np.flatnonzero((labels < first_label) | (labels > last_label))
    if wrong.size:
        raise errors.CorruptDataError(
            f"{shard.path}: label {labels[wrong[0]]} of example {wrong[0]} is not in "
            f"[{first_label}, {last_label}]. {rebuild}."
        )
    return images, labels.astype(np.int32)


@tf.autograph.experimental.do_not_convert
def _decode(records: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes serialised examples `[B]` to uint8 `[B, 28, 28, 1]` and int64 `[B]`."""
    features = tf.io.parse_example(
        records,
        {
            "image": tf.io.FixedLenFeature([], tf.string),
            "label": tf.io.FixedLenFeature([], tf.int64),
        },
    )
    begins = tf.strings.substr(features["image"], 0, len(_PNG_BEGINS))
    is_small = tf.debugging.Assert(  # says no bytes, which may be no text
        tf.reduce_all(begins == _PNG_BEGINS), ["an image is no PNG file of 28 x 28"]
    )
    with tf.control_dependencies([is_small]):
        encoded = tf.identity(features["image"])
    images = tf.map_fn(
        lambda png: tf.ensure_shape(tf.io.decode_png(png, channels=1), IMAGE_SHAPE),
        encoded,
        fn_output_signature=tf.TensorSpec(IMAGE_SHAPE, tf.uint8),
    )
    return images, features["label"]
