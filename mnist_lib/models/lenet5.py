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
    plan = layers.LayerPlan(seed)
    image, x = layers.image_input(image_shape)
    x = layers.conv(x, 6, 5, activation, plan, padding="same")
    x = layers.pool(x, pooling, plan)
    x = layers.conv(x, 16, 5, activation, plan)
    x = layers.pool(x, pooling, plan)
    x = keras.layers.Flatten(name="flatten")(x)
    x = layers.dense(x, 120, activation, plan)
    x = layers.dense(x, 84, activation, plan)
    x = layers.dropout(x, dropout, plan)
    return keras.Model(image, layers.logits(x, num_classes, plan), name="lenet5")
