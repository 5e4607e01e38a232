"""Images in rows within one axes: faster than an axes for each."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib import collections
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from mnist_lib.inspection.figures import style


def place_images(
    axes: Axes,
    images: np.ndarray,
    columns: int,
    captions: tuple[str, ...] = (),
    *,
    gap: float = 0.1,
    caption_room: float = 0.1,
    caption_size: float = 9,
    **options,
) -> list[tuple[float, float]]:
    """Draws images in rows, each one unit wide, its caption above it.

    Args:
      axes: gets them, and loses its frame.
      images: `[N, H, W]`, or `[N, H, W, 3]` in colours.
      columns: images in a row.
      captions: one per image, or none.
      gap: between two columns, in widths of an image.
      caption_room: above each row, in the same.
      caption_size: points.
      **options: for `Axes.imshow`.

    Returns:
      Left and upper edge of each image in data coordinates; y grows downwards.
    """
    height = images.shape[1] / images.shape[2]
    corners: list[tuple[float, float]] = []
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        left, top = column * (1 + gap), row * (height + caption_room)
        axes.imshow(image, extent=(left, left + 1, top + height, top), **options)
        corners.append((left, top))
    frame_images(axes, corners, height=height)
    for (left, top), caption in zip(corners, captions, strict=bool(captions)):
        axes.text(left + 0.5, top - 0.04, caption, ha="center", va="bottom", fontsize=caption_size)
    leave_out_of_layout(axes.images, axes.texts, axes.collections)
    rows = -(-len(images) // columns)
    axes.set_xlim(-0.05, columns * (1 + gap) - gap + 0.05)
    axes.set_ylim(rows * (height + caption_room) - caption_room + 0.05, -caption_room - 0.05)
    axes.set_aspect("equal")
    axes.set_axis_off()
    return corners


def frame_images(
    axes: Axes,
    corners: Sequence[tuple[float, float]],
    *,
    height: float = 1,
    colour: str = style.FAINT,
    width: float = 0.5,
    label: str | None = None,
) -> None:
    """Draws frames around images that `place_images` has placed.

    Args:
      axes: where they are.
      corners: left and upper edge of each.
      height: of an image, in widths.
      colour: of the line.
      width: of the line, points.
      label: what a legend says of them.
    """
    outline = np.array([(0, 0), (1, 0), (1, height), (0, height), (0, 0)])
    frames = collections.LineCollection(
        [outline + corner for corner in corners],
        colors=colour,
        linewidths=width,
        capstyle="projecting",
        label=label,
    )
    axes.add_collection(frames, autolim=False)


def leave_out_of_layout(*artists: Iterable[Artist]) -> None:
    """Has the layout take no time over what lies within its axes anyway."""
    for artist in itertools.chain(*artists):
        artist.set_in_layout(False)
