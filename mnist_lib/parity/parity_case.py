"""What is trained for the parity check: functions that build it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from mnist_lib import errors
from mnist_lib.training import keras_internals, losses, replica_step


@dataclasses.dataclass(frozen=True)
class ParityCase:
    """What to train, as functions that build it; see `check.check_replica_parity`."""

    build_model: Callable[[], keras.Model]
    build_optimizer: Callable[[], keras.optimizers.Optimizer]
    build_metrics: Callable[[], Sequence[keras.metrics.Metric]]
    make_batches: Callable[[keras.Model, int], tf.data.Dataset]
    loss: str | losses.PerExampleLoss
    reduce_gradients: replica_step.ReduceGradients | None
    batch_size: int


def check_own(variables, function: str, strategy: tf.distribute.Strategy) -> None:
    """Checks that a function made its variables when it was called.

    Args:
      variables: what it returned, or what belongs to that.
      function: its name, for the error.
      strategy: the strategy it was called under.

    Raises:
      ConfigError: one was there before.
    """
    with strategy.scope():
        for variable in variables:
            if not strategy.extended.variable_created_in_scope(variable.value):
                raise errors.ConfigError(
                    function,
                    f"{variable.path} was there before the call; make everything that has "
                    f"variables inside {function}, which is called under each strategy",
                )


def check_parts(model: keras.Model, accumulation_steps: int) -> None:
    """Refuses batch normalisation of less than a replica's rows, as `Trainer` does.

    Raises:
      ConfigError: the rows are seen in parts, and a layer normalises each by itself.
    """
    for layer in keras_internals.flat_layers(model):
        is_norm = isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
        if is_norm and accumulation_steps > 1:
            raise errors.ConfigError(
                "accumulation_steps",
                f"{layer.path} would normalise each of {accumulation_steps} parts of the batch by "
                "itself, which is another model; use 1, or a model without batch normalisation",
            )
