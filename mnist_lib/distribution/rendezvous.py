"""Waits until all workers are there, before TensorFlow is told to connect them, or have left.

TensorFlow 2.21 waits for an absent worker without end, and holds the interpreter's
lock while it does: no timer of Python's can end it. So each worker first says on the
chief's port that it is there, and the chief answers when all have. A worker that cannot
find the address of another, or of itself, says so there; TensorFlow would call it lost.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import time

from mnist_lib import errors
from mnist_lib.distribution.clusters import Cluster

_logger = logging.getLogger(__name__)

_GO = "go"
_OTHER_CLUSTER = "another cluster"
_SILENT = "no answer from"
_LINE_BYTES = 16 * 1024
_RETRY_SECONDS = 0.2
_READ_SECONDS = 5.0


def wait_for_all(cluster: Cluster, timeout_seconds: float) -> None:
    """Returns on every worker once all workers have called it.

    Raises:
      WorkerLostError: names those that have not, after `timeout_seconds`, or a worker that
        has not found the address of one in half of that time.
      ConfigError: this worker's port cannot be opened, or the chief was told of other
        workers than this one.
    """
    started = time.monotonic()
    # By half of the time, so that the chief still hears of it.
    problem = _wait_for_names(cluster, started + timeout_seconds / 2)
    meet = _gather if cluster.index == 0 else _report_to_chief
    problem = meet(cluster, started + timeout_seconds, problem)
    if problem.startswith(_SILENT):
        problem += f" within {timeout_seconds:g} s"
    if problem:
        raise errors.WorkerLostError(
            f"workers: {problem}. Start all workers again, at about the same time."
        )


def wait_until_left(cluster: Cluster, timeout_seconds: float) -> None:
    """Returns once no other worker listens any more, or when the time is over."""
    deadline = time.monotonic() + timeout_seconds
    while len(cluster.unreachable()) < len(cluster.others()) and time.monotonic() < deadline:
        time.sleep(_RETRY_SECONDS)


def _wait_for_names(cluster: Cluster, deadline: float) -> str:
    """Waits until all addresses are known here; returns which are not, or ''.

    The name of a machine that is still starting may be known a little later.
    """
    indices = [cluster.index, *cluster.others()]
    while True:
        problems = [problem for index in indices if (problem := _name_problem(cluster, index))]
        if not problems or time.monotonic() > deadline:
            break
        time.sleep(_RETRY_SECONDS)
    if not problems:
        return ""
    return (
        f"{cluster.describe(cluster.index)} cannot resolve {', '.join(problems)}: correct it, or "
        "enter it where that machine looks names up (DNS, /etc/hosts)"
    )


def _name_problem(cluster: Cluster, index: int) -> str:
    host, port = cluster.host_and_port(index)
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # the second: a name that no host can have
        whose = (
            "its own name" if index == cluster.index else f"the name of {cluster.describe(index)}"
        )
        return f"{whose}, {host} ({getattr(error, 'strerror', None) or error})"
    return ""


def _gather(cluster: Cluster, deadline: float, problem: str) -> str:
    """Waits for the others as chief and answers them; returns what is wrong, or ''."""
    problems = [problem] if problem else []
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(cluster.listen())
        connections: dict[int, socket.socket] = {}
        while len(connections) < len(cluster.others()):
            server.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                connection, _ = server.accept()
            except TimeoutError:
                break
            stack.enter_context(connection)
            line = _read_line(connection, time.monotonic() + _READ_SECONDS)
            index, digest, problem = [*line.split(" ", 2), "", ""][:3]
            if not (index.isascii() and index.isdigit() and int(index[:9]) in cluster.others()):
                continue  # a stranger
            if digest != cluster.digest():
                _logger.warning("A worker %s that was told of other workers has called.", index)
                _send_line(connection, f"{_OTHER_CLUSTER} {', '.join(cluster.addresses)}")
                continue
            connections[int(index)] = connection
            problems += [problem] if problem else []
        absent = [index for index in cluster.others() if index not in connections]
        if absent:
            missing = ", ".join(cluster.describe(index) for index in absent)
            problems.append(f"{_SILENT} {missing}")
        for connection in connections.values():
            _send_line(connection, "; ".join(problems) or _GO)
    return "; ".join(problems)


def _report_to_chief(cluster: Cluster, deadline: float, problem: str) -> str:
    """Tells the chief of this worker and waits; returns what is wrong, or ''."""
    line = f"{cluster.index} {cluster.digest()} {problem}".strip()
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(cluster.host_and_port(0), _READ_SECONDS) as connection:
                _send_line(connection, line)
                answer = _read_line(connection, deadline + _READ_SECONDS)
        except (OSError, UnicodeError):  # the chief is not there yet
            answer = ""
        if answer.startswith(_OTHER_CLUSTER):
            raise errors.ConfigError(
                "cluster",
                f"{cluster.describe(0)} is of a cluster of {answer.removeprefix(_OTHER_CLUSTER)}, "
                f"and {cluster.describe(cluster.index)} of {', '.join(cluster.addresses)}; tell "
                "all workers of the same ones",
            )
        if answer:
            return "" if answer == _GO else answer
        time.sleep(_RETRY_SECONDS)
    return problem or f"{_SILENT} {cluster.describe(0)}"


def _send_line(connection: socket.socket, text: str) -> None:
    with contextlib.suppress(OSError):  # it will be missed when TensorFlow connects
        connection.sendall(text.encode(errors="replace")[: _LINE_BYTES - 1] + b"\n")


def _read_line(connection: socket.socket, deadline: float) -> str:
    """Returns a line without its end; '' if none comes in time."""
    received = b""
    while not received.endswith(b"\n") and len(received) < _LINE_BYTES:
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            chunk = connection.recv(_LINE_BYTES)
        except OSError:
            return ""
        if not chunk:
            return ""
        received += chunk
    return received.decode(errors="replace").strip()
