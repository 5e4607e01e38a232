"""The multi-layer perceptron, the lecture's "Softmax network"."""

from __future__ import annotations

import keras

from mnist_lib.models import layers


def build_mlp(
    *,
    activation: str = "relu",
    dropout: float = 0.2,
    num_classes: int = 10,
    seed: int = 0,
    image_shape: layers.ImageShape = layers.MNIST_SHAPE,
) -> keras.Model:
    """Builds 784-512-512-10, 669,706 parameters, dropout after each hidden layer."""
    plan = layers.LayerPlan(seed)
    image, x = layers.image_input(image_shape)
    x = keras.layers.Flatten(name="flatten")(x)
    for units in (512, 512):
        x = layers.dense(x, units, activation, plan)
        x = layers.dropout(x, dropout, plan)
    return keras.Model(image, layers.logits(x, num_classes, plan), name="mlp")
