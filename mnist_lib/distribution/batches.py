"""How a global batch is divided among the replicas."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import tensorflow as tf

from mnist_lib import errors, runtime
from mnist_lib.distribution import division, tensorflow_internals


def distribute_batches(batches: tf.data.Dataset, strategy: tf.distribute.Strategy):
    """Gives each replica its rows of every global batch.

    Replica r of R gets rows `r * B / R` to `(r + 1) * B / R` of each batch of B, on one
    machine or several, so the images of a step do not depend on R. Every worker
    reads the same data set; nothing is sharded. The strategy is left as it was.

    Args:
      batches: a data set whose elements all have the same static first dimension B.
      strategy: the strategy to iterate under.

    Returns:
      A distributed data set; `iter()` of it goes into `Trainer.train`.

    Raises:
      ConfigError: B is not static, or cannot be divided by R.
    """
    runtime.check_not_forked()
    batch_size = static_batch_size(batches)

    def rows_of_batches(rows: slice) -> tf.data.Dataset:
        if rows == slice(0, batch_size):
            return batches

        @tf.autograph.experimental.do_not_convert
        def chosen(*element):
            return tf.nest.map_structure(lambda x: x[rows], element)

        return batches.map(chosen)

    return distribute_rows(rows_of_batches, batch_size, strategy)


def distribute_rows(
    rows_of_batches: Callable[[slice], tf.data.Dataset],
    batch_size: int,
    strategy: tf.distribute.Strategy,
):
    """Distributes batches of which each input pipeline makes only its own rows.

    Args:
      rows_of_batches: returns the data set of some rows of all global batches.
      batch_size: rows of a global batch, B.
      strategy: the strategy to iterate under, left as it was.

    Returns:
      As `distribute_batches`.

    Raises:
      ConfigError: B cannot be divided by the number of replicas.
    """
    num_replicas = strategy.num_replicas_in_sync
    division.check_divides(batch_size, num_replicas)
    replica_batch_size = batch_size // num_replicas

    def for_pipeline(context: tf.distribute.InputContext) -> tf.data.Dataset:
        count = batch_size // context.num_input_pipelines
        first = context.input_pipeline_id * count
        local = rows_of_batches(slice(first, first + count))
        if count > replica_batch_size:
            local = local.rebatch(replica_batch_size, drop_remainder=True)
        return local.prefetch(2)

    if not _is_on_cpus_of_one_process(strategy):
        return strategy.distribute_datasets_from_function(for_pipeline)
    # By default an iterator per device fetches ahead, which pays on GPUs. On CPUs it
    # copies for nothing, and its tuner's thread, which no option switches off, may
    # take up to a minute to end (TensorFlow 2.21), at every evaluation.
    options = tf.distribute.InputOptions(
        experimental_fetch_to_device=False,
        experimental_replication_mode=tf.distribute.InputReplicationMode.PER_REPLICA,
    )
    with tensorflow_internals.input_devices_kept(strategy):
        return strategy.distribute_datasets_from_function(for_pipeline, options)


def _is_on_cpus_of_one_process(strategy: tf.distribute.Strategy) -> bool:
    # MultiWorkerMirroredStrategy has no pipeline per replica; without a strategy there is
    # no iterator per device.
    if type(strategy) is not tf.distribute.MirroredStrategy:
        return False
    return not any("GPU" in device for device in strategy.extended.worker_devices)


def iterator_over(batches, strategy: tf.distribute.Strategy) -> Iterator:
    """Returns an iterator over distributed batches, or itself if it is one.

    Raises:
      ConfigError: each replica would see all of its batches.
    """
    num_replicas = strategy.num_replicas_in_sync
    if isinstance(batches, tf.data.Iterator) and num_replicas > 1:
        raise errors.ConfigError(
            "batches",
            f"are not distributed: each of {num_replicas} replicas would see all of them; pass "
            "the data set itself, or iter(trainer.distribute(...))",
        )
    return iter(batches)


def static_batch_size(batches: tf.data.Dataset) -> int:
    """Returns the static first dimension of all elements.

    Raises:
      ConfigError: there is none.
    """
    shapes = [spec.shape for spec in tf.nest.flatten(batches.element_spec)]
    sizes = {shape[0] if shape.rank else None for shape in shapes}
    size = sizes.pop()
    if sizes or size is None:
        raise errors.ConfigError(
            "batches",
            "the batch dimension is not static; use batch(batch_size, drop_remainder=True)",
        )
    return size
