"""Checks that a model trains the same on one replica and on several.

    report = check_replica_parity(build_model, num_replicas=2)
    print(report)          # "agree ...", or where the first difference arises
    assert report.agree

Replicas are logical devices of the CPU: no GPU is needed to check what GPUs will do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from mnist_lib import errors, runtime
from mnist_lib.distribution import division, strategies
from mnist_lib.parity import child, parity_case, random_batches, report
from mnist_lib.parity.report import ParityReport
from mnist_lib.training import losses, optimizers, own_errors, replica_step

__all__ = ["ParityReport", "check_replica_parity"]


def check_replica_parity(
    build_model: Callable[[], keras.Model],
    *,
    build_optimizer: Callable[[], keras.optimizers.Optimizer] | None = None,
    loss: str | losses.PerExampleLoss = "cross_entropy",
    build_metrics: Callable[[], Sequence[keras.metrics.Metric]] | None = None,
    make_batches: Callable[[keras.Model, int], tf.data.Dataset] | None = None,
    reduce_gradients: replica_step.ReduceGradients | None = None,
    num_replicas: int = 2,
    num_steps: int = 3,
    batch_size: int = 24,
    tolerance: float | None = None,
    accumulation_steps: int = 1,
    devices: Sequence[str] | None = None,
) -> ParityReport:
    """Trains a model on 1 and on `num_replicas` replicas and says where they first differ.

    Both start alike, see the same batches, and apply the same gradients once these have been
    compared. Where it is too late to split the CPU, a child process does it (cloudpickle).

    Args:
      build_model: returns a new model at each call; inputs to logits `[b, C]`. Of several
        outputs the loss is of the first; all are compared.
      build_optimizer: returns a new optimizer; None for SGD with momentum.
      loss: as for `Trainer`; one that averages is reported, not refused.
      build_metrics: returns new Keras metrics, compared over batches that are not full;
        None for the accuracy.
      make_batches: called with a model and `batch_size`, returns an endless data set of
        `(inputs, labels)` batches of that size; None for random ones that fit its inputs.
      reduce_gradients: how a loop of your own sums gradients: called in replica context
        with a list of tensors, returns the list to apply; None for the trainer's way.
      num_replicas, num_steps: at least 2, and at least 1.
      batch_size: of the global batch, a multiple of `num_replicas * accumulation_steps`.
      tolerance: relative to the largest value of a tensor, and of its layer's others; None
        for 1e-9 in float64, 1e-4 in float32, 0.02 in float16, 0.1 in bfloat16, by the least
        precise layer.
      accumulation_steps: equal parts in which each of the replicas, but not the one that
        they are compared with, sees its rows.
      devices: names of this process's devices, such as `/gpu:0`, `num_replicas` or more; the
        first is the one replica. None for logical devices of the CPU.

    Raises:
      ConfigError: a number that cannot be used; a function that returns what was there;
        a model not built, or with unknown labels, and no `make_batches`.
      MnistLibError: the child process failed.
      Exception: what one of the functions raised, or a layer, as it was raised there.
    """
    _check_numbers(num_replicas, num_steps, batch_size, accumulation_steps, devices)
    case = parity_case.ParityCase(
        build_model=build_model,
        build_optimizer=build_optimizer or _momentum,
        build_metrics=build_metrics or _accuracy,
        make_batches=make_batches or random_batches.random_batches,
        loss=loss,
        reduce_gradients=reduce_gradients,
        batch_size=batch_size,
    )
    numbers = (num_replicas, num_steps, tolerance, accumulation_steps)
    return _answer(report.Question(case, *numbers, None if devices is None else tuple(devices)))


def _check_numbers(
    num_replicas: int,
    num_steps: int,
    batch_size: int,
    accumulation_steps: int,
    devices: Sequence[str] | None,
) -> None:
    if num_replicas < 2 or num_steps < 1 or accumulation_steps < 1:
        raise errors.ConfigError(
            "num_replicas",
            "at least 2 replicas, 1 step and 1 part (accumulation_steps) are compared",
        )
    division.check_divides(batch_size, num_replicas, accumulation_steps)
    if devices is not None and len(devices) < num_replicas:
        raise errors.ConfigError(
            "devices", f"are {len(devices)}, and num_replicas is {num_replicas}; name as many"
        )


def _answer(question: report.Question) -> ParityReport:
    runtime.check_not_forked()
    if question.devices is None and not strategies.can_split_cpu(question.num_replicas):
        return child.answer(question)
    with own_errors.as_raised():
        return report.answer(question)


def _momentum() -> keras.optimizers.Optimizer:
    return keras.optimizers.SGD(0.01, momentum=optimizers.MOMENTUM)


def _accuracy() -> list[keras.metrics.Metric]:
    return [keras.metrics.SparseCategoricalAccuracy()]
