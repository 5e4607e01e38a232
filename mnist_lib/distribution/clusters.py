"""The workers of a run in several processes: who they are.

`TF_CONFIG` or Slurm says it, and is checked before TensorFlow is started.
"""

from __future__ import annotations

import dataclasses
import errno
import ipaddress
import logging
import os
import socket
import typing

from mnist_lib import bounded, errors

if typing.TYPE_CHECKING:
    import tensorflow as tf

_logger = logging.getLogger(__name__)

_TF_CONFIG = "TF_CONFIG"
_SLURM = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS")
_CONNECT_SECONDS = 1.0


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The workers of a run, the chief first.

    Attributes:
      tasks: job and index of each, `("worker", 0)`.
      addresses: `host:port` of each.
      index: which of them this process is.
    """

    tasks: tuple[tuple[str, int], ...]
    addresses: tuple[str, ...]
    index: int

    def describe(self, index: int) -> str:
        """Returns `worker 1 (host:port)` for one of them."""
        job, task = self.tasks[index]
        return f"{job} {task} ({self.addresses[index]})"

    def others(self) -> list[int]:
        """Returns the indices of all but this one."""
        return [index for index in range(len(self.tasks)) if index != self.index]

    def host_and_port(self, index: int) -> tuple[str, int]:
        """Returns the two parts of an address."""
        host, _, port = self.addresses[index].rpartition(":")
        return host.strip("[]"), int(port)

    def port(self, index: int) -> int:
        """Returns the port of an address."""
        return self.host_and_port(index)[1]

    def is_loopback(self) -> bool:
        """Returns whether all of them are on this machine, by their addresses."""
        hosts = [self.host_and_port(index)[0] for index in range(len(self.tasks))]
        return all(host == "localhost" or _is_loopback(host) for host in hosts)

    def unreachable(self) -> list[int]:
        """Returns the others at whose address nothing listens."""
        return [index for index in self.others() if not _is_listening(self.host_and_port(index))]


def check_environment() -> None:
    """Checks `TF_CONFIG`, if it is set and not empty, without TensorFlow; quick.

    To be called for multi_worker_mirrored alone: no other strategy has a cluster.

    Raises:
      ConfigError: it does not describe a cluster that this process can join.
    """
    if text := os.environ.get(_TF_CONFIG):
        _check_port_is_free(_from_tf_config(text))
    elif not all(os.environ.get(name) for name in _SLURM):
        raise errors.ConfigError(
            "strategy",
            "multi_worker_mirrored needs the environment variable TF_CONFIG, or a Slurm step; to "
            "try it on this machine, start it with scripts/launch.py",
        )


def cluster_of(strategy: tf.distribute.Strategy) -> Cluster | None:
    """Returns the cluster that a strategy spans; None if it is of this process alone."""
    resolver = strategy.cluster_resolver
    jobs = resolver.cluster_spec().as_dict() if resolver is not None else {}
    if not jobs:
        return None
    return _cluster(jobs, resolver.task_type, resolver.task_id)


def read_cluster() -> tuple[tf.distribute.cluster_resolver.ClusterResolver, Cluster]:
    """Returns the workers that `TF_CONFIG` or else Slurm names, and TensorFlow's resolver.

    Raises:
      ConfigError: they do not describe a cluster, or this worker's port is taken.
    """
    check_environment()
    import tensorflow as tf

    if text := os.environ.get(_TF_CONFIG):
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
        return resolver, _from_tf_config(text)
    resolver = _slurm_resolver()
    cluster = _cluster(resolver.cluster_spec().as_dict(), "worker", resolver.task_id)
    _check_port_is_free(cluster)
    return resolver, cluster


def _from_tf_config(text: str) -> Cluster:
    try:
        settings = bounded.parse_json(text)
        jobs = settings["cluster"]
        task = settings["task"]
        job, task_index = task["type"], task["index"]
    except (ValueError, KeyError, TypeError) as error:
        raise _bad_tf_config(
            'it must be JSON like {"cluster": {"worker": ["host:port", ...]}, "task": {"type": '
            f'"worker", "index": 0}}}} ({type(error).__name__}: {error})'
        ) from error
    if not isinstance(jobs, dict) or not all(_are_texts(of_job) for of_job in jobs.values()):
        raise _bad_tf_config('its cluster is not like {"worker": ["host:port", ...]}')
    if job == "evaluator":
        raise _bad_tf_config(
            "its task is evaluator, which no run needs: workers evaluate as they train. Start "
            "no such process, or evaluate a run with scripts/evaluate.py"
        )
    if "ps" in jobs:
        raise _bad_tf_config("it has parameter servers (ps), which Keras 3 does not support")
    if not set(jobs) <= {"chief", "worker"}:
        raise _bad_tf_config(f"its jobs are {list(jobs)}; only chief and worker train")
    addresses = [address for name in ("chief", "worker") for address in jobs.get(name, ())]
    for address in addresses:
        host, _, port = address.rpartition(":")
        is_port = port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 2**16
        if not host or not host.isprintable() or not is_port:
            raise _bad_tf_config(f"{address!r} is not an address like host:port")
    if len(set(addresses)) < len(addresses):
        raise _bad_tf_config(f"two workers have the same address ({', '.join(addresses)})")
    count = len(jobs.get(job, ())) if isinstance(job, str) else 0
    if type(task_index) is not int or task_index not in range(count):
        raise _bad_tf_config(
            f"its task is {job} {task_index}, but its cluster has {count} of {job}"
        )
    return _cluster(jobs, job, task_index)


def _are_texts(values: typing.Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _cluster(jobs: dict, job: str, task_index: int) -> Cluster:
    """Returns the cluster with its chief, or else its worker 0, first."""
    tasks = [(name, n) for name in ("chief", "worker") for n in range(len(jobs.get(name, ())))]
    addresses = [jobs[name][n] for name, n in tasks]
    return Cluster(tuple(tasks), tuple(addresses), tasks.index((job, task_index)))


def _bad_tf_config(problem: str) -> errors.ConfigError:
    return errors.ConfigError(_TF_CONFIG, f"{problem}; correct the environment variable")


def _slurm_resolver() -> tf.distribute.cluster_resolver.SlurmClusterResolver:
    import tensorflow as tf

    # The resolver places tasks by GPUs. Without any, it is told of enough to place all.
    without_gpus = {"gpus_per_node": 2**16, "gpus_per_task": 1, "auto_set_gpu": False}
    options = {} if tf.config.list_physical_devices("GPU") else without_gpus
    try:
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(**options)
        resolver.cluster_spec()  # which sets its task_id too
        if resolver.task_id is None:
            raise ValueError("SLURM_PROCID is none of its tasks")
    except (RuntimeError, ValueError, IndexError, TypeError, MemoryError) as error:
        raise errors.ConfigError("SLURM_*", f"do not describe a job step ({error})") from error
    return resolver


def _check_port_is_free(cluster: Cluster) -> None:
    port = cluster.port(cluster.index)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            raise errors.ConfigError(
                "cluster",
                f"port {port} of {cluster.describe(cluster.index)} cannot be used "
                f"({error.strerror}); stop what uses it, or choose another",
            ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_listening(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, _CONNECT_SECONDS):
            return True
    except OSError:
        return False
