"""Waits until all workers are there, before TensorFlow is told to connect them, or have left.

TensorFlow 2.21 waits for an absent worker without end, and holds the interpreter's
lock while it does: no timer of Python's can end it. So each worker first says on the
chief's port that it is there, and the chief answers when all have.
"""

from __future__ import annotations

import contextlib
import socket
import time

from mnist_lib import errors
from mnist_lib.distribution.clusters import Cluster

_GO = b"go\n"
_LINE_BYTES = 1024
_RETRY_SECONDS = 0.2
_READ_SECONDS = 5.0


def wait_for_all(cluster: Cluster, timeout_seconds: float) -> None:
    """Returns on every worker once all workers have called it.

    Raises:
      WorkerLostError: names those that have not, after `timeout_seconds`.
      ConfigError: the chief's port cannot be opened.
    """
    deadline = time.monotonic() + timeout_seconds
    if cluster.index == 0:
        missing = _gather(cluster, deadline)
    else:
        missing = _report_to_chief(cluster, deadline)
    if missing:
        raise errors.WorkerLostError(
            f"workers: no answer from {missing} within {timeout_seconds:g} s. Start all workers "
            "again, at about the same time."
        )


def wait_until_left(cluster: Cluster, timeout_seconds: float) -> None:
    """Returns once no other worker listens any more, or when the time is over."""
    deadline = time.monotonic() + timeout_seconds
    while len(cluster.unreachable()) < len(cluster.others()) and time.monotonic() < deadline:
        time.sleep(_RETRY_SECONDS)


def _gather(cluster: Cluster, deadline: float) -> str:
    """Waits for the others as chief and answers them; returns who is missing, or ''."""
    port = cluster.port(0)
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(socket.create_server(("", port)))
        except OSError as error:
            raise errors.ConfigError(
                "cluster",
                f"port {port} of {cluster.describe(0)} cannot be opened ({error.strerror}); stop "
                "what uses it, or choose another",
            ) from error
        connections: dict[int, socket.socket] = {}
        while len(connections) < len(cluster.others()):
            server.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                connection, _ = server.accept()
            except TimeoutError:
                break
            stack.enter_context(connection)
            line = _read_line(connection, time.monotonic() + _READ_SECONDS)
            if line.isdigit() and int(line) in cluster.others():  # else a stranger
                connections[int(line)] = connection
        absent = [index for index in cluster.others() if index not in connections]
        missing = ", ".join(cluster.describe(index) for index in absent)
        for connection in connections.values():
            with contextlib.suppress(OSError):  # it will be missed when TensorFlow connects
                connection.sendall(_GO if not missing else missing.encode() + b"\n")
    return missing


def _report_to_chief(cluster: Cluster, deadline: float) -> str:
    """Tells the chief of this worker and waits; returns who is missing, or ''."""
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(cluster.host_and_port(0), _READ_SECONDS) as connection:
                connection.sendall(f"{cluster.index}\n".encode())
                answer = _read_line(connection, deadline + _READ_SECONDS)
        except OSError:  # the chief is not there yet
            time.sleep(_RETRY_SECONDS)
            continue
        if answer:
            return "" if answer == _GO.decode().strip() else answer
    return cluster.describe(0)


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
