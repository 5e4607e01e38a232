"""What the workers of one run must have in common, and how they end together."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from mnist_lib import errors
from mnist_lib.distribution import clusters, rendezvous, tensorflow_internals

_TEXT_BYTES = 16 * 1024
_TASK = re.compile(r"/job:(\w+)/(?:replica:\d+/)?task:(\d+)")
_REPORT = re.compile(r"<<<(.+?)>>>")
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.DeadlineExceededError,
    tf.errors.CancelledError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
)


class _DisagreementError(errors.ConfigError):
    """The workers' facts differ; raised on all of them."""


# Raised by all workers at the same point: nobody has to be told.
_COMMON_ERRORS = (_DisagreementError, errors.RunInterruptedError, errors.DivergedError)


class Workers:
    """The workers of a run, seen from one of them; also of a run that has just one.

    Attributes:
      strategy: the strategy that spans them.
    """

    def __init__(self, strategy: tf.distribute.Strategy, timeout_seconds: int):
        """Keeps its arguments.

        Args:
          strategy: the strategy that spans the workers.
          timeout_seconds: how long the first to finish waits for the others.
        """
        self.strategy = strategy
        self._timeout_seconds = timeout_seconds
        self._cluster = clusters.cluster_of(strategy)
        self._gather_bytes = tf.function(self._gather, autograph=False)

    @property
    def is_chief(self) -> bool:
        """Whether this process is the one that writes files."""
        return self._cluster is None or self._cluster.index == 0

    def check_same(
        self,
        facts: dict,
        remedy: str = "start all workers with the same flags, versions and data, and a --workdir "
        "that all of them see",
    ) -> None:
        """Checks that all workers hold the same facts; all must call it.

        Args:
          facts: names and JSON values.
          remedy: what to do if they differ.

        Raises:
          ConfigError: names the first fact that differs, on every worker alike.
        """
        if self._cluster is None:
            return
        of_worker = [json.loads(text) for text in self._exchange(json.dumps(facts))]
        for index, other in enumerate(of_worker):
            for name, value in of_worker[0].items():
                if other.get(name) != value:  # another version may not have it
                    raise _DisagreementError(
                        name,
                        f"is {other.get(name)} on {self._cluster.describe(index)}, but {value} on "
                        f"{self._cluster.describe(0)}; {remedy}",
                    )

    def check_same_weights(self, variables: Sequence[keras.Variable]) -> None:
        """Checks that all workers hold the same values, to the last bit; all must call it.

        Raises:
          ConfigError: they do not.
        """
        if self._cluster is None:
            return
        digest = hashlib.sha256()
        for variable in variables:
            local = self.strategy.experimental_local_results(variable.value)[0]
            digest.update(local.numpy().tobytes())
        self.check_same(
            {"weights": digest.hexdigest()[:16]},
            "the machines compute differently; use the same hardware and drivers on all",
        )

    def any_of(self, condition: bool) -> bool:
        """Returns whether `condition` is true on any worker; all must call it."""
        if self._cluster is None:
            return condition
        return any(text == "true" for text in self._exchange(json.dumps(condition)))

    @contextlib.contextmanager
    def ending_together(self) -> Iterator[None]:
        """Tells the others of an error here, and turns their loss into an error here.

        Raises:
          WorkerLostError: another worker is lost or has failed.
        """
        if self._cluster is None:
            yield
            return
        try:
            yield
        except _LOST as error:
            raise errors.WorkerLostError(self._describe_loss(str(error))) from error
        except _COMMON_ERRORS:
            self._wait_for_others()
            raise
        except BaseException as error:
            self._report(f"{type(error).__name__}: {error}")
            raise
        self._wait_for_others()

    def _describe_loss(self, message: str) -> str:
        assert self._cluster is not None
        remedy = "Start all workers again with the same --workdir to go on."
        reported = _REPORT.search(message)
        if reported:
            return f"workers: {reported[1]} {remedy}"
        lost = self._cluster.unreachable()
        if not lost:  # stopped, or cut off, rather than dead
            named = {(job, int(task)) for job, task in _TASK.findall(message)}
            lost = [i for i in self._cluster.others() if self._cluster.tasks[i] in named]
        # Heartbeats go to the first. When they fail and no other is named, it is the one.
        lost = lost or ([0] if self._cluster.index else self._cluster.others())
        names = ", ".join(self._cluster.describe(index) for index in lost)
        return f"workers: {names} is lost. {remedy}"

    def _report(self, message: str) -> None:
        """Has the coordination service abort what the others wait for, and say why."""
        assert self._cluster is not None
        line = " ".join(message.split())[:1000]
        report = f"<<<{self._cluster.describe(self._cluster.index)} has failed: {line}>>>"
        # A cluster that is broken already has nobody to tell.
        with contextlib.suppress(tf.errors.OpError):
            tensorflow_internals.report_error_to_cluster(report)

    def _wait_for_others(self) -> None:
        """Waits until no other worker is inside a collective operation any more."""
        assert self._cluster is not None
        if self.is_chief:  # TensorFlow's service ends with its process; others would complain
            atexit.register(rendezvous.wait_until_left, self._cluster, self._timeout_seconds)
        # What the run has done is done, whether or not the others come.
        with contextlib.suppress(tf.errors.OpError):
            tensorflow_internals.wait_at_barrier("mnist_lib_end", self._timeout_seconds * 1000)

    def _exchange(self, text: str) -> list[str]:
        """Returns the text that each worker passed, the chief's first."""
        encoded = text.encode()
        if len(encoded) > _TEXT_BYTES:
            raise ValueError(f"{len(encoded)} bytes are more than workers can exchange")
        padded = np.frombuffer(encoded.ljust(_TEXT_BYTES), np.uint8).astype(np.int32)
        gathered = self._gather_bytes(tf.constant(padded[None]))
        rows = self.strategy.experimental_local_results(gathered)[0].numpy()
        assert self._cluster is not None
        rows = rows[:: len(rows) // len(self._cluster.tasks)]  # one replica of each worker
        return [bytes(row.astype(np.uint8)).decode().rstrip() for row in rows]

    def _gather(self, row: tf.Tensor):
        def on_replica(row: tf.Tensor) -> tf.Tensor:
            return tf.distribute.get_replica_context().all_gather(row + 0, axis=0)

        return self.strategy.run(on_replica, args=(row,))
