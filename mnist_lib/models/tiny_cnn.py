"""A network of less than 8,000 parameters."""

from __future__ import annotations

import keras

from mnist_lib.models import layers


def build_tiny_cnn(
    *,
    activation: str = "relu",
    num_classes: int = 10,
    seed: int = 0,
    image_shape: layers.ImageShape = layers.MNIST_SHAPE,
) -> keras.Model:
    """Builds conv 8 - conv 12 - pool - conv 16 - conv 16 - pool - conv 16 - pool - 10.

    7,714 parameters, of which 136 are averages of batch normalisation and not trained.
    All convolutions are 3x3; pooling takes means, so that the last one leaves one value
    for each of the 16 filters (Lin et al. 2014) and the output layer has 170 parameters.
    """
    plan = layers.LayerPlan(seed)
    image, x = layers.image_input(image_shape)
    for filters in (8, 12):
        x = layers.conv(x, filters, 3, activation, plan, batch_norm=True)
    x = layers.pool(x, "average", plan)
    for filters in (16, 16):
        x = layers.conv(x, filters, 3, activation, plan, batch_norm=True)
    x = layers.pool(x, "average", plan)
    x = layers.conv(x, 16, 3, activation, plan, batch_norm=True)
    x = layers.pool(x, "average", plan)
    x = keras.layers.Flatten(name="flatten")(x)
    return keras.Model(image, layers.logits(x, num_classes, plan), name="tiny_cnn")
