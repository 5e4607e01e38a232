"""Evaluation that counts every example exactly once, on any number of replicas.

evaluator = Evaluator(model, strategy=strategy)
metrics = evaluator.evaluate(data.validation)
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from mnist_lib import errors, runtime
from mnist_lib.datasets import batch_checks, pipelines
from mnist_lib.datasets.splits import Split
from mnist_lib.distribution import batches as distributed
from mnist_lib.training import losses, own_errors, own_metrics, targets
from mnist_lib.training.metrics import EvalMetrics
from mnist_lib.training.targets import Batch

_ENDLESS = tf.data.INFINITE_CARDINALITY


class Evaluator:
    """Counts, on any number of replicas, every example exactly once."""

    def __init__(
        self,
        model: keras.Model,
        *,
        loss: losses.Loss = "cross_entropy",
        metrics: own_metrics.Metrics = (own_metrics.ACCURACY,),
        strategy: tf.distribute.Strategy | None = None,
        replica_batch_size: int = 500,
    ):
        """Keeps its arguments.

        Args:
          model: made under `strategy.scope()`; logits `[b, C]` out, or what the loss takes.
          loss: as for `Trainer`.
          metrics: what to compute beside the loss: `"accuracy"`, counted with the confusion
            matrix where targets are classes; Keras metrics, made under `strategy.scope()`;
            functions of (targets, outputs) that return a value per example, `[b]`, to be
            averaged. For several outputs: lists of Keras metrics and functions by output.
          strategy: where to evaluate; None for the strategy in scope.
          replica_batch_size: images per step and replica. Per replica, so that one
            image goes through the same arithmetic on any number of replicas.

        Raises:
          ConfigError: a metric was made elsewhere, or two have one name.
        """
        self.strategy = strategy or tf.distribute.get_strategy()
        self._model = model
        self._loss_given = loss
        self._loss = losses.checked(losses.per_example_loss(loss))
        self._metrics = own_metrics.OwnMetrics(metrics, self.strategy)
        self._batch_size = replica_batch_size * self.strategy.num_replicas_in_sync
        self._kept: tuple[Split, Any] | None = None

    def keep(self, split: Split) -> None:
        """Makes the batches of a split once, for all evaluations to come.

        TensorFlow does not give back all that a pipeline takes, 20 to 40 kB each time.

        Args:
          split: whose images and labels stay as they are; `evaluate` knows it again.
        """
        self._kept = split, self._distributed(split)

    def evaluate(self, data: Split | tf.data.Dataset) -> EvalMetrics:
        """Evaluates the model on a finite data set.

        Args:
          data: a split; batches of `(inputs, targets)` or `(inputs, targets, weights)` of any
            sizes, as for `Trainer`; or such batches already distributed, each of which
            counts as it is. Weights are those of the loss; nothing else is weighted.

        Returns:
          The loss, the confusion matrix if targets are classes, and the metrics, over all
          examples.

        Raises:
          ConfigError: the data set is empty or endless, the model takes other inputs, or
            a label is none of its classes.
        """
        runtime.check_not_forked()
        self._metrics.reset()
        batches, is_masked = self._batches(data)
        # All sums stay on the device until the end.
        sums: list[tf.Tensor] = []
        with own_errors.as_raised(), losses.label_errors():
            for batch in batches:
                values = self._evaluate_batch(batch, is_masked)
                sums = [a + b for a, b in zip(sums, values, strict=True)] if sums else values
        if not sums or not int(sums[1]):
            raise errors.ConfigError("data", "has no examples to evaluate on")
        loss_sum, num_examples, num_wrong, confusion_matrix = (value.numpy() for value in sums)
        if num_wrong:
            raise errors.ConfigError(
                "labels",
                f"{num_wrong} are not in [0, {len(confusion_matrix) - 1}], the classes of "
                f"{self._model.name}; give it a logit per class, and count classes from 0",
            )
        return EvalMetrics(
            float(loss_sum),
            confusion_matrix,
            num_examples=int(num_examples),
            own=self._metrics.results(),
        )

    def _batches(self, data: Split | tf.data.Dataset) -> tuple[Any, bool]:
        """Returns batches of one size for the replicas, and whether a mask says what is real."""
        size = self._batch_size
        if isinstance(data, Split):
            batch_checks.check_images(self._model, data.images.shape, data.images.dtype)
            if self._kept is not None and self._kept[0] is data:
                return self._kept[1], True
            return self._distributed(data), True
        cardinality = data.cardinality  # of distributed data a property
        if (cardinality() if callable(cardinality) else cardinality) == _ENDLESS:
            raise errors.ConfigError("data", "has no end; use take() or eval_batches()")
        if not isinstance(data, tf.data.Dataset):
            return data, False
        batch_checks.check_fits(self._model, data, loss=self._loss_given)
        padded = data.rebatch(size).map(tf.autograph.experimental.do_not_convert(self._pad))
        return distributed.distribute_batches(padded, self.strategy), True

    def _distributed(self, split: Split):
        """Returns batches of one size, with a mask of what is real."""
        return distributed.distribute_rows(
            lambda rows: pipelines.masked_eval_batches(split, self._batch_size, rows=rows),
            self._batch_size,
            self.strategy,
        )

    def _pad(self, *batch: Any):
        """Fills a batch up to its full size; the mask, last, says what is real."""
        num_rows = tf.shape(tf.nest.flatten(batch)[0])[0]
        missing = self._batch_size - num_rows

        def fill(x: tf.Tensor) -> tf.Tensor:
            padding = tf.concat([[[0, missing]], tf.zeros([x.shape.rank - 1, 2], tf.int32)], 0)
            return tf.ensure_shape(tf.pad(x, padding), [self._batch_size, *x.shape[1:]])

        return *tf.nest.map_structure(fill, batch), tf.range(self._batch_size) < num_rows

    @tf.function(autograph=False)
    def _evaluate_batch(self, batch, is_masked: bool) -> list[tf.Tensor]:
        def on_replica(*parts) -> tuple[tf.Tensor, ...]:
            *element, mask = parts if is_masked else (*parts, None)
            return self._replica_step(Batch(*element), mask)

        results = self.strategy.run(on_replica, args=batch)
        return [
            self.strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None) for value in results
        ]

    def _replica_step(self, batch: Batch, mask: tf.Tensor | None) -> tuple[tf.Tensor, ...]:
        if mask is None:
            mask = tf.ones([batch.num_rows], tf.bool)
        outputs = self._model(batch.inputs, training=False)
        wanted = targets.as_loss_labels(batch.targets)
        labels = None
        if self._metrics.with_accuracy:
            one_hot = isinstance(self._loss_given, str)
            labels = targets.class_labels(wanted, outputs, one_hot=one_hot)
        num_wrong = tf.zeros([], tf.int64)
        confusion_matrix = tf.zeros([0, 0], tf.int64)
        if labels is not None:
            # A label that is no class ends some losses in the graph, others count it as right.
            is_class = (labels >= 0) & (labels < tf.cast(outputs.shape[-1], labels.dtype))
            num_wrong = tf.math.count_nonzero(mask & ~is_class)
            mask &= is_class
            labels = tf.where(is_class, labels, tf.zeros_like(labels))
            wanted = labels if wanted.shape.rank == 1 else wanted
            confusion_matrix = tf.math.confusion_matrix(
                labels,
                tf.argmax(outputs, axis=-1),
                num_classes=outputs.shape[-1],
                weights=tf.cast(mask, tf.int64),
                dtype=tf.int64,
            )
        example_losses = tf.cast(self._loss(wanted, outputs), tf.float64)
        if batch.weights is not None:
            example_losses *= tf.cast(batch.weights, tf.float64)
        loss_sum = tf.reduce_sum(tf.where(mask, example_losses, 0.0))
        self._metrics.update(wanted, outputs, mask)
        return loss_sum, tf.math.count_nonzero(mask), num_wrong, confusion_matrix
