"""Every private name of TensorFlow that this library touches.

TensorFlow 2.21 has no public way to any of them. Each is tried by name in
`tests/test_internals.py`, so that an upgrade that changes one fails there first.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2
from tensorflow.python.autograph.core import ag_ctx
from tensorflow.python.autograph.impl import api
from tensorflow.python.eager import context
from tensorflow.python.framework import config as framework_config

# Of all that have determinism open: what each wants, and how it was before the first.
_determinism_lock = threading.Lock()
_determinism_wanted: list[bool] = []
_determinism_before: list[bool] = []


def configure_coordination(jobs: Sequence[str], leader: tuple[str, int], timeout_ms: int) -> None:
    """Has TensorFlow's coordination service watch over the workers.

    MultiWorkerMirroredStrategy makes the same call, with default times, unless it has
    been made.

    Args:
      jobs: the job of each worker.
      leader: job and index of the worker that the others report to.
      timeout_ms: after this long without a heartbeat a worker is lost.
    """
    job, task = leader
    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader=f"/job:{job}/replica:0/task:{task}",
        heartbeat_timeout_in_ms=timeout_ms,
        shutdown_barrier_timeout_in_ms=5000,
        coordinated_jobs=[
            coordination_config_pb2.CoordinatedJob(name=name, num_tasks=jobs.count(name))
            for name in dict.fromkeys(jobs)
        ],
    )


def report_error_to_cluster(text: str) -> None:
    """Aborts what the other workers wait for, and tells them why.

    Raises:
      tf.errors.OpError: nobody is there any more.
    """
    context.context().report_error_to_cluster(tf.errors.ABORTED, text)


def wait_at_barrier(name: str, timeout_ms: int) -> None:
    """Waits until all workers are here.

    Raises:
      tf.errors.OpError: one has not come in time, or is lost.
    """
    context.context().wait_at_barrier(name, timeout_ms)


@contextlib.contextmanager
def op_determinism(wanted: bool) -> Iterator[None]:
    """Uses only deterministic operations, or any, while it is open; as before afterwards.

    It is a setting of all threads: while it is open in several, all are deterministic if one
    of them wants it.
    """
    with _determinism_lock:
        if not _determinism_wanted:
            _determinism_before[:] = [framework_config.is_op_determinism_enabled()]
        _determinism_wanted.append(wanted)
        _set_op_determinism(any(_determinism_wanted))
    try:
        yield
    finally:
        with _determinism_lock:
            _determinism_wanted.remove(wanted)
            _set_op_determinism(any(_determinism_wanted or _determinism_before))


def _set_op_determinism(wanted: bool) -> None:
    if wanted:
        tf.config.experimental.enable_op_determinism()
    else:
        framework_config.disable_op_determinism()


@contextlib.contextmanager
def input_devices_kept(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Puts back where a strategy feeds its replicas, which asking for PER_REPLICA changes.

    All later data sets of the strategy would be divided otherwise, the user's too: every
    replica of `fit` or `predict` would see the same rows.
    """
    extended = strategy.extended
    before = extended._input_workers_devices
    try:
        yield
    finally:
        extended._input_workers_devices = before


def with_graph_control_flow(function: Callable[..., Any]) -> Callable[..., Any]:
    """Has `if` and `for` on tensors work in a user's function, as in any `tf.function`.

    Our own steps are traced without AutoGraph: it takes a third of the time that tracing takes,
    and leaves a file in the temporary folder for each function if the process is killed.
    """
    enabled = ag_ctx.ControlStatusCtx(ag_ctx.Status.ENABLED)
    return api.tf_convert(function, enabled, user_requested=True)
