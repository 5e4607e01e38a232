"""A model of this library's layers as one of Keras's alone, with the same answers."""

from __future__ import annotations

from collections.abc import Iterator

import keras

from mnist_lib import errors
from mnist_lib.models import activations, layers


def with_plain_layers(model: keras.Model, *, input_dtype: str | None = None) -> keras.Model:
    """Returns a copy that a process without this library can load from a file.

    `Dropout` becomes Keras's, and `Maxout` a maximum over one axis of a reshaped input.

    Args:
      model: a functional model.
      input_dtype: of the images that the copy takes; None: as the model.

    Raises:
      ConfigError: it is no functional model, or has something else that is not Keras's, or
        code of its own; the message names it.
    """
    if not isinstance(model, keras.Sequential) and not hasattr(model, "operations"):
        raise errors.ConfigError(
            "model",
            f"{model.name} is a {type(model).__name__} with code of its own, which no layers of "
            "Keras stand for; choose format saved_model",
        )
    image = keras.Input(
        model.input_shape[1:], dtype=input_dtype or model.inputs[0].dtype, name="images"
    )
    plain = keras.models.clone_model(
        model,
        input_tensors=keras.tree.map_structure(lambda _: image, model.input),
        clone_function=_plain_layer,
        recursive=True,
    )
    foreign = sorted(set(_foreign(keras.saving.serialize_keras_object(plain))))
    if foreign:
        raise errors.ConfigError(
            "model",
            f"{model.name} has {', '.join(foreign)}, for which Keras has nothing; choose format "
            "saved_model",
        )
    plain.set_weights(model.get_weights())
    return plain


def _plain_layer(layer: keras.Layer) -> keras.Layer:
    if isinstance(layer, layers.Dropout):
        return keras.layers.Dropout(layer.rate, seed=layer.seed, name=layer.name)
    if isinstance(layer, activations.Maxout):
        return _plain_maxout(layer)
    return layer.__class__.from_config(layer.get_config())


def _plain_maxout(layer: activations.Maxout) -> keras.Layer:
    *others, last = layer.output.shape[1:]
    image = keras.Input(layer.input.shape[1:])
    # One axis for all outputs, and one for the pieces that compete for each.
    flat = keras.layers.Reshape((-1, layer.pieces))(image)
    largest = keras.layers.GlobalMaxPooling1D(data_format="channels_first")(flat)
    return keras.Model(image, keras.layers.Reshape((*others, last))(largest), name=layer.name)


def _foreign(config: object) -> Iterator[str]:
    """Yields the names of the classes and functions in a configuration that are not Keras's."""
    if isinstance(config, dict):
        module, name = config.get("module"), config.get("class_name")
        is_plain = str(module or "keras").startswith(("keras.", "keras", "builtins"))
        if name is not None and (
            config.get("registered_name") not in (None, name) or not is_plain or name == "Lambda"
        ):
            yield str(name)
        for value in config.values():
            yield from _foreign(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from _foreign(value)
