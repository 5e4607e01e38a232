"""Refuses models and optimizers that would not be right on several replicas."""

from __future__ import annotations

import keras
import tensorflow as tf

from mnist_lib import errors


def check_optimizer(optimizer: keras.optimizers.Optimizer) -> None:
    """Refuses gradient accumulation by the optimizer, whose steps are not batches.

    Raises:
      ConfigError: the optimizer accumulates gradients.
    """
    if optimizer.gradient_accumulation_steps:
        raise errors.ConfigError(
            "optimizer",
            "gradient_accumulation_steps counts parts of a batch as steps; leave it out and "
            "pass accumulation_steps to Trainer",
        )


def check_batch_normalization(
    model: keras.Model, num_replicas: int, accumulation_steps: int
) -> None:
    """Refuses batch normalisation over less than the global batch.

    Raises:
      ConfigError: a layer would normalise by the statistics of a part.
    """
    for layer in model._flatten_layers():
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
