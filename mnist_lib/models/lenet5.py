"""LeNet-5 (LeCun et al. 1998, section II.B), in the form used today."""

from __future__ import annotations

import keras

from mnist_lib.models import layers


def build_lenet5(
    *,
    activation: str = "relu",
    pooling: str = "max",
    dropout: float = 0.0,
    num_classes: int = 10,
    seed: int = 0,
    image_shape: layers.ImageShape = layers.MNIST_SHAPE,
) -> keras.Model:
    """Builds conv 6 - pool - conv 16 - pool - 120 - 84 - 10, 61,706 parameters.

    The first convolution pads the 28x28 image as the paper's 32x32 input does. As
    is usual today, C3 is fully connected to S2, pooling has no coefficients and
    the output is affine. `activation="tanh", pooling="average"` is closest to the
    paper.
    """
    seeds = layers.layer_seeds(seed)
    image, x = layers.image_input(image_shape)
    x = layers.conv(x, 6, 5, activation, seeds, padding="same")
    x = layers.pool(x, pooling)
    x = layers.conv(x, 16, 5, activation, seeds)
    x = layers.pool(x, pooling)
    x = keras.layers.Flatten()(x)
    x = layers.dense(x, 120, activation, seeds)
    x = layers.dense(x, 84, activation, seeds)
    x = layers.Dropout(dropout, next(seeds))(x)
    return keras.Model(image, layers.logits(x, num_classes, seeds), name="lenet5")
