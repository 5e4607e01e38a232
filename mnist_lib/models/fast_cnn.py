"""A small strided network for the shortest time to 99 % on a CPU."""

from __future__ import annotations

import keras

from mnist_lib.models import layers


def build_fast_cnn(
    *,
    activation: str = "relu",
    num_classes: int = 10,
    seed: int = 0,
    image_shape: layers.ImageShape = layers.MNIST_SHAPE,
) -> keras.Model:
    """Builds crop - conv 16 - conv 32 - 128 - 10, 109,210 parameters.

    250,000 multiplications per image, a fiftieth of `cnn`: the outer two pixels, which
    hold 0.2 % of the ink of MNIST, are cut off, and convolutions of stride 2 stand for
    pooling (Springenberg et al. 2015). Batch normalisation (Ioffe and Szegedy 2015)
    after the second and third layer allows the learning rate at which 270 steps are
    enough; after the first, whose output is the largest, it costs more than it gives.
    """
    plan = layers.LayerPlan(seed)
    image, x = layers.image_input(image_shape)
    x = keras.layers.Cropping2D(2, name="crop")(x)
    x = layers.conv(x, 16, 4, activation, plan, strides=2)
    x = layers.conv(x, 32, 3, activation, plan, strides=2, batch_norm=True)
    x = keras.layers.Flatten(name="flatten")(x)
    x = layers.dense(x, 128, activation, plan, batch_norm=True)
    return keras.Model(image, layers.logits(x, num_classes, plan), name="fast_cnn")
