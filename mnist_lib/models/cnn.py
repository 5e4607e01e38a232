"""The lecture's convolutional network."""

from __future__ import annotations

import keras

from mnist_lib.models import layers


def build_cnn(
    *,
    activation: str = "relu",
    pooling: str = "max",
    dropout: float = 0.5,
    num_classes: int = 10,
    seed: int = 0,
    image_shape: layers.ImageShape = layers.MNIST_SHAPE,
) -> keras.Model:
    """Builds conv 32 - conv 64 - pool - dropout - 128 - dropout - 10.

    1,199,882 parameters. `dropout` is the rate before the output; the rate after
    pooling is half of it (0.25 and 0.5 by default).
    """
    seeds = layers.layer_seeds(seed)
    image, x = layers.image_input(image_shape)
    x = layers.conv(x, 32, 3, activation, seeds)
    x = layers.conv(x, 64, 3, activation, seeds)
    x = layers.pool(x, pooling)
    x = layers.Dropout(dropout / 2, next(seeds))(x)
    x = keras.layers.Flatten()(x)
    x = layers.dense(x, 128, activation, seeds)
    x = layers.Dropout(dropout, next(seeds))(x)
    return keras.Model(image, layers.logits(x, num_classes, seeds), name="cnn")
