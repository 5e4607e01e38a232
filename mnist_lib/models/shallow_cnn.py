"""Three convolutions and a wide layer, for 99.4 % in little time on a CPU."""

from __future__ import annotations

import keras

from mnist_lib.models import layers


def build_shallow_cnn(
    *,
    activation: str = "relu",
    width: int = 8,
    dropout: float = 0.0,
    num_classes: int = 10,
    seed: int = 0,
    image_shape: layers.ImageShape = layers.MNIST_SHAPE,
) -> keras.Model:
    """Builds crop - conv w - conv 2w - conv 3w - 16w - dropout - 10, w the width.

    83,690 parameters at width 8. `strided_cnn` without its last convolution, with twice the
    units, and a first filter of 6x6 pixels where that has 4x4: on held-out images it was better
    in as many steps, each of which is shorter.
    """
    plan = layers.LayerPlan(seed)
    image, x = layers.image_input(image_shape)
    x = keras.layers.Cropping2D(1, name="crop")(x)
    x = layers.conv(x, width, 6, activation, plan, strides=2, batch_norm=True)
    x = layers.conv(x, 2 * width, 3, activation, plan, padding="same", batch_norm=True)
    x = layers.conv(x, 3 * width, 3, activation, plan, strides=2, batch_norm=True)
    x = keras.layers.Flatten(name="flatten")(x)
    x = layers.dense(x, 16 * width, activation, plan, batch_norm=True)
    if dropout:
        x = layers.dropout(x, dropout, plan)
    return keras.Model(image, layers.logits(x, num_classes, plan), name="shallow_cnn")
