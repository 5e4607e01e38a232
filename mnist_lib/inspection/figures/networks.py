"""What a trained network is made of: its layers, its first weights, what they make of a digit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from matplotlib import colormaps, patches
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mnist_lib import errors
from mnist_lib.inspection.figures import image_grids, layer_outputs, style

_MAX_UNITS = 64
_MAX_MAPS = 10
_BOX_WIDTH = 4.2
_BOX_HEIGHT = 0.62


@style.styled
def draw_filters(
    model: keras.Model,
    class_names: Sequence[str] = (),
    *,
    caption: str = "",
) -> Figure:
    """Draws the kernels of the first layer that has weights, negative blue, positive red.

    Those of a convolution as they are, those of a dense layer, up to 64, in the shape of
    the image: the weight of each pixel. Over several channels the sum is drawn.

    Args:
      model: of images `[N, H, W, C]`.
      class_names: if the first layer is the output layer, titles of its kernels.
      caption: a line below.

    Raises:
      ConfigError: no layer has a kernel that can be drawn.
    """
    layer, kernels = first_kernels(model)
    shown = kernels[:_MAX_UNITS]
    columns = min(8, len(shown)) if len(shown) > 10 else min(5, len(shown))
    rows = -(-len(shown) // columns)
    largest = float(np.abs(kernels).max()) or 1.0
    is_output = layer is model.layers[-1] and len(class_names) == len(shown)
    room = 0.24 if is_output else 0.1
    figure = style.new_figure(columns * 0.95 + 1.6, rows * (0.86 + room) + 0.95, caption)
    axes = figure.add_subplot()
    image_grids.place_images(
        axes,
        shown,
        columns,
        tuple(class_names) if is_output else (),
        caption_room=room,
        cmap=style.SIGNED_MAP,
        vmin=-largest,
        vmax=largest,
    )
    number = f"{len(shown)} of {len(kernels)}" if len(shown) < len(kernels) else f"{len(shown)}"
    height, width = shown.shape[1:]
    axes.set_title(f"{layer.name}: {number} kernels of {height}x{width}")
    figure.colorbar(axes.images[0], ax=axes, label="weight", shrink=0.8, aspect=30)
    return figure


def first_kernels(model: keras.Model) -> tuple[keras.layers.Layer, np.ndarray]:
    """Returns the first layer with weights, and its kernels as images.

    Args:
      model: of images `[N, H, W, C]`.

    Returns:
      The layer, and floats `[units, h, w]`, summed over channels.

    Raises:
      ConfigError: the model has no such layer, or its kernels have no shape of images.
    """
    layer = next((layer for layer in model.layers if hasattr(layer, "kernel")), None)
    if layer is None:
        raise errors.ConfigError("model", f"{model.name} has no layer with a kernel to draw")
    kernel = layer.kernel.numpy().astype(np.float32)
    image_shape = layer_outputs.image_shape(model)
    if kernel.ndim == 2 and kernel.shape[0] == np.prod(image_shape):
        kernel = kernel.reshape(*image_shape, -1)
    if kernel.ndim != 4:
        raise errors.ConfigError(
            "model", f"{layer.name} has a kernel {list(kernel.shape)}, which is no image to draw"
        )
    return layer, kernel.sum(2).transpose(2, 0, 1)


@style.styled
def draw_feature_maps(
    model: keras.Model, image: np.ndarray, class_names: Sequence[str] = (), *, caption: str = ""
) -> Figure:
    """Draws what each layer of a model makes of one image.

    Of a convolution or pooling up to ten feature maps, of flat layers their values in a
    row. Of dropout what training sees: dropped values are orange.

    Args:
      model: of images `[N, H, W, C]` to logits.
      image: one image `[H, W, C]`, of the dtype that the model takes.
      class_names: one name per logit, or none.
      caption: a line below.
    """
    steps = layer_outputs.through_layers(model, image)
    heights = [0.8 if step.values.ndim == 3 else 0.36 for step in steps]
    figure = style.new_figure(11, sum(heights) + 0.12 * len(steps) + 0.6, caption)
    grid = figure.add_gridspec(
        len(steps), 2, width_ratios=(1, 3.6), height_ratios=heights, hspace=0.04
    )
    for row, step in enumerate(steps):
        beside = figure.add_subplot(grid[row, 0])
        beside.set_axis_off()
        title = step.title
        if step.values.ndim == 3 and step.values.shape[-1] > _MAX_MAPS:
            title += f", {_MAX_MAPS} shown"
        beside.text(1, 0.5, title, ha="right", va="center", fontsize=9, linespacing=1.3)
        beside.set(xlim=(0, 1), ylim=(0, 1))
        axes = figure.add_subplot(grid[row, 1])
        _draw_values(axes, step)
    if len(class_names) == steps[-1].values.size:
        axes.set_xticks(range(len(class_names)), class_names)
    return figure


def _draw_values(axes: Axes, step: layer_outputs.LayerStep) -> None:
    values = step.values
    low, high = float(values.min()), float(values.max())
    if low < 0:
        low, high = -max(-low, high), max(-low, high)
        colours = colormaps[style.SIGNED_MAP]
    else:
        colours = colormaps[style.INK_MAP]
    colours = colours.with_extremes(bad=style.ORANGE)
    options: dict[str, Any] = {
        "cmap": colours,
        "vmin": low,
        "vmax": high if high > low else low + 1,
    }
    masked = np.ma.masked_where(step.dropped, values)
    if values.ndim == 3:
        maps = np.ma.stack([masked[:, :, number] for number in range(values.shape[-1])][:_MAX_MAPS])
        image_grids.place_images(axes, maps, _MAX_MAPS, gap=0.06, caption_room=0, **options)
        axes.set_anchor("W")
    else:
        # Where there are more values than pixels, their means.
        interpolation = "nearest" if values.size <= 800 else "antialiased"
        axes.imshow(masked[np.newaxis], aspect="auto", interpolation=interpolation, **options)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(visible=True, color=style.FAINT)


@style.styled
def draw_model(model: keras.Model, *, caption: str = "") -> Figure:
    """Draws the layers of a model as boxes, with output shapes and numbers of parameters.

    Args:
      model: a functional model; `N` in a shape is the number of images.
      caption: a line below.

    Raises:
      ConfigError: a layer has several outputs.
    """
    layers = model.layers
    figure = style.new_figure(6.2, len(layers) * 0.85 + 0.9, caption)
    axes = figure.add_subplot()
    places = {layer.name: (0.0, -float(row)) for row, layer in enumerate(layers)}
    for layer in layers:
        x, y = places[layer.name]
        num_parameters = layer.count_params()
        axes.add_patch(
            patches.FancyBboxPatch(
                (x - _BOX_WIDTH / 2, y - _BOX_HEIGHT / 2),
                _BOX_WIDTH,
                _BOX_HEIGHT,
                boxstyle="round,pad=0,rounding_size=0.08",
                facecolor="#DCEBF5" if num_parameters else "white",
                edgecolor=style.BLUE,
            )
        )
        lines = [
            f"{layer.name} ({layer_outputs.kind(layer)})",
            layer_outputs.shape_text(model, layer),
        ]
        if num_parameters:
            lines[1] += f", {num_parameters:,} parameters"
        axes.text(x, y + 0.13, lines[0], ha="center", va="center", fontsize=10)
        axes.text(x, y - 0.14, lines[1], ha="center", va="center", fontsize=9, color="0.25")
    for first, second in layer_outputs.connections(model):
        _draw_arrow(axes, places[first][1], places[second][1])
    axes.set_title(f"{model.name}: {model.count_params():,} parameters")
    axes.set(xlim=(-2.9, 2.9), ylim=(-len(layers) + 0.5, 0.5))
    axes.set_axis_off()
    return figure


def _draw_arrow(axes: Axes, start: float, end: float) -> None:
    """Draws an arrow between two rows; one that skips rows goes round those between."""
    look: dict[str, Any] = {
        "arrowstyle": "-|>",
        "mutation_scale": 12,
        "color": "0.3",
        "linewidth": 1.2,
    }
    if start - end < 1.5:
        ends = (0.0, start - _BOX_HEIGHT / 2), (0.0, end + _BOX_HEIGHT / 2)
    else:
        ends = (_BOX_WIDTH / 2, start), (_BOX_WIDTH / 2, end)
        look["connectionstyle"] = "bar,fraction=-0.08"
    axes.add_patch(patches.FancyArrowPatch(*ends, shrinkA=0, shrinkB=0, **look))
