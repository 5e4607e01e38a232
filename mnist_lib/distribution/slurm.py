"""What Slurm tells a task of a job step: who its workers are, and which it is.

The variables are those of `man srun`, "OUTPUT ENVIRONMENT VARIABLES".
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Mapping

from mnist_lib import errors

_MARKS = ("SLURM_JOB_ID", "SLURM_PROCID", "SLURM_STEP_NODELIST")
# Below 32768, from which Linux gives ports to whoever connects to something.
_FIRST_PORT = 12_000
_PORTS_PER_STEP = 16
_NUM_STEPS = 1024
_STEPS_PER_JOB = 397  # job 7, step 1 is not to have what job 8, step 0 has
_END_OF_PORTS = 2**16
_MOST_TASKS = 2**16
# An entry of a host list has plain parts and numbers in brackets, in turn.
_ENTRY = re.compile(r"(?:[^\[\],\s]|\[[^\[\]]*\])+")
_PART = re.compile(r"\[(?P<numbers>[^\[\]]*)\]|(?P<plain>[^\[\]]+)")
_RANGE = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?")
_TASKS = re.compile(r"([0-9]{1,9})(?:\(x([0-9]{1,9})\))?")


@dataclasses.dataclass(frozen=True)
class SlurmStep:
    """The workers of a job step.

    Attributes:
      addresses: `host:port` of each, node by node in Slurm's order.
      index: which of them this process is.
      tasks_of_node: which it is on its node, and how many are there.
    """

    addresses: tuple[str, ...]
    index: int
    tasks_of_node: tuple[int, int]


def is_job(environment: Mapping[str, str]) -> bool:
    """Returns whether Slurm has started this process."""
    return any(environment.get(name) for name in _MARKS)


def read_step(environment: Mapping[str, str], first_port: int | None = None) -> SlurmStep:
    """Returns the workers of the step that this process is a task of.

    A worker is known by its node and its place there rather than by its rank: which ranks
    a node has depends on `srun --distribution`.

    Args:
      environment: the variables that Slurm has set.
      first_port: the port of the first task on each node; those after it have the next
        ones. None for 12000 + 16 * ((job + 397 * step) mod 1024), at most 28368.

    Raises:
      ConfigError: names the variable that is missing or wrong.
    """
    num_tasks = _number(environment, "SLURM_STEP_NUM_TASKS", 1, _MOST_TASKS)
    rank = _number(environment, "SLURM_PROCID", 0, num_tasks - 1)
    counts = _tasks_per_node(environment, num_tasks)
    hosts = _hosts(environment, len(counts))
    if first_port is None:
        first_port = _port_of_step(environment)
    highest = _END_OF_PORTS - max(counts)
    if not 0 < first_port <= highest:
        raise errors.ConfigError(
            "worker_port",
            f"{first_port} must be from 1 to {highest}, since a node has {max(counts)} tasks, "
            "each with a port",
        )
    places = [(node, task) for node, count in enumerate(counts) for task in range(count)]
    index = rank  # from what sets no more than ranks; those go by nodes
    if "SLURM_NODEID" in environment or "SLURM_LOCALID" in environment:
        node = _number(environment, "SLURM_NODEID", 0, len(counts) - 1)
        index = places.index((node, _number(environment, "SLURM_LOCALID", 0, counts[node] - 1)))
    node, task = places[index]
    addresses = tuple(f"{hosts[node]}:{first_port + task}" for node, task in places)
    return SlurmStep(addresses, index, (task, counts[node]))


def expand_host_list(text: str, most: int = _MOST_TASKS) -> list[str]:
    """Returns the names in a host list, in the order of `scontrol show hostnames`.

    For three and more pairs of brackets in one name, which Slurm writes nowhere, that
    command has another order.

    Args:
      text: such as `n[2,08-10],rack[0-1]node3.cluster`.
      most: of more names than this none is made.

    Raises:
      ValueError: it is not such a list, or names more than `most`.
    """
    names: list[str] = []
    for entry in _matches(_ENTRY, text):
        parts = [
            [part["plain"]] if part["numbers"] is None else _numbers(part["numbers"], most)
            for part in _PART.finditer(entry[0])
        ]
        if len(names) + math.prod(map(len, parts)) > most:
            raise ValueError(f"names more than {most} nodes")
        names += map("".join, itertools.product(*parts))
    return names


def _numbers(text: str, most: int) -> list[str]:
    """Returns the numbers in brackets, with the leading zeros of the first of their range."""
    numbers: list[str] = []
    for match in _matches(_RANGE, text):
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ValueError(f"has a range that ends before it begins, {match[0]}")
        if len(numbers) + last - first >= most:
            raise ValueError(f"names more than {most} nodes")
        numbers += (str(number).zfill(len(match[1])) for number in range(first, last + 1))
    return numbers


def _matches(pattern: re.Pattern[str], text: str) -> list[re.Match[str]]:
    """Returns the matches of which a text consists, commas between them."""
    found = list(pattern.finditer(text))
    if not found or ",".join(match[0] for match in found) != text:
        raise ValueError("cannot be read")
    return found


def _hosts(environment: Mapping[str, str], num_nodes: int) -> list[str]:
    name = "SLURM_STEP_NODELIST"
    text = _text(environment, name)
    try:
        hosts = expand_host_list(text, num_nodes)
    except ValueError as error:
        raise _wrong(name, f"{text!r:.200} {error}") from error
    if len(set(hosts)) != num_nodes:
        raise _wrong(
            name,
            f"{text!r:.200} names {len(set(hosts))} nodes, SLURM_STEP_TASKS_PER_NODE {num_nodes}",
        )
    return hosts


def _tasks_per_node(environment: Mapping[str, str], num_tasks: int) -> list[int]:
    """Returns how many tasks each node has; `2(x3),1` is `[2, 2, 2, 1]`."""
    name = "SLURM_STEP_TASKS_PER_NODE"
    text = _text(environment, name)
    counts: list[int] = []
    try:
        for match in _matches(_TASKS, text):
            count, times = int(match[1]), int(match[2] or 1)
            if not count or not times or sum(counts) + count * times > num_tasks:
                raise ValueError("does not fit")
            counts += [count] * times
    except ValueError as error:
        raise _wrong(name, f"{text!r:.200} {error} (SLURM_STEP_NUM_TASKS={num_tasks})") from error
    if sum(counts) != num_tasks:
        raise _wrong(name, f"{text!r:.200} are not the {num_tasks} of SLURM_STEP_NUM_TASKS")
    return counts


def _port_of_step(environment: Mapping[str, str]) -> int:
    """Returns a port that others on the same nodes hardly have, from the numbers of the step."""
    job, step = (
        _number(environment, name, 0, 2**64) if environment.get(name) else 0
        for name in ("SLURM_JOB_ID", "SLURM_STEP_ID")
    )
    return _FIRST_PORT + _PORTS_PER_STEP * ((job + _STEPS_PER_JOB * step) % _NUM_STEPS)


def _number(environment: Mapping[str, str], name: str, least: int, most: int) -> int:
    text = _text(environment, name)
    if not re.fullmatch("[0-9]{1,20}", text) or not least <= int(text) <= most:
        raise _wrong(name, f"{text!r:.200} is not a number from {least} to {most}")
    return int(text)


def _text(environment: Mapping[str, str], name: str) -> str:
    text = environment.get(name)
    if not text:
        raise _wrong(name, "is not set, as it is in a step")
    return text


def _wrong(name: str, problem: str) -> errors.ConfigError:
    return errors.ConfigError(name, f"{problem}; start the command with Slurm's srun")
