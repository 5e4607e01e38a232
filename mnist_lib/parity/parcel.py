"""What goes to another process: functions with all that they refer to."""

from __future__ import annotations

import io

import cloudpickle
import keras
import tensorflow as tf

from mnist_lib.training import keras_internals


def pack(thing: object) -> bytes:
    """Returns a thing as bytes.

    Functions may refer to models, layers, variables and tensors: these are copied with
    their values. A model or layer must have `get_config`, as for `keras.saving`.
    """
    buffer = io.BytesIO()
    _Packer(buffer).dump(thing)
    return buffer.getvalue()


def unpack(packed: bytes):
    """Returns what was packed, by a process of this library."""
    return cloudpickle.loads(packed)


class _Packer(cloudpickle.Pickler):
    def reducer_override(self, obj):
        if isinstance(obj, keras.Variable):
            return _keras_variable, (obj.numpy(), obj.dtype, obj.trainable, obj.name)
        if isinstance(obj, tf.Variable):
            return _tf_variable, (obj.numpy(), obj.dtype.name, obj.trainable)
        if isinstance(obj, keras.layers.Layer):
            weights = obj.get_weights() if obj.built else None
            return _layer, (keras.saving.serialize_keras_object(obj), _classes(obj), weights)
        return super().reducer_override(obj)


def _classes(layer: keras.layers.Layer) -> dict[str, type]:
    """Returns the classes of a layer's layers by the names that its configuration gives them."""
    found = {type(inner) for inner in keras_internals.flat_layers(layer)}
    return {
        name: kind
        for kind in found
        if not kind.__module__.startswith("keras.")
        for name in {keras.saving.get_registered_name(kind), kind.__name__}
    }


def _layer(config: dict, classes: dict[str, type], weights: list | None) -> keras.layers.Layer:
    with keras.saving.custom_object_scope(classes):
        layer = keras.saving.deserialize_keras_object(config, safe_mode=False)
    if weights is not None:
        layer.set_weights(weights)
    return layer


def _keras_variable(value, dtype: str, trainable: bool, name: str) -> keras.Variable:
    return keras.Variable(value, dtype=dtype, trainable=trainable, name=name)


def _tf_variable(value, dtype: str, trainable: bool) -> tf.Variable:
    return tf.Variable(value, dtype=dtype, trainable=trainable)
