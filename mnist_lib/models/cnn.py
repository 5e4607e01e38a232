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
    plan = layers.LayerPlan(seed)
    image, x = layers.image_input(image_shape)
    x = layers.conv(x, 32, 3, activation, plan)
    x = layers.conv(x, 64, 3, activation, plan)
    x = layers.pool(x, pooling, plan)
    x = layers.dropout(x, dropout / 2, plan)
    x = keras.layers.Flatten(name="flatten")(x)
    x = layers.dense(x, 128, activation, plan)
    x = layers.dropout(x, dropout, plan)
    return keras.Model(image, layers.logits(x, num_classes, plan), name="cnn")
