"""The workers of a run in several processes: who they are.

`TF_CONFIG` or Slurm says it, and is checked before TensorFlow is started.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import ipaddress
import json
import os
import socket
import typing

from mnist_lib import bounded, errors
from mnist_lib.distribution import slurm

if typing.TYPE_CHECKING:
    import tensorflow as tf

_TF_CONFIG = "TF_CONFIG"
_CONNECT_SECONDS = 1.0


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The workers of a run, the chief first.

    Attributes:
      tasks: job and index of each, `("worker", 0)`.
      addresses: `host:port` of each.
      index: which of them this process is.
      decided_by: the argument or environment variable that decides the ports.
      tasks_of_node: where this process is among the tasks of its Slurm node, and how many
        they are; None outside of Slurm.
    """

    tasks: tuple[tuple[str, int], ...]
    addresses: tuple[str, ...]
    index: int
    decided_by: str = _TF_CONFIG
    tasks_of_node: tuple[int, int] | None = None

    def describe(self, index: int) -> str:
        """Returns `worker 1 (host:port)` for one of them."""
        job, task = self.tasks[index]
        return f"{job} {task} ({self.addresses[index]})"

    def others(self) -> list[int]:
        """Returns the indices of all but this one."""
        return [index for index in range(len(self.tasks)) if index != self.index]

    def jobs(self) -> dict[str, list[str]]:
        """Returns the addresses of each job, as TensorFlow wants them."""
        named: dict[str, list[str]] = {}
        for (job, _), address in zip(self.tasks, self.addresses, strict=True):
            named.setdefault(job, []).append(address)
        return named

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

    def digest(self) -> str:
        """Returns what is the same on workers that were told of the same cluster."""
        text = json.dumps([self.tasks, self.addresses])
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]

    def listen(self) -> socket.socket:
        """Opens this worker's port, by IPv6 as by IPv4 where there is both.

        Raises:
          ConfigError: it cannot be used.
        """
        port = self.port(self.index)
        has_both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if has_both else socket.AF_INET
        try:
            return socket.create_server(("", port), family=family, dualstack_ipv6=has_both)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            remedy = f"name another in {_TF_CONFIG}, the same to all workers"
            if self.decided_by != _TF_CONFIG:
                remedy = f"pass another --{self.decided_by} to all workers"
            raise errors.ConfigError(
                self.decided_by,
                f"port {port} of {self.describe(self.index)} cannot be used "
                f"({error.strerror}); stop what uses it, or {remedy}",
            ) from error


def read_cluster(worker_port: int | None = None) -> Cluster:
    """Returns the workers that `TF_CONFIG` or else Slurm names, without TensorFlow; quick.

    To be called for multi_worker_mirrored alone: no other strategy has a cluster.

    Args:
      worker_port: the port of the first worker of each Slurm node, in [1, 2**16); None for
        one that the job's number decides. `TF_CONFIG` has ports of its own.

    Raises:
      ConfigError: they do not describe a cluster, or this worker's port is taken.
    """
    if text := os.environ.get(_TF_CONFIG):
        cluster = _from_tf_config(text)
    elif slurm.is_job(os.environ):
        step = slurm.read_step(os.environ, worker_port)
        tasks = tuple(("worker", index) for index in range(len(step.addresses)))
        cluster = Cluster(tasks, step.addresses, step.index, "worker_port", step.tasks_of_node)
    else:
        raise errors.ConfigError(
            "strategy",
            "multi_worker_mirrored needs the environment variable TF_CONFIG, or a Slurm step; to "
            "try it on this machine, start it with scripts/launch.py",
        )
    cluster.listen().close()
    return cluster


def cluster_of(strategy: tf.distribute.Strategy) -> Cluster | None:
    """Returns the cluster that a strategy spans; None if it is of this process alone."""
    resolver = strategy.cluster_resolver
    jobs = resolver.cluster_spec().as_dict() if resolver is not None else {}
    if not jobs:
        return None
    return _cluster(jobs, resolver.task_type, resolver.task_id)


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
    if job == "evaluator":
        raise _bad_tf_config(
            "its task is evaluator, which no run needs: workers evaluate as they train. Start "
            "no such process, or evaluate a run with scripts/evaluate.py"
        )
    if not isinstance(jobs, dict):
        raise _bad_tf_config(f"its cluster is {jobs!r:.100}, not jobs with their addresses")
    if "ps" in jobs:
        raise _bad_tf_config("it has parameter servers (ps), which Keras 3 does not support")
    if not set(jobs) <= {"chief", "worker"}:
        raise _bad_tf_config(f"its jobs are {list(jobs)}; only chief and worker train")
    for name, addresses in jobs.items():
        if not isinstance(addresses, list):
            raise _bad_tf_config(f"its {name} is {addresses!r:.100}, not a list of addresses")
        for address in addresses:
            _check_address(address)
    addresses = [address for name in ("chief", "worker") for address in jobs.get(name, ())]
    if len(set(addresses)) < len(addresses):
        raise _bad_tf_config(f"two workers have the same address ({', '.join(addresses)})")
    count = len(jobs.get(job, ())) if isinstance(job, str) else 0
    if type(task_index) is not int or task_index not in range(count):
        raise _bad_tf_config(
            f"its task is {job} {task_index}, but its cluster has {count} of {job}"
        )
    return _cluster(jobs, job, task_index)


def _check_address(address: object) -> None:
    host, _, port = str(address).rpartition(":")
    is_number = port.isascii() and port.isdigit() and 0 < int(port[:6]) < 2**16
    is_host = bool(host) and host.isprintable()
    if not isinstance(address, str) or not is_host or not is_number:
        raise _bad_tf_config(f"{address!r:.100} is not an address like host:port")
    if ":" in host:
        is_bracketed = host.startswith("[") and host.endswith("]")
        if not is_bracketed or not _is_ip_address(host[1:-1]):
            raise _bad_tf_config(
                f"{address!r:.100} is not an address like host:port; an IPv6 address stands in "
                "brackets, as in [::1]:2222"
            )


def _cluster(jobs: dict, job: str, task_index: int) -> Cluster:
    """Returns the cluster with its chief, or else its worker 0, first."""
    tasks = [(name, n) for name in ("chief", "worker") for n in range(len(jobs.get(name, ())))]
    addresses = [jobs[name][n] for name, n in tasks]
    return Cluster(tuple(tasks), tuple(addresses), tasks.index((job, task_index)))


def _bad_tf_config(problem: str) -> errors.ConfigError:
    return errors.ConfigError(_TF_CONFIG, f"{problem}; correct the environment variable")


def _is_ip_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return _is_ip_address(host) and ipaddress.ip_address(host).is_loopback


def _is_listening(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, _CONNECT_SECONDS):
            return True
    except (OSError, UnicodeError):  # the second: a name that no host can have
        return False
