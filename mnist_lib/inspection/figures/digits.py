"""Images of a data set: samples, how many there are of each label, augmented ones, noise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mnist_lib import errors
from mnist_lib.datasets.splits import Split
from mnist_lib.inspection.figures import image_grids, style
from mnist_lib.training import augmentation

_SIZE = 28
_MOST_LEVEL_COUNTS = 20  # of more bars, numbers of images would run into each other


def value_limits(split: Split) -> dict[str, Any]:
    """Returns what `Axes.imshow` must know of a split's pixels: the values of white and black."""
    low, high = split.value_range or (0, 255)
    return {"vmin": low, "vmax": high}


def in_original_order(split: Split) -> np.ndarray:
    """Returns the indices of a split's images in the order of the original files, int64 `[N]`."""
    return np.arange(len(split)) if split.numbers is None else np.argsort(split.numbers)


@style.styled
def draw_samples(
    split: Split,
    class_names: Sequence[str] = tuple("0123456789"),
    *,
    rows: int = 3,
    columns: int = 5,
    caption: str = "",
) -> Figure:
    """Draws the first images of a split, in the order of the original files, with their labels.

    Args:
      split: at least one image.
      class_names: one name per label.
      rows, columns: of the grid.
      caption: a line below.
    """
    order = in_original_order(split)[: rows * columns]
    titles = tuple(f"Label: {class_names[label]}" for label in split.labels[order])
    figure = style.new_figure(columns * 1.5, rows * 1.75 + 0.25, caption)
    image_grids.place_images(
        figure.add_subplot(),
        style.shown(split.images[order], split.value_range),
        columns,
        titles,
        gap=0.12,
        caption_room=0.26,
        caption_size=9 if style.have_long_names(class_names) else 12,
        cmap=style.INK_MAP,
        **value_limits(split),
    )
    return figure


@style.styled
def draw_labels(
    labels: Mapping[str, np.ndarray],
    class_names: Sequence[str] = tuple("0123456789"),
    *,
    caption: str = "",
) -> Figure:
    """Draws how many images of each label there are, as bars with the counts on them.

    Args:
      labels: name of a split to its labels, integers `[N]`.
      class_names: one name per label.
      caption: a line below.
    """
    figure = style.new_figure(9, 0.4 + 2.6 * len(labels), caption)
    for row, (name, values) in enumerate(labels.items()):
        axes = figure.add_subplot(len(labels), 1, row + 1)
        counts = np.bincount(values, minlength=len(class_names))
        bars = axes.bar(class_names, counts, color=style.COLOURS[row % len(style.COLOURS)])
        upright = len(class_names) > _MOST_LEVEL_COUNTS
        texts = [f"{count:,}" for count in counts]
        axes.bar_label(bars, texts, padding=2, fontsize=9, rotation=90 if upright else 0)
        mean = f"{counts.mean():,.0f} of a label in the mean"
        axes.set(title=f"{name}: {len(values):,} images, {mean}", ylabel="images")
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.margins(x=0.01, y=0.3 if upright else 0.15)
    axes.set_xlabel("label")
    return figure


@style.styled
def draw_augmentation(
    split: Split,
    augment: augmentation.Augmentation | None,
    class_names: Sequence[str] = tuple("0123456789"),
    *,
    name: str = "",
    num_variants: int = 9,
    caption: str = "",
) -> Figure:
    """Draws one image of each label, and what an augmentation makes of it.

    Args:
      split: the first image of each label is taken; uint8 `[N, 28, 28, 1]`.
      augment: what `augmentation.named_augmentation` returned.
      class_names: one name per label.
      name: of the augmentation.
      num_variants: how many changed ones of each.
      caption: a line below.

    Raises:
      ConfigError: `augment` is None.
    """
    if augment is None:
        raise errors.ConfigError("augmentation", "none changes nothing; choose another one")
    order = in_original_order(split)
    labels, first = np.unique(split.labels[order], return_index=True)
    originals = split.images[order[first]]
    variants = [
        np.asarray(augment(originals, number * len(originals))) for number in range(num_variants)
    ]
    table = np.stack([originals, *variants], axis=1)
    columns = num_variants + 1
    figure = style.new_figure(columns * 0.85 + 0.8, len(labels) * 0.85 + 0.8, caption)
    axes = figure.add_subplot()
    corners = image_grids.place_images(
        axes,
        table.reshape(-1, *table.shape[2:4]),
        columns,
        gap=0.06,
        caption_room=0.06,
        cmap=style.INK_MAP,
        **value_limits(split),
    )
    image_grids.frame_images(axes, corners[::columns], colour=style.BLUE, width=2)
    for (left, top), label in zip(corners[::columns], labels, strict=True):
        axes.text(left - 0.15, top + 0.5, class_names[label], ha="right", va="center", fontsize=11)
    axes.text(0.5, -0.1, "original", ha="center", va="bottom", color=style.BLUE, fontsize=11)
    title = f"augmented: {name}" if name else "augmented"
    axes.text((columns + 1.5) * 0.53, -0.1, title, ha="center", va="bottom", fontsize=11)
    axes.set_xlim(-0.4 - 0.12 * max(map(len, class_names)))
    axes.set_ylim(top=-0.5)
    return figure


@style.styled
def draw_noise(*, rows: int = 4, columns: int = 8, seed: int = 0) -> Figure:
    """Draws images whose pixels are uniform random numbers; none of them is a digit.

    Args:
      rows, columns: of the grid.
      seed: chooses the images.
    """
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (rows * columns, _SIZE, _SIZE), np.uint8)
    figure = style.new_figure(columns * 1.1, rows * 1.1 + 0.9)
    axes = figure.add_subplot()
    image_grids.place_images(
        axes, images, columns, caption_room=0.1, cmap=style.INK_MAP, vmin=0, vmax=255
    )
    figure.suptitle("Images of uniform random pixels", fontsize=12)
    exponent, power = math.modf(_SIZE * _SIZE * math.log10(256))
    figure.supxlabel(
        rf"There are $256^{{784}} \approx {10**exponent:.2f} \times 10^{{{power:.0f}}}$ images of "
        "28x28 pixels of 256 greys.\nAlmost none of them is a digit.",
        fontsize=11,
    )
    return figure
