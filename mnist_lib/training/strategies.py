"""Distribution strategies by name, and how a global batch is divided among replicas."""

from __future__ import annotations

import faulthandler
import logging

import tensorflow as tf

from mnist_lib import errors
from mnist_lib.training import clusters, config, rendezvous

_logger = logging.getLogger(__name__)


def create_strategy(
    name: str = "mirrored", num_replicas: int = 0, *, worker_timeout_seconds: int = 60
) -> tf.distribute.Strategy:
    """Creates a strategy.

    Args:
      name: a name in `config.STRATEGY_NAMES`. `mirrored` uses all GPUs, or the CPU
        if there is none; `multi_worker_mirrored` joins the workers that `TF_CONFIG` or
        Slurm names, and is to be made before anything else uses TensorFlow.
      num_replicas: if not 0, the CPU is split into that many logical devices and
        each is a replica. For trying out what replicas do; it makes nothing faster.
      worker_timeout_seconds: how long multi_worker_mirrored waits for the other workers;
        later, one that is lost is noticed within that time.

    Returns:
      The strategy.

    Raises:
      ConfigError: no such strategy, or the logical devices cannot be made any more, or
        `TF_CONFIG` or Slurm does not describe a cluster that this process can join.
      WorkerLostError: a worker has not come in time.
    """
    config.check_choice("strategy", name, config.STRATEGY_NAMES)
    if num_replicas and not can_split_cpu(num_replicas):
        raise errors.ConfigError(
            "num_replicas",
            f"{num_replicas} logical devices cannot be made: TensorFlow has already initialised "
            f"{len(tf.config.list_logical_devices('CPU'))}. Call create_strategy before anything "
            "else uses TensorFlow in this process",
        )
    if name == "default":
        return tf.distribute.get_strategy()
    if name == "one_device":
        gpus = tf.config.list_logical_devices("GPU")
        return tf.distribute.OneDeviceStrategy("/gpu:0" if gpus and not num_replicas else "/cpu:0")
    if name == "multi_worker_mirrored":
        return _join_workers(worker_timeout_seconds)
    if num_replicas:
        # TensorFlow's collectives would do, but hold one group of devices per process.
        return tf.distribute.MirroredStrategy(
            [f"/cpu:{i}" for i in range(num_replicas)],
            cross_device_ops=tf.distribute.ReductionToOneDevice(),
        )
    gpus = tf.config.list_logical_devices("GPU")
    return tf.distribute.MirroredStrategy([gpu.name for gpu in gpus] or ["/cpu:0"])


def can_split_cpu(num_replicas: int) -> bool:
    """Splits the CPU into logical devices, or returns False if it is too late for that."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    if len(tf.config.get_logical_device_configuration(cpu) or ()) >= num_replicas:
        return True
    devices = [tf.config.LogicalDeviceConfiguration() for _ in range(num_replicas)]
    try:
        tf.config.set_logical_device_configuration(cpu, devices)
    except RuntimeError:  # TensorFlow has initialised its devices
        return len(tf.config.list_logical_devices("CPU")) >= num_replicas
    return True


def _join_workers(timeout_seconds: int) -> tf.distribute.MultiWorkerMirroredStrategy:
    resolver, cluster = clusters.read_cluster()
    if not cluster.is_loopback():
        _logger.warning(
            "Workers at %s: the protocol between workers is neither encrypted nor authenticated. "
            "Use a network that only they can reach.",
            ", ".join(cluster.addresses),
        )
    own = cluster.describe(cluster.index)
    count = len(cluster.tasks)
    _logger.info("%s of %d: waiting for all, at most %d s", own, count, timeout_seconds)
    rendezvous.wait_for_all(cluster, timeout_seconds)
    _configure_coordination(cluster, timeout_seconds)
    # All were there a moment ago. If one is lost just now, TensorFlow does not return.
    faulthandler.dump_traceback_later(timeout_seconds, exit=True)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    finally:
        faulthandler.cancel_dump_traceback_later()


def _configure_coordination(cluster: clusters.Cluster, timeout_seconds: int) -> None:
    """Has TensorFlow notice a silent worker in half of the time."""
    # Neither has a public name. MultiWorkerMirroredStrategy makes the same call, with
    # default times, unless it has been made.
    from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2
    from tensorflow.python.eager import context

    jobs = [job for job, _ in cluster.tasks]
    leader_job, leader_task = cluster.tasks[0]
    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader=f"/job:{leader_job}/replica:0/task:{leader_task}",
        heartbeat_timeout_in_ms=timeout_seconds * 1000 // 2,
        shutdown_barrier_timeout_in_ms=5000,
        coordinated_jobs=[
            coordination_config_pb2.CoordinatedJob(name=job, num_tasks=jobs.count(job))
            for job in dict.fromkeys(jobs)
        ],
    )


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
