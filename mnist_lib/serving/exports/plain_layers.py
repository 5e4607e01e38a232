"""A model of this library's layers as one of Keras's alone, with the same answers."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator

import keras

from mnist_lib import errors
from mnist_lib.models import activations, layers

_OURS = (layers.Dropout, layers.FusedBatchNormalization, activations.Maxout)


def in_float32(model: keras.Model, instead_of: Collection[str]) -> keras.Model:
    """Returns a copy that computes in float32 if a layer computes in one of some dtypes.

    Args:
      model: returned as it is if none of its layers does.
      instead_of: `"bfloat16"`, `"float16"`.

    Raises:
      ConfigError: as for `with_plain_layers`.
    """
    if any(layer.compute_dtype in instead_of for layer in layers_within(model)):
        return with_plain_layers(model, dtype="float32")
    return model


def layers_within(model: keras.Model) -> Iterator[keras.Layer]:
    """Yields the layers of a model and, in the place of models within it, theirs."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from layers_within(layer)
        else:
            yield layer


def with_plain_layers(
    model: keras.Model, *, input_dtype: str | None = None, dtype: str | None = None
) -> keras.Model:
    """Returns a copy that a process without this library can load from a file.

    `Dropout` and `FusedBatchNormalization` become Keras's, and `Maxout` a maximum over one
    axis of a reshaped input.

    Args:
      model: a functional model.
      input_dtype: of the images that the copy takes; None: as the model.
      dtype: in which all layers of the copy compute; None: as those of the model.

    Raises:
      ConfigError: it is no functional model, or has something else that is not Keras's, or
        code of its own; the message names it.
    """
    if not _is_of_keras(model):
        raise errors.ConfigError(
            "model",
            f"{model.name} is a {type(model).__name__} with code of its own, which no layers of "
            "Keras stand for; choose format saved_model",
        )
    foreign = sorted(set(_foreign_parts(model)))
    if foreign:
        raise errors.ConfigError(
            "model",
            f"{model.name} has {', '.join(foreign)}, for which Keras has nothing; choose format "
            "saved_model",
        )
    image = keras.Input(
        model.input_shape[1:], dtype=input_dtype or model.inputs[0].dtype, name="images"
    )
    is_sequential = isinstance(model, keras.Sequential)
    plain = keras.models.clone_model(
        model,
        input_tensors=[image]
        if is_sequential
        else keras.tree.map_structure(lambda _: image, model.input),
        clone_function=functools.partial(_plain_layer, dtype=dtype),
        recursive=True,
    )
    plain.set_weights(model.get_weights())
    return plain


def _is_of_keras(layer: keras.Operation) -> bool:
    """Whether Keras itself has its class: a model is then no more than its layers."""
    return type(layer).__module__.split(".")[0] == "keras"


def _foreign_parts(model: keras.Model) -> Iterator[str]:
    """Yields the names of what is neither Keras's nor ours in a model and in those within it."""
    operations: list[keras.Operation] = getattr(model, "operations", model.layers)
    for layer in operations:
        if isinstance(layer, keras.Model) and _is_of_keras(layer):
            yield from _foreign_parts(layer)
        elif isinstance(layer, keras.layers.Lambda) or not _is_of_keras(layer):
            if type(layer) not in _OURS:
                yield type(layer).__name__
        else:
            yield from _foreign_names(keras.saving.serialize_keras_object(layer))


def _plain_layer(layer: keras.Operation, dtype: str | None) -> keras.Operation:
    if not isinstance(layer, keras.Layer):  # such as a logarithm
        return type(layer).from_config(layer.get_config())
    policy = dtype or layer.dtype_policy
    if isinstance(layer, layers.Dropout):
        return keras.layers.Dropout(layer.rate, seed=layer.seed, name=layer.name, dtype=policy)
    if isinstance(layer, activations.Maxout):
        return _plain_maxout(layer, policy)
    if isinstance(layer, layers.FusedBatchNormalization):
        return keras.layers.BatchNormalization.from_config(layer.get_config() | {"dtype": policy})
    return layer.__class__.from_config(layer.get_config() | {"dtype": policy})


def _plain_maxout(layer: activations.Maxout, policy: str | keras.DTypePolicy) -> keras.Layer:
    image = keras.Input(layer.input.shape[1:])
    # One axis for all outputs, and one for the pieces that compete for each.
    flat = keras.layers.Reshape((-1, layer.pieces), dtype=policy)(image)
    largest = keras.layers.GlobalMaxPooling1D("channels_first", dtype=policy)(flat)
    shaped = keras.layers.Reshape(layer.output.shape[1:], dtype=policy)(largest)
    return keras.Model(image, shaped, name=layer.name)


def _foreign_names(config: object) -> Iterator[str]:
    """Yields the names of the classes and functions in a configuration that are not Keras's."""
    if isinstance(config, dict):
        name, module = config.get("class_name"), str(config.get("module"))
        if name == "function":  # Keras's own are but a name
            yield str(config["config"])
        elif name is not None and module.split(".")[0] not in ("keras", "builtins"):
            yield str(name)
        for value in config.values():
            yield from _foreign_names(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from _foreign_names(value)
