"""What a difference is likely to be, and what to do about it."""

from __future__ import annotations

import keras

from mnist_lib.training import keras_internals

STAGES = (
    "input",
    "forward",
    "loss",
    "gradient",
    "reduction",
    "update",
    "state",
    "evaluation",
    "metric",
)

_ADVICE = {
    "input": "make_batches must not depend on the model, the strategy or the time it is called.",
    "forward": "The layer sees only its replica's rows; what it computes must not depend on the "
    "other rows of a batch.",
    "loss": "The loss of an example must depend on that example alone, and be returned unreduced.",
    "gradient": "The gradients of the replicas do not add up to that of the whole batch: a custom "
    "gradient depends on the other rows, or normalises or clips before the sum.",
    "reduction": "What is applied is not the sum of the replicas' gradients: they are averaged, "
    "summed twice, or not at all.",
    "update": "The optimizer got the same gradients and left other values: it reduces or scales "
    "by itself, or draws random numbers.",
    "state": "The layer keeps statistics of its replica's rows; they must be reduced over the "
    "replicas (BatchNormalization: synchronized=True).",
    "evaluation": "With training=False too, the layer sees only its replica's rows: it must use "
    "what it has learned and not the statistics of a batch.",
    "metric": "The metric is not the same over uneven parts: sum numerators and denominators, use "
    "sample_weight, and divide once.",
}
OTHER_LAYERS = "Other layers are called on one replica than on several: call the same ones on all."
_NOT_FINITE = (
    "It is so on one replica as well, and what is not a number cannot be compared: look for a "
    "division by 0, a logarithm or root of what is not positive, labels that are no class, or a "
    "learning rate that is too large."
)
_RANDOM = (
    "The layer draws other random numbers on other replicas, which is sound but not "
    "comparable. mnist_lib.Dropout draws the rows of one mask: put it in the place of Keras's, "
    "or before a layer that has a dropout of its own."
)
_BATCH_NORM = (
    "It normalises the rows of each replica by themselves; make it with synchronized=True. "
    "mnist_lib.parity.synchronize.synchronize_batch_norm(model) returns a copy of a model in "
    "which all are."
)


def of(stage: str, operation: keras.Operation | None, *, not_finite: bool) -> tuple[str, str]:
    """Returns the stage that a difference belongs to, and the advice.

    Args:
      stage: where it was seen, one of `STAGES`.
      operation: the layer whose output it is; None if it is something else.
      not_finite: neither of what was compared is finite.
    """
    if not_finite:
        return stage, _NOT_FINITE
    if stage != "forward" or not isinstance(operation, keras.layers.Layer):
        return stage, _ADVICE[stage]
    if isinstance(operation, keras.layers.BatchNormalization):
        return "state", _BATCH_NORM
    generators = keras_internals.seed_generators(operation)
    if generators:
        return stage, _RANDOM
    # Statistics of the batch: of the rows of one replica.
    if operation.non_trainable_variables:
        return "state", _ADVICE["state"]
    return stage, _ADVICE[stage]
