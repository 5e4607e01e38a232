"""Which pixels count for what a network predicts."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from mnist_lib.datasets.splits import Split
from mnist_lib.inspection.figures import digits, image_grids, layer_outputs, style


def input_gradients(model: keras.Model, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns how each pixel changes the logit of the predicted class.

    Args:
      model: a functional model of images to logits `[N, C]`.
      images: `[N, H, W, C]`, of the dtype that it takes.

    Returns:
      The gradients with respect to the first floats in the model, the scaled image, float32
      `[N, H, W, C]`; and the predicted classes, int64 `[N]`.

    Raises:
      ConfigError: the model takes no images, or its first floats are none.

    Simonyan et al. 2014, Deep inside convolutional networks, section 3.
    """
    to_floats, rest = layer_outputs.split_at_floats(model)
    scaled = to_floats(images)
    with tf.GradientTape() as tape:
        tape.watch(scaled)
        best = tf.reduce_max(logits := rest(scaled), axis=-1)
    gradients = tf.cast(tape.gradient(best, scaled), tf.float32)
    return gradients.numpy(), tf.argmax(logits, -1).numpy()


@style.styled
def draw_saliency(
    model: keras.Model,
    split: Split,
    class_names: Sequence[str] = tuple("0123456789"),
    *,
    caption: str = "",
) -> Figure:
    """Draws the first image of each label beside the gradient of its predicted class's logit.

    Where it is red more ink makes the prediction surer, where it is blue less sure.

    Args:
      model: a functional model of the split's images to logits.
      split: with at least one image.
      class_names: one name per label.
      caption: a line below.
    """
    order = digits.in_original_order(split)
    _, first = np.unique(split.labels[order], return_index=True)
    chosen = split.take(order[first])
    gradients, predicted = input_gradients(model, chosen.images)
    maps = gradients.sum(-1)
    columns = 5
    figure = style.new_figure(
        11,
        0.6 + (1.2 if not style.have_long_names(class_names) else 1.3) * -(-len(chosen) // columns),
        caption,
    )
    images, beside = (
        style.shown(chosen.images, chosen.value_range),
        np.abs(maps).max((1, 2), keepdims=True),
    )
    pairs = np.empty((2 * len(chosen), *images.shape[1:]), images.dtype)
    pairs[::2] = pairs[1::2] = images
    axes = figure.add_subplot()
    space = "\n" if style.have_long_names(class_names) else " "
    captions = tuple(
        text
        for label, prediction in zip(chosen.labels, predicted, strict=True)
        for text in (
            f"label{space}{class_names[label]}",
            f"predicted{space}{class_names[prediction]}",
        )
    )
    image_grids.place_images(
        axes,
        pairs,
        2 * columns,
        captions,
        gap=0.12,
        caption_room=0.28 if space == " " else 0.42,
        cmap=style.INK_MAP,
        **digits.value_limits(chosen),
    )
    for drawn, values in zip(axes.images[1::2], maps / np.where(beside, beside, 1), strict=True):
        drawn.set(data=values, cmap=style.SIGNED_MAP, clim=(-1, 1))
    figure.colorbar(
        axes.images[1], ax=axes, label="gradient / its largest", ticks=(-1, 0, 1), shrink=0.7
    )
    return figure
