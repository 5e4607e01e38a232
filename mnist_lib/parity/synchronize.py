"""Batch normalisation over the global batch, for models that were made without it.

    model = synchronize_batch_norm(model)

The models of `keras.applications` have no argument for it.
"""

from __future__ import annotations

import keras

from mnist_lib import errors
from mnist_lib.training import keras_internals


def synchronize_batch_norm(model: keras.Model) -> keras.Model:
    """Returns a copy of a model whose batch normalisation sees the global batch.

    Call it under the strategy's scope, where the copy's variables are made.

    Args:
      model: a functional or sequential model, which stays as it is. It may hold other such
        models.

    Returns:
      A model of the same layers and weights, in which every `BatchNormalization` has
      `synchronized=True`. What shares a layer in `model` shares its copy.

    Raises:
      ConfigError: the model is subclassed or not built, or a layer that is not a model of
        these kinds holds batch normalisation, which cannot be made anew from outside.
    """
    if not getattr(model, "inputs", None):
        raise errors.ConfigError(
            "model",
            f"{model.name} is subclassed or not built, so that its layers cannot be copied; make "
            "its BatchNormalization with synchronized=True, or give it an Input",
        )
    copy = keras.models.clone_model(model, clone_function=_copied, recursive=True)
    copy.set_weights(model.get_weights())
    for ours, theirs in zip(
        keras_internals.flat_layers(copy), keras_internals.flat_layers(model), strict=True
    ):
        ours.trainable = theirs.trainable
    return copy


def _copied(layer: keras.layers.Layer) -> keras.layers.Layer:
    config = layer.get_config()
    if isinstance(layer, keras.layers.BatchNormalization):
        config["synchronized"] = True
    copy = type(layer).from_config(config)
    for inner in keras_internals.flat_layers(layer):
        if inner is not layer and isinstance(inner, keras.layers.BatchNormalization):
            raise errors.ConfigError(
                "model",
                f"{inner.name} is inside {layer.name}, a {type(layer).__name__}, which makes it by "
                "itself; make it there with synchronized=True",
            )
    return copy
