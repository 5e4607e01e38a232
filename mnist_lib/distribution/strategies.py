"""Distribution strategies by name."""

from __future__ import annotations

import faulthandler
import logging
import os

import tensorflow as tf

from mnist_lib import choices, errors, runtime
from mnist_lib.distribution import clusters, rendezvous, tensorflow_internals

_logger = logging.getLogger(__name__)


def create_strategy(
    name: str = "mirrored",
    num_replicas: int = 0,
    *,
    worker_timeout_seconds: int = 60,
    worker_port: int | None = None,
) -> tf.distribute.Strategy:
    """Creates a strategy.

    Args:
      name: a name in `choices.NAMES["strategy"]`. `mirrored` uses all GPUs, or the CPU
        if there is none; `multi_worker_mirrored` joins the workers that `TF_CONFIG` or
        Slurm names, and is to be made before anything else uses TensorFlow.
      num_replicas: if not 0, the CPU is split into that many logical devices and
        each is a replica. For trying out what replicas do; it makes nothing faster.
      worker_timeout_seconds: how long multi_worker_mirrored waits for the other workers;
        later, one that is lost is noticed within that time.
      worker_port: under Slurm, the port of the first worker of each node, the next ones being
        those of the others there; None for one that the numbers of job and step decide.

    Returns:
      The strategy.

    Raises:
      ConfigError: no such strategy, or the logical devices cannot be made any more, or
        `TF_CONFIG` or Slurm does not describe a cluster that this process can join.
      WorkerLostError: a worker has not come in time.
    """
    runtime.check_not_forked()
    choices.check("strategy", name)
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
        return _join_workers(worker_timeout_seconds, worker_port)
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


def _join_workers(
    timeout_seconds: int, worker_port: int | None
) -> tf.distribute.MultiWorkerMirroredStrategy:
    cluster = clusters.read_cluster(worker_port)
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
    # TensorFlow notices a silent worker in half of the time.
    tensorflow_internals.configure_coordination(
        [job for job, _ in cluster.tasks], cluster.tasks[0], timeout_seconds * 1000 // 2
    )
    # All were there a moment ago. If one is lost just now, TensorFlow does not return.
    faulthandler.dump_traceback_later(timeout_seconds, exit=True)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=_resolver(cluster))
    finally:
        faulthandler.cancel_dump_traceback_later()


def _resolver(cluster: clusters.Cluster) -> tf.distribute.cluster_resolver.ClusterResolver:
    """Says who the workers are, and which GPUs this one has of those of its Slurm node."""
    gpus = tf.config.list_physical_devices("GPU")
    task, num_tasks = cluster.tasks_of_node or (0, 1)
    # With this variable, Slurm has given each task GPUs of its own.
    if num_tasks > 1 and len(gpus) >= num_tasks and not os.environ.get("SLURM_GPUS_PER_TASK"):
        share = len(gpus) // num_tasks
        tf.config.set_visible_devices(gpus[task * share : (task + 1) * share], "GPU")
    gpus = tf.config.get_visible_devices("GPU")
    job, index = cluster.tasks[cluster.index]
    return tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(cluster.jobs()),
        task_type=job,
        task_id=index,
        num_accelerators={"GPU": len(gpus)},
    )
