"""How a global batch is divided among the replicas."""

from __future__ import annotations

import tensorflow as tf

from mnist_lib import errors


def distribute_batches(batches: tf.data.Dataset, strategy: tf.distribute.Strategy):
    """Gives each replica its rows of every global batch.

    Replica r of R gets rows `r * B / R` to `(r + 1) * B / R` of each batch of B, on one
    machine or several, so the images of a step do not depend on R. Every worker
    reads the same data set; nothing is sharded.

    Args:
      batches: a data set whose elements all have the same static first dimension B.
      strategy: the strategy to iterate under.

    Returns:
      A distributed data set; `iter()` of it goes into `Trainer.train`.

    Raises:
      ConfigError: B is not static, or cannot be divided by R.
    """
    num_replicas = strategy.num_replicas_in_sync
    global_batch_size = static_batch_size(batches)
    if global_batch_size % num_replicas:
        raise errors.ConfigError(
            "batch_size",
            f"{global_batch_size} cannot be divided among {num_replicas} replicas; choose a "
            f"multiple of {num_replicas}",
        )
    replica_batch_size = global_batch_size // num_replicas

    def for_pipeline(context: tf.distribute.InputContext) -> tf.data.Dataset:
        rows = global_batch_size // context.num_input_pipelines
        first = context.input_pipeline_id * rows
        local = batches
        if context.num_input_pipelines > 1:
            local = local.map(
                lambda *element: tf.nest.map_structure(lambda x: x[first : first + rows], element)
            )
        if rows > replica_batch_size:
            local = local.rebatch(replica_batch_size, drop_remainder=True)
        return local.prefetch(2)

    return strategy.distribute_datasets_from_function(for_pipeline, _input_options(strategy))


def _input_options(strategy: tf.distribute.Strategy) -> tf.distribute.InputOptions | None:
    """Returns how images reach the replicas; None for TensorFlow's own way.

    By default an iterator per device fetches ahead, which pays on GPUs. On CPUs it
    copies for nothing, and its tuner's thread, which no option switches off, may
    take up to a minute to end (TensorFlow 2.21), at every evaluation.
    """
    # MultiWorkerMirroredStrategy cannot; without a strategy there is no such iterator.
    if type(strategy) is not tf.distribute.MirroredStrategy:
        return None
    if any("GPU" in device for device in strategy.extended.worker_devices):
        return None
    return tf.distribute.InputOptions(
        experimental_fetch_to_device=False,
        experimental_replication_mode=tf.distribute.InputReplicationMode.PER_REPLICA,
    )


def static_batch_size(batches: tf.data.Dataset) -> int:
    """Returns the static first dimension of all elements.

    Raises:
      ConfigError: there is none.
    """
    sizes = {spec.shape[:1].as_list()[0] for spec in tf.nest.flatten(batches.element_spec)}
    size = sizes.pop()
    if sizes or size is None:
        raise errors.ConfigError(
            "batches",
            "the batch dimension is not static; use batch(batch_size, drop_remainder=True)",
        )
    return size
