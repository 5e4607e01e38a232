"""What a network sees: where it puts images before its last layer, and which pixels count."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure
from scipy.sparse import linalg

from mnist_lib import errors
from mnist_lib.datasets.splits import Split
from mnist_lib.inspection.figures import digits, image_grids, layer_outputs, style

_BATCH_SIZE = 500
_WHOLE_DECOMPOSITION = 64


@dataclasses.dataclass(frozen=True, eq=False)
class PrincipalComponents:
    """Points on the axes along which they vary most.

    Attributes:
      coordinates: floats `[N, k]`.
      explained: floats `[k]`, the share of all variance along each axis, in [0, 1].
    """

    coordinates: np.ndarray
    explained: np.ndarray


def principal_components(points: np.ndarray, count: int = 2) -> PrincipalComponents:
    """Projects points onto their principal components (Hotelling 1933).

    By a singular value decomposition: the whole of a small one, of a large one by the
    Lanczos method only what is asked for.

    Args:
      points: floats `[N, d]`, N and d at least `count`.
      count: how many components, k.

    Returns:
      The projections; the sign of each axis is such that its largest coordinate is positive.
    """
    centred = np.asarray(points, np.float64)
    centred = centred - centred.mean(0)
    total = np.square(centred).sum()
    if not total:
        return PrincipalComponents(np.zeros((len(points), count)), np.zeros(count))
    smaller = min(centred.shape)
    if smaller <= _WHOLE_DECOMPOSITION:
        left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    else:
        # The smallest comes first here; any start that does not depend on chance.
        start = np.random.default_rng(0).normal(size=smaller)
        left, sizes, _ = linalg.svds(centred, k=count, v0=start)
        left, sizes = left[:, ::-1], sizes[::-1]
    coordinates = left[:, :count] * sizes[:count]
    largest = np.abs(coordinates).argmax(0)
    signs = np.sign(coordinates[largest, np.arange(count)])
    return PrincipalComponents(coordinates * signs, sizes[:count] ** 2 / total)


@style.styled
def draw_embedding(
    model: keras.Model,
    split: Split,
    class_names: Sequence[str] = tuple("0123456789"),
    *,
    num_images: int = 2000,
    features: np.ndarray | None = None,
    caption: str = "",
) -> Figure:
    """Draws images where the network puts them: the input of its last layer, in two axes.

    Args:
      model: a functional model of the split's images.
      split: a stratified choice of its images is drawn.
      class_names: one name per label.
      num_images: at most so many.
      features: what `penultimate_features` says of those images, if it is known.
      caption: a line below.

    Raises:
      ConfigError: the model has no such layer, or one with a single input.
    """
    chosen = split.subset(min(num_images, len(split)))
    if features is None:
        features = penultimate_features(model, chosen.images)
    if features.shape[1] < 2:
        raise errors.ConfigError("model", f"the last layer of {model.name} has a single input")
    components = principal_components(features)
    x, y = components.coordinates.T
    figure = style.new_figure(7.4, 6.6, caption)
    axes = figure.add_subplot()
    styles = style.class_styles(len(class_names))
    for label in np.unique(chosen.labels):
        of_label = chosen.labels == label
        look = styles[label]
        axes.plot(
            x[of_label],
            y[of_label],
            look["marker"],
            color=look["color"],
            markersize=4,
            alpha=0.6,
            markeredgewidth=0,
        )
    for label in np.unique(chosen.labels):
        of_label = chosen.labels == label
        axes.text(
            np.median(x[of_label]),
            np.median(y[of_label]),
            class_names[label],
            ha="center",
            va="center",
            fontsize=13,
            fontweight="bold",
            bbox={
                "boxstyle": "round,pad=0.25",
                "facecolor": "white",
                "edgecolor": styles[label]["color"],
                "alpha": 0.9,
            },
        )
    first, second = components.explained
    axes.set(
        xlabel=f"1st principal component ({first:.0%} of the variance)",
        ylabel=f"2nd principal component ({second:.0%})",
        title=f"{len(chosen):,} images, where the last layer finds them",
    )
    return figure


def penultimate_features(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Returns what goes into the last layer, float32 `[N, d]`.

    Raises:
      ConfigError: the model takes no images, or its last layer several tensors.
    """
    layer_outputs.image_shape(model)
    (last,) = layer_outputs.tensors_of(model, model.layers[-1], "input")
    inner = keras.Model(model.inputs[0], last)
    starts = range(0, len(images), _BATCH_SIZE)
    # Not in a graph: tracing would take longer.
    parts = [inner(images[i : i + _BATCH_SIZE], training=False) for i in starts]
    return np.concatenate(parts).reshape(len(images), -1).astype(np.float32)


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
    layer_outputs.image_shape(model)
    if keras.backend.is_float_dtype(model.inputs[0].dtype):
        scaled, rest = tf.convert_to_tensor(images), model
    else:
        first = next(
            tensor
            for layer in model.layers
            for tensor in layer_outputs.tensors_of(model, layer, "output")
            if keras.backend.is_float_dtype(tensor.dtype)
        )
        if len(first.shape) != 4:
            raise errors.ConfigError("model", f"{model.name} makes no image of its input")
        scaled = keras.Model(model.inputs[0], first)(images, training=False)
        rest = keras.Model(first, model.outputs[0])
    with tf.GradientTape() as tape:
        tape.watch(scaled)
        best = tf.reduce_max(logits := rest(scaled, training=False), axis=-1)
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
