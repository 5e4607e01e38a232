"""Splits to `tf.data` batches. The batch at step t is a function of (seed, t).

Each epoch is one stateless permutation of the images, keyed by (seed, epoch).
The permutations are laid end to end and cut into batches of indices, and each
batch is gathered from the arrays in memory. Hence: a run continues at any step
with nothing to restore, every image is used exactly once per epoch, the order
is the same on any number of replicas, all batches have one static shape, and
the cost per batch does not depend on the size of the data. Batches may span the
end of an epoch, so that no image is dropped.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from mnist_lib import errors, runtime
from mnist_lib.datasets.splits import Split


def train_batches(
    split: Split,
    batch_size: int,
    *,
    seed: int = 0,
    start_step: int = 0,
    num_steps: int | None = None,
    rows: slice | None = None,
) -> tf.data.Dataset:
    """Returns shuffled batches for training, from `start_step` on.

    Args:
      split: the images to train on, N of them.
      batch_size: the global batch size, in [1, N].
      seed: chooses the order; any integer.
      start_step: the step of the first batch, at least 0.
      num_steps: how many batches; None for no end.
      rows: which rows of every global batch are gathered; None for all of them. The
        parts that several slices give are, side by side, the whole batch.

    Returns:
      A data set of `(images, labels)`, images `[B, H, W, C]` of the split's dtype and int32
      `[B]`, B the number of rows, of cardinality `num_steps`, or infinite. Batches are
      gathered up to two ahead.

    Raises:
      ConfigError: the split is smaller than a batch, or a number is negative.
    """
    runtime.check_not_forked()
    if not 1 <= batch_size <= len(split):
        raise errors.ConfigError(
            "batch_size",
            f"{batch_size} images cannot be drawn from the {len(split)} images of "
            f"split {split.name}; choose a number from 1 to {len(split)}",
        )
    if start_step < 0 or (num_steps is not None and num_steps < 0):
        raise errors.ConfigError(
            "start_step", f"steps cannot be negative (got {start_step}, {num_steps})"
        )
    indices = index_batches(len(split), batch_size, seed, start_step)
    if num_steps is not None:
        indices = indices.take(num_steps)
        indices = indices.apply(tf.data.experimental.assert_cardinality(num_steps))
    return _gather(indices, split, rows)


def eval_batches(split: Split, batch_size: int = 500) -> tf.data.Dataset:
    """Returns the images of a split once each, in order.

    Args:
      split: the images, N of them.
      batch_size: the global batch size, at least 1. The last batch may be smaller.

    Returns:
      A data set of `(images, labels)` as in `train_batches`, of cardinality
      `ceil(N / batch_size)`.

    Raises:
      ConfigError: the batch size is less than 1.
    """
    runtime.check_not_forked()
    _check_at_least_one(batch_size)
    indices = tf.data.Dataset.from_tensors(tf.range(len(split), dtype=tf.int64))
    indices = indices.rebatch(batch_size)
    num_batches = -(-len(split) // batch_size)
    indices = indices.apply(tf.data.experimental.assert_cardinality(num_batches))
    return _gather(indices, split)


def masked_eval_batches(
    split: Split, batch_size: int, *, rows: slice | None = None
) -> tf.data.Dataset:
    """Returns the images of a split in order, in batches of one size, filled up and masked.

    Args:
      split: the images, N of them, at least one.
      batch_size: the global batch size, at least 1.
      rows: which rows of every global batch are gathered; None for all of them.

    Returns:
      A data set of `(images, labels, mask)`, as in `train_batches` and bool `[B]`, B the
      number of rows, of cardinality `ceil(N / batch_size)`. The mask is False for the rows
      that fill up the last batch, which repeat image 0.

    Raises:
      ConfigError: the batch size is less than 1.
    """
    _check_at_least_one(batch_size)
    num_batches = -(-len(split) // batch_size)
    indices = np.arange(num_batches * batch_size).reshape(num_batches, batch_size)
    return _gather(tf.data.Dataset.from_tensor_slices(indices), split, rows, with_mask=True)


def _check_at_least_one(batch_size: int) -> None:
    if batch_size < 1:
        raise errors.ConfigError("batch_size", f"{batch_size} must be at least 1")


def index_batches(
    num_examples: int, batch_size: int, seed: int, start_step: int
) -> tf.data.Dataset:
    """Returns endless batches of shuffled indices, int64 `[batch_size]`; see `train_batches`."""
    start = start_step * batch_size
    start_epoch, start_offset = divmod(start, num_examples)

    @tf.autograph.experimental.do_not_convert
    def permutation(epoch: tf.Tensor) -> tf.Tensor:
        key = tf.stack([tf.constant(seed, tf.int64), epoch])
        indices = tf.range(num_examples, dtype=tf.int64)
        shuffled = tf.random.experimental.stateless_shuffle(indices, seed=key)
        # The first epoch of a resumed run has been used up to start_offset.
        return shuffled[tf.where(epoch == start_epoch, tf.constant(start_offset, tf.int64), 0) :]

    epochs = tf.data.Dataset.range(start_epoch, tf.int64.max)
    batches = epochs.map(permutation).rebatch(batch_size, drop_remainder=True)
    return batches.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))


def _gather(
    indices: tf.data.Dataset, split: Split, rows: slice | None = None, with_mask: bool = False
) -> tf.data.Dataset:
    """Turns batches of indices into images and labels, and a mask of those in the split."""
    images, labels = tf.constant(split.images), tf.constant(split.labels, tf.int32)

    @tf.autograph.experimental.do_not_convert
    def examples(batch: tf.Tensor) -> tuple[tf.Tensor, ...]:
        # Rows are chosen here, so that nobody gathers the images of others.
        batch = batch if rows is None else batch[rows]
        if not with_mask:
            return tf.gather(images, batch), tf.gather(labels, batch)
        mask = batch < len(split)
        batch = tf.where(mask, batch, 0)
        return tf.gather(images, batch), tf.gather(labels, batch), mask

    # The parallel map runs ahead of the consumer by as many batches as it has calls.
    batches = indices.map(examples, num_parallel_calls=2, deterministic=True)
    options = tf.data.Options()
    # Nothing is left to tune, and the tuner's thread may hold up the end of a program for
    # many seconds (TensorFlow 2.21).
    options.autotune.enabled = False
    # Sharding by file or by element would change which images a step sees.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return batches.with_options(options)
