"""Metrics of one's own in an evaluation: Keras's, and functions of one example."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mnist_lib import choices, errors
from mnist_lib.distribution import tensorflow_internals
from mnist_lib.training import trainable
from mnist_lib.training.metrics import Value

ACCURACY = "accuracy"
# Targets and outputs to a value per example, `[b]`.
PerExampleMetric = Callable[[Any, Any], tf.Tensor]
_OfOneOutput = Sequence[str | keras.metrics.Metric | PerExampleMetric]
Metrics = _OfOneOutput | Mapping[str, _OfOneOutput]


class OwnMetrics:
    """Metrics that see each example once, on any number of replicas.

    Attributes:
      with_accuracy: whether the accuracy is wanted where targets are classes.
    """

    def __init__(self, metrics: Metrics, strategy: tf.distribute.Strategy):
        """Makes the averages of functions.

        Args:
          metrics: as for `Evaluator`.
          strategy: where they are updated.

        Raises:
          ConfigError: a metric was made elsewhere, two have one name, or a name is unknown.
        """
        self.with_accuracy = not isinstance(metrics, Mapping) and ACCURACY in metrics
        self._metrics: list[_Metric] = []
        with strategy.scope():
            for output, metric in _by_output(metrics):
                if isinstance(metric, str):
                    choices.check("metrics", metric, (ACCURACY,))
                    continue
                self._metrics.append(_Metric(output, metric))
        names = [metric.name for metric in self._metrics]
        if len({*names, "loss", ACCURACY}) < len(names) + 2:
            raise errors.ConfigError(
                "metrics", f"{', '.join(names)}: give each a name of its own, not loss or accuracy"
            )

    def reset(self) -> None:
        """Forgets what was counted."""
        for metric in self._metrics:
            metric.keras_metric.reset_state()

    def update(self, targets: Any, outputs: Any, mask: tf.Tensor) -> None:
        """Counts the examples of a replica that the mask, bool `[b]`, leaves."""
        for metric in self._metrics:
            metric.update(targets, outputs, mask)

    def results(self) -> dict[str, Value]:
        """Returns the values by name."""
        return {
            metric.name: np.asarray(metric.keras_metric.result()).tolist()
            for metric in self._metrics
        }


class _Metric:
    """One metric of one output; of a function the average."""

    def __init__(self, output: str | None, metric: keras.metrics.Metric | PerExampleMetric):
        self._output = output
        self._function = None
        if isinstance(metric, keras.metrics.Metric):
            self.keras_metric = metric
            trainable.check_scope(metric.variables, "metrics")
        elif callable(metric):
            self._function = tensorflow_internals.with_graph_control_flow(metric)
            name = getattr(metric, "__name__", type(metric).__name__)
            self.keras_metric = keras.metrics.Mean(name, dtype="float64")
        else:
            raise errors.ConfigError(
                "metrics",
                f"{metric!r} is none; give a keras.metrics.Metric, or a function of targets and "
                "outputs that returns a value per example",
            )
        name = self.keras_metric.name
        self.name = name if output is None else f"{output}_{name}"

    def update(self, targets: Any, outputs: Any, mask: tf.Tensor) -> None:
        if self._output is not None:
            targets, outputs = targets[self._output], outputs[self._output]
        if self._function is None:
            self.keras_metric.update_state(
                targets, outputs, sample_weight=tf.cast(mask, self.keras_metric.dtype)
            )
            return
        values = self._function(targets, outputs)
        if values.shape.rank != 1 or values.shape[0] != mask.shape[0]:
            raise ValueError(
                f"{self.name}: returned shape {values.shape} for {mask.shape[0]} examples; it "
                "must return one value per example"
            )
        values = tf.where(mask, tf.cast(values, tf.float64), 0.0)  # NaN times 0 is NaN
        self.keras_metric.update_state(values, sample_weight=tf.cast(mask, tf.float64))


def _by_output(metrics: Metrics) -> Iterator[tuple[str | None, Any]]:
    if isinstance(metrics, str) or not isinstance(metrics, Mapping | Sequence):
        raise errors.ConfigError("metrics", f"{metrics!r} is no list; give a list of metrics")
    if isinstance(metrics, Mapping):
        for output, of_output in metrics.items():
            for metric in of_output:
                yield output, metric
    else:
        for metric in metrics:
            yield None, metric
