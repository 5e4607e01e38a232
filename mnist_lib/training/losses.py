"""Per-example losses, and the one place that scales them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from mnist_lib import choices, errors
from mnist_lib.datasets import batch_checks
from mnist_lib.distribution import tensorflow_internals

# Targets and outputs of a model to a float loss [B]; of a classifier integer labels [B] and
# float logits [B, C].
PerExampleLoss = Callable[[Any, Any], tf.Tensor]
# What names one: for several outputs one for each, in the structure of the outputs.
Loss = str | PerExampleLoss | Mapping[str, str | PerExampleLoss] | Sequence[str | PerExampleLoss]

# As the operation says it, and as its deterministic form does.
_WRONG_LABEL = re.compile(
    r"label value of (\S+) which is outside the valid range of (\[0, \d+\))"
    r"|CrossEntropy.*= (\S+) is not in (\[0, \d+\))",
    re.DOTALL,
)


def cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """The negative log-likelihood of the label under softmax, in nats, at least 0.

    Labels `[B, C]` are taken for the probability of each class, as one-hot ones are.
    """
    if labels.shape.rank == 2:
        return tf.nn.softmax_cross_entropy_with_logits(tf.cast(labels, logits.dtype), logits)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def perceptron(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """How far the label's logit is below the largest (Rosenblatt 1958, multi-class).

    Zero for a correct prediction; the gradient then moves nothing, as in the
    perceptron's rule. At least 0.
    """
    return _margin_loss(labels, logits, margin=0.0)


def hinge(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """The multi-class hinge loss with margin 1 (Crammer and Singer 2001)."""
    return _margin_loss(labels, logits, margin=1.0)


def _margin_loss(labels: tf.Tensor, logits: tf.Tensor, margin: float) -> tf.Tensor:
    is_label = tf.one_hot(labels, logits.shape[-1], on_value=True, off_value=False)
    label_logit = tf.reduce_sum(tf.where(is_label, logits, tf.zeros_like(logits)), axis=-1)
    largest_other = tf.reduce_max(
        tf.where(is_label, tf.fill(tf.shape(logits), logits.dtype.min), logits), axis=-1
    )
    # As of the cross-entropy, the loss of a label that is no class is no number.
    no_class = tf.constant(float("nan"), logits.dtype)
    label_logit = tf.where(tf.reduce_any(is_label, axis=-1), label_logit, no_class)
    return tf.nn.relu(margin + largest_other - label_logit)


_LOSSES: dict[str, PerExampleLoss] = {
    "cross_entropy": cross_entropy,
    "perceptron": perceptron,
    "hinge": hinge,
}


def smoothed_cross_entropy(label_smoothing: float) -> PerExampleLoss:
    """Returns the cross-entropy with smoothed labels (Szegedy et al. 2016, section 7).

    Args:
      label_smoothing: in [0, 1), the share of each label's probability that is spread
        evenly over all classes, the label's own included.
    """
    if label_smoothing == 0:
        return cross_entropy

    @tf.autograph.experimental.do_not_convert
    def loss(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        log_probabilities = tf.nn.log_softmax(logits)
        uniform = -tf.reduce_mean(log_probabilities, axis=-1)
        return (1 - label_smoothing) * cross_entropy(labels, logits) + label_smoothing * uniform

    return loss


def per_example_loss(loss: Loss) -> PerExampleLoss:
    """Returns the loss function for a name; a function is returned, to be traced.

    Args:
      loss: a name, a function, or one of them per output, whose losses are added up.

    Raises:
      ConfigError: an unknown name, or a Keras loss that averages by itself.
    """
    if isinstance(loss, str):
        choices.check("loss", loss)
        return _of_one_output(loss)
    if isinstance(loss, Mapping):
        return _sum_over_outputs({key: per_example_loss(one) for key, one in loss.items()})
    if isinstance(loss, Sequence):
        return _sum_over_outputs(dict(enumerate(map(per_example_loss, loss))))
    if getattr(loss, "reduction", "none") not in ("none", None):
        raise errors.ConfigError(
            "loss",
            f"{loss} averages over its own replica's images; make it with reduction='none', "
            "so that the sum can be divided by the global batch size",
        )
    return tensorflow_internals.with_graph_control_flow(loss)


def _of_one_output(name: str) -> PerExampleLoss:
    def loss(labels: Any, logits: Any) -> tf.Tensor:
        if not tf.is_tensor(labels) or not tf.is_tensor(logits):
            raise errors.ConfigError(
                "loss",
                f"is {name}, for a model of one output and its labels; give one loss per output, "
                "in the structure of the outputs, or a function of targets and outputs",
            )
        return _LOSSES[name](labels, logits)

    return loss


def _sum_over_outputs(parts: dict[Any, PerExampleLoss]) -> PerExampleLoss:
    """Returns the sum of the losses of several outputs."""

    def loss(targets: Any, outputs: Any) -> tf.Tensor:
        batch_checks.check_keys(parts, "targets", targets)
        batch_checks.check_keys(parts, "outputs", outputs)
        losses = [checked(parts[key])(targets[key], outputs[key]) for key in parts]
        return tf.add_n(losses)

    return loss


def scaled_loss(
    example_losses: tf.Tensor,
    global_batch_size: int,
    regularization: Sequence[tf.Tensor],
    num_parts: int,
) -> tf.Tensor:
    """Returns one part's share of the loss. The shares add up to the global loss.

    The global loss is the mean over the global batch plus the sum of the
    regularisation terms, which are computed for every part and which count once.

    Args:
      example_losses: float `[b]`, the losses of the images of this part, each times its
        weight.
      global_batch_size: images of all parts together.
      regularization: scalars, the model's `losses`.
      num_parts: equal parts the global batch is seen in: the number of replicas, times
        the parts that each accumulates.

    Returns:
      A float32 scalar (float64 if the losses are).
    """
    share = tf.reduce_sum(example_losses) / tf.cast(global_batch_size, example_losses.dtype)
    for term in regularization:
        share += tf.cast(term, share.dtype) / num_parts
    return share


@contextlib.contextmanager
def label_errors() -> Iterator[None]:
    """Turns what TensorFlow says of a label that is no class into an error of ours.

    Raises:
      ConfigError: names the label and the classes there are.
    """
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        found = _WRONG_LABEL.search(error.message)
        if found is None:
            raise
        label, classes = (found[1], found[2]) if found[1] else (found[3], found[4])
        raise errors.ConfigError(
            "labels", f"{label} is no class of the model, whose labels are in {classes}"
        ) from error


def checked(loss: PerExampleLoss) -> PerExampleLoss:
    """Returns a loss that raises ValueError unless it is `[b]` for `b` examples."""

    def checked_loss(targets: Any, outputs: Any) -> tf.Tensor:
        example_losses = loss(targets, outputs)
        num_examples = tf.nest.flatten(targets)[0].shape[0]
        if example_losses.shape.rank != 1 or example_losses.shape[0] != num_examples:
            raise ValueError(
                f"loss: returned shape {example_losses.shape} for {num_examples} examples; it "
                "must return one value per example and leave the averaging to the trainer"
            )
        return example_losses

    return checked_loss


def checked_or_none(loss: Loss | None) -> PerExampleLoss | None:
    """Returns what a loss stands for, checked; None for None."""
    return None if loss is None else checked(per_example_loss(loss))
