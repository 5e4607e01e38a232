"""Refuses models and optimizers that would not be right as they are trained."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import keras
import tensorflow as tf

from mnist_lib import errors
from mnist_lib.training import keras_internals

_logger = logging.getLogger(__name__)

_PROBABILITIES = (keras.activations.softmax, keras.activations.sigmoid)


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
      ConfigError: model or optimizer is not of Keras 3 on TensorFlow; the optimizer
        accumulates gradients, whose steps are not batches; a layer would normalise by the
        statistics of less than the global batch; XLA cannot compile the synchronisation of
        one.
    """
    _check_kinds(model, optimizer)
    if any(one.gradient_accumulation_steps for one in _all_optimizers(optimizer)):
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


def prepare(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    strategy: tf.distribute.Strategy,
    accumulation_steps: int,
    *,
    jit_compile: bool,
) -> None:
    """Checks model and optimizer and builds the optimizer's variables.

    Raises:
      ConfigError: as `check`, or one of them was not made under the strategy.
    """
    num_replicas = strategy.num_replicas_in_sync
    check(model, optimizer, num_replicas, accumulation_steps, jit_compile=jit_compile)
    with strategy.scope():
        check_scope(model.variables, "model")
        optimizer.build(model.trainable_variables)
        check_scope(optimizer.variables, "optimizer")


def _all_optimizers(optimizer: keras.optimizers.Optimizer) -> list[keras.optimizers.Optimizer]:
    return [optimizer, *keras_internals.updating_optimizers(optimizer)]


def _check_kinds(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
    if keras.config.backend() != "tensorflow":
        raise errors.ConfigError(
            "KERAS_BACKEND",
            f"is {keras.config.backend()}; set it to tensorflow before Keras is imported",
        )
    for name, thing, kind in (
        ("model", model, keras.Model),
        ("optimizer", optimizer, keras.optimizers.Optimizer),
    ):
        if not isinstance(thing, kind):
            raise errors.ConfigError(
                name,
                f"{type(thing).__module__}.{type(thing).__name__} is not of Keras 3; make it "
                "with `import keras` rather than tf_keras, or a legacy tf.keras",
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


def warn_of_probabilities(model: keras.Model) -> None:
    """Warns where a model seems to return probabilities rather than logits."""
    last = model.layers[-1] if model.layers else model
    is_softmax = isinstance(last, keras.layers.Softmax)
    activation = keras.activations.softmax if is_softmax else getattr(last, "activation", None)
    if activation in _PROBABILITIES:
        _logger.warning(
            "%s ends in %s, and the loss takes logits: it would apply softmax twice. Leave the "
            "last activation out.",
            model.name,
            keras.activations.serialize(activation),
        )


def trainable_flags(model: keras.Model) -> tuple[bool, ...]:
    """Returns what is frozen, layer by layer."""
    return tuple(layer.trainable for layer in keras_internals.flat_layers(model))


def check_flags(model: keras.Model, traced: tuple[bool, ...]) -> None:
    """Checks that nothing was frozen or unfrozen since the step was traced.

    Raises:
      ConfigError: it was; the change would have no effect.
    """
    if trainable_flags(model) != traced:
        raise errors.ConfigError(
            "model",
            "a layer was frozen or unfrozen after the trainer had traced its step, which would "
            "have no effect; make a new Trainer, with a new optimizer",
        )


def check_state_updates(updated: Mapping[str, keras.Variable], accumulation_steps: int) -> None:
    """Refuses layers that would update their state once for every part of a batch.

    Raises:
      ConfigError: names the variable.
    """
    if accumulation_steps > 1 and updated:
        raise errors.ConfigError(
            "accumulation_steps",
            f"{next(iter(updated))} would be updated in each of {accumulation_steps} parts of the "
            "batch rather than once; use 1, or a model without that layer",
        )


def warn_of_drift(updated: dict[str, keras.Variable], strategy: tf.distribute.Strategy) -> None:
    """Warns once of each variable whose copies on the replicas differ."""
    for path, variable in list(updated.items()):
        first, *others = strategy.experimental_local_results(variable.value)
        if any(not tf.reduce_all(tf.equal(first, other)) for other in others):
            del updated[path]
            _logger.warning(
                "%s has other values on other replicas: the layer keeps statistics of its own "
                "rows. Evaluation and checkpoints use those of the first replica; reduce them "
                "over the replicas.",
                path,
            )
