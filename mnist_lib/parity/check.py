"""Checks that a model trains the same on one replica and on several.

    report = check_replica_parity(build_model, num_replicas=2)
    print(report)          # "agree ...", or where the first difference arises
    assert report.agree

Replicas are logical devices of the CPU: no GPU is needed to check what GPUs will do.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence

import cloudpickle
import keras
import tensorflow as tf

from mnist_lib import errors
from mnist_lib.distribution import division, strategies
from mnist_lib.parity import compare, record
from mnist_lib.training import losses, optimizers, replica_step

_EVALUATION_BATCHES = 20


@dataclasses.dataclass(frozen=True)
class ParityReport:
    """The result of a check.

    Attributes:
      num_replicas: what one replica was compared with.
      num_steps: steps that were asked for.
      differences: those of the first step that has any, in the order in which a step
        computes them. The later ones usually follow from the first.
    """

    num_replicas: int
    num_steps: int
    differences: tuple[compare.Difference, ...]

    @property
    def agree(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    @property
    def first(self) -> compare.Difference | None:
        """Where the first difference arises; None if nothing differs."""
        return self.differences[0] if self.differences else None

    def __str__(self) -> str:
        if self.agree:
            return f"1 and {self.num_replicas} replicas agree over {self.num_steps} steps"
        lines = [f"1 and {self.num_replicas} replicas differ; the first difference arises in"]
        return "\n  ".join([*lines, *map(str, self.differences)])


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
    tolerance: float = 1e-4,
) -> ParityReport:
    """Trains a model on 1 and on `num_replicas` replicas and says where they first differ.

    Both start from the same weights and see the same global batches. Where TensorFlow
    has initialised too few devices already, it happens in a child process; functions
    and models are sent to it with cloudpickle.

    Args:
      build_model: returns a model; images to logits `[b, C]`.
      build_optimizer: returns an optimizer; None for SGD with momentum.
      loss: as for `Trainer`. A Keras loss that averages is reported, not refused.
      build_metrics: returns Keras metrics of (labels, logits, sample_weight); None for
        the accuracy. They are compared over batches that are not full.
      make_batches: called with a model and `batch_size`, returns an endless data set of
        `(images, labels)` batches of that size; None for random ones of its input shape.
      reduce_gradients: how a loop of your own sums gradients over replicas: called in
        replica context with a list of tensors, returns the list to apply; None for
        the trainer's way.
      num_replicas: at least 2.
      num_steps: steps to compare, at least 1.
      batch_size: the global batch size, a multiple of `num_replicas`.
      tolerance: relative to the largest absolute value of a tensor (of all gradients);
        1e-4 suits float32, 1e-9 a model in float64. Adam divides by the size of a
        gradient and magnifies rounding where it is zero: check it in float64.

    Returns:
      The report.

    Raises:
      ConfigError: a number that cannot be used, or a subclassed model and no `make_batches`.
      MnistLibError: the child process failed.
    """
    if num_replicas < 2 or num_steps < 1:
        raise errors.ConfigError("num_replicas", "at least 2 replicas and 1 step are compared")
    division.check_divides(batch_size, num_replicas)
    case = record.ParityCase(
        build_model=build_model,
        build_optimizer=build_optimizer or _momentum,
        build_metrics=build_metrics or _accuracy,
        make_batches=make_batches or _random_batches,
        loss=loss,
        reduce_gradients=reduce_gradients,
        batch_size=batch_size,
    )
    compare_here = strategies.can_split_cpu(num_replicas)
    return (_compare if compare_here else _in_child_process)(
        case, num_replicas, num_steps, tolerance
    )


def _compare(
    case: record.ParityCase, num_replicas: int, num_steps: int, tolerance: float
) -> ParityReport:
    one, many = (
        record.RecordingTrainer(case, strategies.create_strategy("mirrored", n))
        for n in (1, num_replicas)
    )
    for ours, theirs in zip(many.model.variables, one.model.variables, strict=True):
        ours.assign(theirs.numpy())
    one_batches, many_batches = one.batches(), many.batches()
    for step in range(1, num_steps + 1):
        records = one.step(one_batches), many.step(many_batches)
        found = list(compare.step_differences(one.model, *records, step, tolerance))
        if found:
            return ParityReport(num_replicas, num_steps, tuple(found))
    ours, theirs = one.evaluate(_EVALUATION_BATCHES), many.evaluate(_EVALUATION_BATCHES)
    compared = [(name, ours[name], theirs[name], tolerance) for name in ours]
    return ParityReport(
        num_replicas,
        num_steps,
        tuple(compare.first_difference("metric", num_steps, compared)),
    )


def _momentum() -> keras.optimizers.Optimizer:
    return keras.optimizers.SGD(0.01, momentum=optimizers.MOMENTUM)


def _accuracy() -> list[keras.metrics.Metric]:
    return [keras.metrics.SparseCategoricalAccuracy()]


def _random_batches(model: keras.Model, batch_size: int) -> tf.data.Dataset:
    """Returns endless batches of random images and labels that fit a model."""
    if not getattr(model, "inputs", None):
        raise errors.ConfigError(
            "make_batches", f"{model.name} has no inputs to read its shape off"
        )
    image, num_classes = model.inputs[0], model.outputs[0].shape[-1]
    shape = [batch_size, *image.shape[1:]]

    def batch(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        seed = tf.stack([tf.constant(0, tf.int64), number])
        pixels = tf.random.stateless_uniform(shape, seed, maxval=256, dtype=tf.int32)
        if tf.as_dtype(image.dtype).is_floating:
            pixels = tf.cast(pixels, tf.float32) / 255.0
        labels = tf.random.stateless_uniform([batch_size], seed, maxval=num_classes, dtype=tf.int32)
        return tf.cast(pixels, image.dtype), labels

    return tf.data.Dataset.range(tf.int64.max).map(batch)


def _in_child_process(*arguments) -> ParityReport:
    with tempfile.TemporaryDirectory() as folder:
        question, answer = pathlib.Path(folder, "question"), pathlib.Path(folder, "answer")
        question.write_bytes(cloudpickle.dumps(arguments))
        command = [sys.executable, "-m", "mnist_lib.parity.check", str(question), str(answer)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        environment.pop("TF_CONFIG", None)
        done = subprocess.run(command, env=environment, check=False)
        if done.returncode:
            raise errors.MnistLibError(
                f"check_replica_parity: its process ended with exit code {done.returncode}; "
                "see its messages above"
            )
        return cloudpickle.loads(answer.read_bytes())


def _main() -> None:
    question, answer = map(pathlib.Path, sys.argv[1:])
    case, num_replicas, *others = cloudpickle.loads(question.read_bytes())
    strategies.can_split_cpu(num_replicas)
    report = _compare(case, num_replicas, *others)
    answer.write_bytes(cloudpickle.dumps(report))


if __name__ == "__main__":
    # As the module it is, so that the report is of the class that the parent knows.
    from mnist_lib.parity import check

    check._main()
