"""What the page of a network has to know of a Keras model: layers as JSON, weights as numbers.

The kinds of layers, and what each has beside its kind, are those of `pages/layers.js`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mnist_lib import errors
from mnist_lib.inspection.figures import layer_outputs
from mnist_lib.models import activations, layers

_ACTIVATIONS = ("relu", "leaky_relu", "elu", "sigmoid", "tanh")
_KERAS_SLOPES = {"leaky_relu": 0.2, "elu": 1.0}  # of those functions, where none is said


def describe(model: keras.Model) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Returns what a page needs to compute what a model computes.

    Args:
      model: functional, images `[N, H, W, C]` to logits `[N, classes]`.

    Returns:
      The layers in their order, the input first, as JSON takes them: `name`, `kind`, `inputs`
      (names of layers), `shape` of one example's output, the options of the kind, and in
      `weights` where each array begins and how long it is; and all weights, float32 `[count]`,
      in Keras's layout.

    Raises:
      ConfigError: a layer, or an option of one, that the page does not know.
    """
    layer_outputs.image_shape(model)
    arrays: list[np.ndarray] = []
    source: dict[int, str] = {}
    described: list[dict[str, Any]] = []
    for layer in model.layers:
        (output,) = layer_outputs.tensors_of(model, layer, "output")
        described.append(_described(layer, output, source, arrays))
        source[id(output)] = layer.name
    if source.get(id(model.outputs[0])) != described[-1]["name"]:
        raise errors.ConfigError(
            "model", f"the output of {model.name} is not that of its last layer"
        )
    return described, np.concatenate([*arrays, np.zeros(0, np.float32)])


def _described(
    layer: keras.layers.Layer,
    output: keras.KerasTensor,
    source: dict[int, str],
    arrays: list[np.ndarray],
) -> dict[str, Any]:
    """Returns the description of one layer; its weights are added to `arrays`."""
    entry: dict[str, Any] = {
        "name": layer.name,
        "inputs": [],
        "shape": [int(side) for side in output.shape[1:]],
    }
    if isinstance(layer, keras.layers.InputLayer):
        return {**entry, "kind": "input"}
    if type(layer) not in _KINDS:
        raise _refused(layer, f"a {type(layer).__name__}")
    if getattr(layer, "data_format", None) == "channels_first":
        raise _refused(layer, "of channels_first")
    for tensor in tf.nest.flatten(layer.input):
        if id(tensor) not in source:
            raise _refused(layer, "fed by a layer that is used more than once")
        entry["inputs"].append(source[id(tensor)])
    entry |= _KINDS[type(layer)](layer)
    if hasattr(layer, "activation"):
        entry |= _activation(layer, layer.activation)
    weights = entry.pop("weights", {})
    entry["weights"] = {}
    for name, weight in weights.items():
        values = np.asarray(keras.ops.convert_to_numpy(weight), np.float32).reshape(-1)
        start = sum(map(len, arrays))
        entry["weights"][name] = {"start": start, "length": len(values)}
        arrays.append(values)
    return entry


def _refused(layer: keras.layers.Layer, what: str) -> errors.ConfigError:
    return errors.ConfigError(
        "model", f"the layer {layer.name} is {what}, which the html page cannot compute"
    )


def _activation(layer: keras.layers.Layer, function: Callable) -> dict[str, Any]:
    name = keras.activations.serialize(function)
    if name == "linear":
        return {}
    if name not in _ACTIVATIONS:
        raise _refused(layer, f"of activation {name}")
    return {"activation": name, "slope": _KERAS_SLOPES.get(name, 0.0)}


def _affine_weights(layer: keras.layers.Dense | keras.layers.Conv2D) -> dict[str, Any]:
    return {"kernel": layer.kernel} | ({"bias": layer.bias} if layer.use_bias else {})


def _dense(layer: keras.layers.Dense) -> dict[str, Any]:
    return {"kind": "dense", "weights": _affine_weights(layer)}


def _convolution(layer: keras.layers.Conv2D) -> dict[str, Any]:
    if tuple(layer.dilation_rate) != (1, 1) or layer.groups != 1:
        raise _refused(layer, "dilated or in groups")
    return {
        "kind": "convolution",
        "size": list(layer.kernel_size),
        "strides": list(layer.strides),
        "padding": layer.padding,
        "weights": _affine_weights(layer),
    }


def _pooling(kind: str) -> Callable[[Any], dict[str, Any]]:
    return lambda layer: {
        "kind": kind,
        "size": list(layer.pool_size),
        "strides": list(layer.strides),
        "padding": layer.padding,
    }


def _batch_normalization(layer: keras.layers.BatchNormalization) -> dict[str, Any]:
    """A factor and an addend for each channel, computed in float64; no layer before is changed."""
    if layer.axis not in (-1, len(layer.input.shape) - 1):
        raise _refused(layer, f"a batch normalisation over axis {layer.axis}")
    mean, variance = (
        np.asarray(keras.ops.convert_to_numpy(weight), np.float64)
        for weight in (layer.moving_mean, layer.moving_variance)
    )
    gamma = np.asarray(keras.ops.convert_to_numpy(layer.gamma)) if layer.scale else 1.0
    beta = np.asarray(keras.ops.convert_to_numpy(layer.beta)) if layer.center else 0.0
    factor = gamma / np.sqrt(variance + layer.epsilon)
    weights = {"factor": factor, "addend": beta - mean * factor}
    return {"kind": "batch_normalization", "weights": weights}


def _rescaling(layer: keras.layers.Rescaling) -> dict[str, Any]:
    if np.ndim(layer.scale) or np.ndim(layer.offset):
        raise _refused(layer, "a rescaling of each channel by itself")
    return {"kind": "rescaling", "scale": float(layer.scale), "offset": float(layer.offset)}


def _cropping(layer: keras.layers.Cropping2D) -> dict[str, Any]:
    return {"kind": "crop", "before": [places for places, _ in layer.cropping]}


def _zero_padding(layer: keras.layers.ZeroPadding2D) -> dict[str, Any]:
    return {"kind": "pad", "before": [places for places, _ in layer.padding]}


def _leaky_relu(layer: keras.layers.LeakyReLU) -> dict[str, Any]:
    slope = float(layer.negative_slope)
    return {"kind": "activation", "activation": "leaky_relu", "slope": slope}


def _relu(layer: keras.layers.ReLU) -> dict[str, Any]:
    if layer.max_value is not None or layer.threshold:
        raise _refused(layer, "a ReLU with a largest value or a threshold")
    slope = float(layer.negative_slope)
    return {"kind": "activation", "activation": "leaky_relu", "slope": slope}


def _elu(layer: keras.layers.ELU) -> dict[str, Any]:
    return {"kind": "activation", "activation": "elu", "slope": float(layer.alpha)}


def _maxout(layer: activations.Maxout) -> dict[str, Any]:
    return {"kind": "maxout", "pieces": layer.pieces}


def _concatenate(layer: keras.layers.Concatenate) -> dict[str, Any]:
    if layer.axis not in (-1, len(layer.output.shape) - 1):
        raise _refused(layer, f"a concatenation along axis {layer.axis}")
    return {"kind": "concatenate"}


def _plain(kind: str) -> Callable[[Any], dict[str, Any]]:
    return lambda layer: {"kind": kind}


_KINDS: dict[type, Callable[[Any], dict[str, Any]]] = {
    keras.layers.Dense: _dense,
    keras.layers.Conv2D: _convolution,
    keras.layers.MaxPooling2D: _pooling("max_pooling"),
    keras.layers.AveragePooling2D: _pooling("average_pooling"),
    keras.layers.GlobalAveragePooling2D: _plain("global_average"),
    keras.layers.BatchNormalization: _batch_normalization,
    layers.FusedBatchNormalization: _batch_normalization,
    keras.layers.Rescaling: _rescaling,
    keras.layers.Cropping2D: _cropping,
    keras.layers.ZeroPadding2D: _zero_padding,
    keras.layers.Flatten: _plain("reshape"),
    keras.layers.Reshape: _plain("reshape"),
    keras.layers.Activation: _plain("activation"),
    keras.layers.LeakyReLU: _leaky_relu,
    keras.layers.ReLU: _relu,
    keras.layers.ELU: _elu,
    activations.Maxout: _maxout,
    layers.Dropout: _plain("dropout"),
    keras.layers.Dropout: _plain("dropout"),
    keras.layers.Add: _plain("add"),
    keras.layers.Concatenate: _concatenate,
}
