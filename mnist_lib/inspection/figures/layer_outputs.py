"""What the layers of a functional model are, and what each makes of an image."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mnist_lib import errors


@dataclasses.dataclass(frozen=True, eq=False)
class LayerStep:
    """What one layer makes of an image.

    Attributes:
      title: kind of layer, its size and stride, the shape of what comes out.
      values: floats, `[h, w, channels]` or `[units]`.
      dropped: bool of that shape: what dropout has set to zero.
    """

    title: str
    values: np.ndarray
    dropped: np.ndarray


def image_shape(model: keras.Model) -> tuple[int, ...]:
    """Returns height, width and channels of the images that a model takes.

    Raises:
      ConfigError: it takes something else.
    """
    shapes = [tuple(tensor.shape[1:]) for tensor in model.inputs or ()]
    if len(shapes) != 1 or len(shapes[0]) != 3 or None in shapes[0]:
        raise errors.ConfigError("model", f"{model.name} is not a functional model of images")
    return shapes[0]


def tensors_of(model: keras.Model, layer: keras.layers.Layer, side: str) -> list[keras.KerasTensor]:
    """Returns the one tensor that goes into a layer, or that comes out, in a list.

    Args:
      model: has the layer.
      layer: one of its layers; if it is used several times, its first use counts.
      side: `"input"` or `"output"`.

    Raises:
      ConfigError: there are several.
    """
    tensors = tf.nest.flatten(getattr(layer, side))
    if len(tensors) != 1:
        raise errors.ConfigError("model", f"{layer.name} of {model.name} has several {side}s")
    return tensors


def split_at_floats(
    model: keras.Model,
) -> tuple[Callable[[Any], tf.Tensor], Callable[[tf.Tensor], tf.Tensor]]:
    """Divides a model where its image first is of floats, by which a gradient can be taken.

    Args:
      model: a functional model of images to logits `[N, C]`.

    Returns:
      Functions: images `[N, H, W, C]` to the floats, of the same shape (of a model that takes
      floats the images themselves), and those to logits; as in evaluation.

    Raises:
      ConfigError: the model takes no images, or its first floats are none.
    """
    image_shape(model)
    if keras.backend.is_float_dtype(model.inputs[0].dtype):
        return tf.convert_to_tensor, functools.partial(model, training=False)
    first = next(
        tensor
        for layer in model.layers
        for tensor in tensors_of(model, layer, "output")
        if keras.backend.is_float_dtype(tensor.dtype)
    )
    if len(first.shape) != 4:
        raise errors.ConfigError("model", f"{model.name} makes no image of its input")
    parts = keras.Model(model.inputs[0], first), keras.Model(first, model.outputs[0])
    return functools.partial(parts[0], training=False), functools.partial(parts[1], training=False)


def kind(layer: keras.layers.Layer) -> str:
    """Returns what a layer is, in a few words: its class, and the activation it applies."""
    if isinstance(layer, keras.layers.InputLayer):
        return f"{layer.dtype} input"
    name = type(layer).__name__
    if isinstance(layer, keras.layers.Activation):
        return f"{name} {layer.activation.__name__}"
    return name


def shape_text(model: keras.Model, layer: keras.layers.Layer) -> str:
    """Returns the shape of a layer's output, such as `"N x 24 x 24 x 64"`."""
    (output,) = tensors_of(model, layer, "output")
    return " x ".join(["N", *map(str, output.shape[1:])])


def connections(model: keras.Model) -> list[tuple[str, str]]:
    """Returns which layer's output goes into which, as pairs of names, in the model's order."""
    source = {
        id(tensor): layer.name for layer in model.layers for tensor in tf.nest.flatten(layer.output)
    }
    return [
        (source[id(tensor)], layer.name)
        for layer in model.layers
        if not isinstance(layer, keras.layers.InputLayer)
        for tensor in tf.nest.flatten(layer.input)
        if id(tensor) in source
    ]


def through_layers(model: keras.Model, image: np.ndarray) -> list[LayerStep]:
    """Shows one image to a model and returns what each layer makes of it.

    Dropout layers drop, as in training, what comes in, and do so for this picture only: the
    layers after them get all of it. The state that their masks come from is left as it was.

    Args:
      model: a functional model of images `[N, H, W, C]`.
      image: one of them, `[H, W, C]`.

    Raises:
      ConfigError: the model takes no images.
    """
    image_shape(model)
    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.Rescaling)]
    tensors = [tensors_of(model, layer, "output")[0] for layer in layers]
    outputs = keras.Model(model.inputs[0], tensors)(image[np.newaxis], training=False)
    steps = []
    for layer, output in zip(layers, outputs, strict=True):
        values = np.asarray(keras.ops.convert_to_numpy(output), np.float32)[0]
        dropped = np.zeros(values.shape, bool)
        if _is_dropout(layer):
            values, dropped = _dropped(layer, output)
        steps.append(LayerStep(_title(layer, values.shape), values, dropped))
    return steps


def _is_dropout(layer: keras.layers.Layer) -> bool:
    """Whether a layer is the library's or Keras's dropout."""
    return hasattr(layer, "rate") and "Dropout" in type(layer).__name__


def _dropped(layer: keras.layers.Layer, values: tf.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Returns values after dropout in training, and which are dropped."""
    before = [(variable, variable.numpy()) for variable in layer.variables]
    kept = layer(tf.ones_like(values), training=True)
    for variable, value in before:
        variable.assign(value)
    mask = np.asarray(keras.ops.convert_to_numpy(kept), np.float32)[0]
    return np.asarray(keras.ops.convert_to_numpy(values), np.float32)[0] * mask, mask == 0


def _title(layer: keras.layers.Layer, shape: tuple[int, ...]) -> str:
    """Returns two lines: what the layer is, and the shape of what comes out."""
    words = [kind(layer)]
    size = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    if size is not None:
        words.append(f"k = {_by(size)}, stride {_by(layer.strides)}")
    if _is_dropout(layer):
        words.append(f"rate {layer.rate:g} (orange: dropped)")
    return f"{' '.join(words)}\n{_by(shape)}"


def _by(numbers: int | tuple[int, ...]) -> str:
    """Returns `"3"` for (3, 3), and `"2x3"` for (2, 3)."""
    numbers = (numbers,) if isinstance(numbers, int) else tuple(numbers)
    if len(numbers) == 2 and len(set(numbers)) == 1:
        numbers = numbers[:1]
    return "x".join(map(str, itertools.chain(numbers)))
