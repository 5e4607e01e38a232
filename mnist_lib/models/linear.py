"""The linear model: multinomial logistic regression, or the perceptron."""

from __future__ import annotations

import keras

from mnist_lib.models import layers


def build_linear(
    *,
    num_classes: int = 10,
    seed: int = 0,
    image_shape: layers.ImageShape = layers.MNIST_SHAPE,
) -> keras.Model:
    """Builds 784-10: one affine function per class, 7,850 parameters.

    Trained with the cross-entropy it is softmax regression; with the perceptron
    loss it is the multi-class perceptron.
    """
    image, x = layers.image_input(image_shape)
    x = keras.layers.Flatten(name="flatten")(x)
    return keras.Model(image, layers.logits(x, num_classes, layers.LayerPlan(seed)), name="linear")
