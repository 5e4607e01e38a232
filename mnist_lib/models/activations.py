"""Activation functions by name, maxout among them."""

from __future__ import annotations

import keras

MAXOUT_PIECES = 2
LEAKY_RELU_SLOPE = 0.1


@keras.saving.register_keras_serializable(package="mnist_lib")
class Maxout(keras.layers.Layer):
    """The largest of `pieces` affine functions (Goodfellow et al. 2013, section 3).

    The affine functions are the layer before, made `pieces` times as wide.

    Args:
      pieces: how many affine functions compete for one output, at least 2.

    Shapes: `[..., units * pieces]` to `[..., units]`; output u is the maximum of the
    inputs `u * pieces` to `(u + 1) * pieces - 1`.
    """

    def __init__(self, pieces: int = MAXOUT_PIECES, **kwargs):
        super().__init__(**kwargs)
        self.pieces = pieces

    def call(self, x):
        shape = keras.ops.shape(x)
        split = (*shape[:-1], x.shape[-1] // self.pieces, self.pieces)
        return keras.ops.max(keras.ops.reshape(x, split), axis=-1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] // self.pieces)

    def get_config(self) -> dict:
        return {**super().get_config(), "pieces": self.pieces}


def num_pieces(activation: str) -> int:
    """Returns how many times as wide the affine layer before must be."""
    return MAXOUT_PIECES if activation == "maxout" else 1


def activation_layer(activation: str, name: str | None = None) -> keras.layers.Layer:
    """Returns a layer for a name in `choices.NAMES["activation"]`, called `name`."""
    if activation == "maxout":
        return Maxout(name=name)
    if activation == "leaky_relu":
        return keras.layers.LeakyReLU(negative_slope=LEAKY_RELU_SLOPE, name=name)
    return keras.layers.Activation(activation, name=name)
