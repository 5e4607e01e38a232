"""Refuses models and optimizers that would not be right as they are trained."""

from __future__ import annotations

import keras
import tensorflow as tf

from mnist_lib import errors
from mnist_lib.training import keras_internals


def check(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    num_replicas: int,
    accumulation_steps: int,
    *,
    jit_compile: bool,
) -> None:
    """Refuses what would be another computation on several replicas, in parts or by XLA.

    Raises:
      ConfigError: the optimizer accumulates gradients, whose steps are not batches; a
        layer would normalise by the statistics of less than the global batch; XLA cannot
        compile the synchronisation of one.
    """
    if keras_internals.updating_optimizer(optimizer).gradient_accumulation_steps:
        raise errors.ConfigError(
            "optimizer",
            "gradient_accumulation_steps counts parts of a batch as steps; leave it out and "
            "pass accumulation_steps to Trainer",
        )
    for layer in keras_internals.flat_layers(model):
        if not isinstance(layer, keras.layers.BatchNormalization) or not layer.trainable:
            continue
        if accumulation_steps > 1:
            raise errors.ConfigError(
                "accumulation_steps",
                f"{layer.path} would normalise each of {accumulation_steps} parts of the batch by "
                "itself, which is another model; use 1, or a model without batch normalisation",
            )
        if num_replicas > 1 and not layer.synchronized:
            raise errors.ConfigError(
                "model",
                f"{layer.path} normalises the rows of each of {num_replicas} replicas by "
                "themselves, and their averages drift apart; make it with synchronized=True",
            )
        if num_replicas > 1 and jit_compile:
            raise errors.ConfigError(
                "jit_compile",
                f"XLA cannot compile {layer.path}, which is synchronised over {num_replicas} "
                "replicas; leave it out, or use one replica",
            )


def check_scope(variables, owner: str) -> None:
    """Checks that variables were made under the strategy that is in scope.

    Raises:
      ConfigError: one was not.
    """
    for variable in variables:
        if not tf.distribute.get_strategy().extended.variable_created_in_scope(variable.value):
            raise errors.ConfigError(
                owner,
                f"{variable.path} was not made under the strategy; make the {owner} inside "
                "`with strategy.scope():`",
            )
