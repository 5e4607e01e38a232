"""The three networks of An et al. 2020 (arXiv:2008.10400), which have no pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from mnist_lib.models import layers


def build_m3(**options: Any) -> keras.Model:
    """Builds ten 3x3 convolutions of 32, 48, ... 176 filters; 1,126,280 parameters."""
    return _build("m3", 3, range(32, 177, 16), **options)


def build_m5(**options: Any) -> keras.Model:
    """Builds five 5x5 convolutions of 32, 64, ... 160 filters; 1,129,160 parameters."""
    return _build("m5", 5, range(32, 161, 32), **options)


def build_m7(**options: Any) -> keras.Model:
    """Builds four 7x7 convolutions of 48, 96, 144 and 192 filters; 2,292,952 parameters."""
    return _build("m7", 7, range(48, 193, 48), **options)


def _build(
    name: str,
    kernel_size: int,
    filters: Sequence[int],
    *,
    num_classes: int = 10,
    seed: int = 0,
    image_shape: layers.ImageShape = layers.MNIST_SHAPE,
) -> keras.Model:
    """Builds convolutions without padding, and logits that are normalised, too.

    Pixels are brought to [-1, 1] first.
    """
    plan = layers.LayerPlan(seed)
    image, x = layers.image_input(image_shape)
    x = keras.layers.Rescaling(2.0, offset=-1.0, name="centre")(x)
    for number in filters:
        x = layers.conv(x, number, kernel_size, "relu", plan, batch_norm=True)
    x = keras.layers.Flatten(name="flatten")(x)
    x = layers.logits(x, num_classes, plan, batch_norm=True)
    return keras.Model(image, x, name=name)
