"""The workers of a run on several machines: who they are, and joining them.

`TF_CONFIG` or Slurm says who they are; it is checked before TensorFlow is started.
Then `tf.distribute` connects them, and its coordination service finds lost ones.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import ipaddress
import json
import logging
import os
import socket
import sys
import threading
import typing
from collections.abc import Iterator

from mnist_lib import errors

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

    def unreachable(self) -> list[int]:
        """Returns the others at whose address nothing listens."""
        return [index for index in self.others() if not _is_listening(self.addresses[index])]


def check_environment() -> None:
    """Checks `TF_CONFIG`, if it is set, without TensorFlow; quick.

    Raises:
      ConfigError: it does not describe a cluster that this process can join.
    """
    if _TF_CONFIG in os.environ:
        cluster = _from_tf_config(os.environ[_TF_CONFIG])
        _check_port_is_free(cluster.addresses[cluster.index])
    elif not all(name in os.environ for name in _SLURM):
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


def join(timeout_seconds: int) -> tf.distribute.MultiWorkerMirroredStrategy:
    """Waits for all workers and returns the strategy that spans them.

    Args:
      timeout_seconds: how long to wait for the others; later a worker that is lost
        ends this one within that time.

    Raises:
      ConfigError: neither `TF_CONFIG` nor Slurm describes a cluster, or this worker's
        port is taken.

    A worker that the others do not join in time cannot be woken from within
    TensorFlow: the process ends, with exit code 75 and a line that names them.
    """
    check_environment()
    import tensorflow as tf

    if _TF_CONFIG in os.environ:
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
        cluster = _from_tf_config(os.environ[_TF_CONFIG])
    else:
        resolver = _slurm_resolver()
        cluster = _cluster(resolver.cluster_spec().as_dict(), "worker", resolver.task_id)
        _check_port_is_free(cluster.addresses[cluster.index])
    foreign = [address for address in cluster.addresses if not _is_loopback(address)]
    if foreign:
        _logger.warning(
            "Workers at %s: the protocol between workers is neither encrypted nor authenticated. "
            "Use a network that only they can reach.",
            ", ".join(foreign),
        )
    _configure_coordination(cluster, timeout_seconds)
    _logger.info(
        "%s of %d: waiting for the others, at most %d s",
        cluster.describe(cluster.index),
        len(cluster.tasks),
        timeout_seconds,
    )
    with _exit_unless_joined(cluster, timeout_seconds):
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)


def _from_tf_config(text: str) -> Cluster:
    try:
        settings = json.loads(text)
        jobs = settings["cluster"]
        task = settings["task"]
        job, task_index = task["type"], task["index"]
    except (ValueError, KeyError, TypeError) as error:
        raise _bad_tf_config(
            'it must be JSON like {"cluster": {"worker": ["host:port", ...]}, "task": {"type": '
            f'"worker", "index": 0}}}} ({type(error).__name__}: {error})'
        ) from error
    if "ps" in jobs:
        raise _bad_tf_config("it has parameter servers (ps), which Keras 3 does not support")
    if not isinstance(jobs, dict) or not set(jobs) <= {"chief", "worker"}:
        raise _bad_tf_config(f"its jobs are {list(jobs)}; only chief and worker train")
    addresses = [address for name in ("chief", "worker") for address in jobs.get(name, ())]
    for address in addresses:
        host, _, port = str(address).rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 2**16:
            raise _bad_tf_config(f"{address!r} is not an address like host:port")
    if len(set(addresses)) < len(addresses):
        raise _bad_tf_config(f"two workers have the same address ({', '.join(addresses)})")
    count = len(jobs.get(job, ())) if isinstance(job, str) else 0
    if isinstance(task_index, bool) or task_index not in range(count):
        raise _bad_tf_config(
            f"its task is {job} {task_index}, but its cluster has {count} of {job}"
        )
    return _cluster(jobs, job, task_index)


def _cluster(jobs: dict, job: str, task_index: int) -> Cluster:
    """Returns the cluster with its chief, or else its worker 0, first."""
    tasks = [(name, n) for name in ("chief", "worker") for n in range(len(jobs.get(name, ())))]
    addresses = [jobs[name][n] for name, n in tasks]
    return Cluster(tuple(tasks), tuple(addresses), tasks.index((job, task_index)))


def _bad_tf_config(problem: str) -> errors.ConfigError:
    return errors.ConfigError(_TF_CONFIG, f"{problem}; correct the environment variable")


def _slurm_resolver() -> tf.distribute.cluster_resolver.SlurmClusterResolver:
    import tensorflow as tf

    try:
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver()
        resolver.cluster_spec()  # which sets its task_id too
    except (RuntimeError, ValueError, IndexError) as error:
        raise errors.ConfigError("SLURM_*", f"do not describe a job step ({error})") from error
    return resolver


def _check_port_is_free(address: str) -> None:
    port = int(address.rpartition(":")[2])
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            raise errors.ConfigError(
                "cluster",
                f"port {port} of this worker's address {address} cannot be used "
                f"({error.strerror}); stop what uses it, or choose another",
            ) from error


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_listening(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS):
            return True
    except OSError:
        return False


def _configure_coordination(cluster: Cluster, timeout_seconds: int) -> None:
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


@contextlib.contextmanager
def _exit_unless_joined(cluster: Cluster, timeout_seconds: int) -> Iterator[None]:
    def give_up() -> None:
        missing = cluster.unreachable() or cluster.others()
        names = ", ".join(cluster.describe(index) for index in missing)
        sys.stderr.write(
            f"error: workers: no answer from {names} within {timeout_seconds} s. Start all workers "
            "again, at about the same time.\n"
        )
        sys.stderr.flush()
        os._exit(os.EX_TEMPFAIL)

    timer = threading.Timer(timeout_seconds, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
