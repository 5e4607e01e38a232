"""Evaluation that counts every example exactly once, on any number of replicas.

evaluator = Evaluator(model, strategy=strategy)
metrics = evaluator.evaluate(data.validation)
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from mnist_lib import errors
from mnist_lib.datasets import batch_checks, pipelines
from mnist_lib.datasets.splits import Split
from mnist_lib.distribution import batches as distributed
from mnist_lib.training import losses
from mnist_lib.training.metrics import EvalMetrics

_ENDLESS = tf.data.INFINITE_CARDINALITY


class Evaluator:
    """Counts, on any number of replicas, every example exactly once."""

    def __init__(
        self,
        model: keras.Model,
        *,
        loss: str | losses.PerExampleLoss = "cross_entropy",
        strategy: tf.distribute.Strategy | None = None,
        replica_batch_size: int = 500,
    ):
        """Keeps its arguments.

        Args:
          model: made under `strategy.scope()`; logits `[b, C]` out.
          loss: as for `Trainer`.
          strategy: where to evaluate; None for the strategy in scope.
          replica_batch_size: images per step and replica. Per replica, so that one
            image goes through the same arithmetic on any number of replicas.
        """
        self.strategy = strategy or tf.distribute.get_strategy()
        self._model = model
        self._loss = losses.checked(losses.per_example_loss(loss))
        self._batch_size = replica_batch_size * self.strategy.num_replicas_in_sync

    def evaluate(self, data: Split | tf.data.Dataset) -> EvalMetrics:
        """Evaluates the model on a finite data set.

        Args:
          data: a split; batches of `(images, labels)` of any sizes, integer labels `[b]`;
            or such batches already distributed, each of which counts as it is.

        Returns:
          The loss and the confusion matrix over all examples.

        Raises:
          ConfigError: the data set is empty or endless, the model takes other images, or
            a label is none of its classes.
        """
        # All sums stay on the device until the end.
        sums: list[tf.Tensor] = []
        for batch in self._masked_batches(data):
            values = self._evaluate_batch(batch)
            sums = [a + b for a, b in zip(sums, values, strict=True)] if sums else values
        loss_sum, confusion_matrix, num_wrong = sums or (0.0, np.zeros([0, 0], np.int64), 0)
        if int(num_wrong):
            raise errors.ConfigError(
                "labels",
                f"{int(num_wrong)} are not in [0, {len(confusion_matrix) - 1}], the classes of "
                f"{self._model.name}; give it a logit per class, and count classes from 0",
            )
        metrics = EvalMetrics(float(loss_sum), np.asarray(confusion_matrix))
        if not metrics.num_examples:
            raise errors.ConfigError("data", "has no examples to evaluate on")
        return metrics

    def _masked_batches(self, data: Split | tf.data.Dataset):
        """Returns batches of one size for the replicas; a mask says which rows are real."""
        size = self._batch_size
        if isinstance(data, Split):
            batch_checks.check_images(self._model, data.images.shape, data.images.dtype)
            return distributed.distribute_rows(
                lambda rows: pipelines.masked_eval_batches(data, size, rows=rows),
                size,
                self.strategy,
            )
        cardinality = data.cardinality  # of distributed data a property
        if (cardinality() if callable(cardinality) else cardinality) == _ENDLESS:
            raise errors.ConfigError("data", "has no end; use take() or eval_batches()")
        if not isinstance(data, tf.data.Dataset):
            return data
        batch_checks.check_fits(self._model, data)
        return distributed.distribute_batches(data.rebatch(size).map(self._pad), self.strategy)

    def _pad(self, images: tf.Tensor, labels: tf.Tensor):
        """Fills a batch up to its full size; the mask says what is real."""
        mask = tf.ones_like(labels, tf.bool)
        missing = self._batch_size - tf.shape(labels)[0]

        def fill(x: tf.Tensor) -> tf.Tensor:
            padding = tf.concat([[[0, missing]], tf.zeros([x.shape.rank - 1, 2], tf.int32)], 0)
            return tf.ensure_shape(tf.pad(x, padding), [self._batch_size, *x.shape[1:]])

        return fill(images), fill(labels), fill(mask)

    @tf.function
    def _evaluate_batch(self, batch) -> list[tf.Tensor]:
        results = self.strategy.run(self._replica_step, args=(batch,))
        return [
            self.strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None) for value in results
        ]

    def _replica_step(self, batch) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        images, labels, *masks = batch
        mask = masks[0] if masks else tf.ones_like(labels, tf.bool)
        logits = self._model(images, training=False)
        if labels.dtype not in (tf.int32, tf.int64):  # the cross-entropy takes no other
            labels = tf.cast(labels, tf.int32)
        # A label that is no class ends some losses in the graph, and others count it as right.
        is_class = (labels >= 0) & (labels < tf.cast(logits.shape[-1], labels.dtype))
        num_wrong = tf.math.count_nonzero(mask & ~is_class)
        labels, mask = tf.where(is_class, labels, tf.zeros_like(labels)), mask & is_class
        example_losses = tf.cast(self._loss(labels, logits), tf.float64)
        loss_sum = tf.reduce_sum(tf.where(mask, example_losses, 0.0))
        confusion_matrix = tf.math.confusion_matrix(
            labels,
            tf.argmax(logits, axis=-1),
            num_classes=logits.shape[-1],
            weights=tf.cast(mask, tf.int64),
            dtype=tf.int64,
        )
        return loss_sum, confusion_matrix, num_wrong
