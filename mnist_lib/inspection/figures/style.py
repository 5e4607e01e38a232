"""What all figures share: text sizes, colours, the caption, and how they are saved."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ParamSpec

import matplotlib
import numpy as np
from matplotlib import collections
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mnist_lib import choices, files, os_errors, paths

FORMATS = ("png", "svg", "pdf")
# Colours that people with any colour vision tell apart (Okabe and Ito 2008), without the
# yellow, which is too pale for lines on white.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
BLUE, ORANGE, GREEN, VERMILION = COLOURS[:4]
INK_MAP = "gray_r"  # 0 white, ink black
SIGNED_MAP = "RdBu_r"  # negative blue, 0 white, positive red
FAINT = "0.8"
_CAPTION_SIZE = 8
_SETTINGS = {
    "axes.axisbelow": True,
    "axes.grid": False,
    "axes.labelsize": 10,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "figure.autolayout": False,
    "figure.constrained_layout.use": False,
    "figure.dpi": 100,
    "font.size": 10,
    "grid.color": "0.9",
    "legend.fontsize": 9,
    "legend.frameon": False,
    "savefig.dpi": "figure",
    "svg.hashsalt": "mnist_lib",  # the same picture is the same file
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
}
# Dates would make two files of one picture differ.
_METADATA: dict[str, dict] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}

_Arguments = ParamSpec("_Arguments")


def styled(draw: Callable[_Arguments, Figure]) -> Callable[_Arguments, Figure]:
    """Has a function draw with the settings of this module; then matplotlib's are as before."""

    @functools.wraps(draw)
    def drawing(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Figure:
        with matplotlib.rc_context(_SETTINGS):
            return draw(*args, **kwargs)

    return drawing


def new_figure(width: float, height: float, caption: str = "") -> Figure:
    """Returns an empty figure of 100 dots per inch, with a caption at the bottom.

    Args:
      width, height: inches.
      caption: a line in small letters, such as `describe_source` returns.
    """
    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    if caption:
        figure.supxlabel(caption, fontsize=_CAPTION_SIZE, color="0.35", x=0.99, ha="right")
    return figure


def describe_source(
    *, run: str | None = None, step: int | None = None, data: str | None = None
) -> str:
    """Returns the caption that says what a figure is of.

    Args:
      run: the run directory.
      step: the optimizer step of its weights.
      data: data set and split, such as `"mnist test"`.

    Returns:
      `"run X, step N, mnist test"`, without what is not given.
    """
    parts = (run and f"run {run}", None if step is None else f"step {step}", data)
    return ", ".join(part for part in parts if part)


def joined(*parts: str) -> str:
    """Returns the parts of a caption that are not empty, as one."""
    return "; ".join(part for part in parts if part)


def class_styles(num_classes: int) -> list[dict[str, Any]]:
    """Returns colour, line style and marker of each class; no two classes share all."""
    lines = itertools.product(zip(("-", "--", ":", "-."), "o^sD", strict=True), COLOURS)
    return [
        {"color": colour, "linestyle": line, "marker": marker}
        for (line, marker), colour in itertools.islice(itertools.cycle(lines), num_classes)
    ]


def text_colour(rgba: np.ndarray) -> str:
    """Returns black or white, whichever is read better on a colour (relative luminance)."""
    return "black" if np.dot(rgba[:3], (0.2126, 0.7152, 0.0722)) > 0.45 else "white"


def have_long_names(class_names: Sequence[str]) -> bool:
    """Whether classes are called otherwise than by a letter or a number."""
    return max(map(len, class_names)) > 2


def shown(image: np.ndarray) -> np.ndarray:
    """Returns an image `[H, W, C]` as matplotlib draws it: without a single channel."""
    return image[..., 0] if image.shape[-1] == 1 else image


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
    colour: str = FAINT,
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


def save(figure: Figure, path: str | os.PathLike[str], format: str | None = None) -> pathlib.Path:  # noqa: A002
    """Writes a figure; under the name is either the old file or all of the new one.

    Args:
      figure: what a function of this package returned, or any other figure.
      path: the file; its folder is made.
      format: a name in `FORMATS`; None for what the file's name ends in.

    Returns:
      The file.

    Raises:
      ConfigError: there is no such format.
      OutputError, StorageError: the file cannot be written.
    """
    target = paths.local("output", path)
    format = target.suffix.removeprefix(".").lower() if format is None else format  # noqa: A001
    choices.check("format", format, FORMATS)
    content = io.BytesIO()
    with matplotlib.rc_context(_SETTINGS), _laid_out(figure):
        figure.savefig(content, format=format, metadata=_METADATA[format])
    with os_errors.writing(target, "Pass another --output."):
        target.parent.mkdir(parents=True, exist_ok=True)
        files.replace_file(target, content.getvalue())
    return target


@contextlib.contextmanager
def _laid_out(figure: Figure) -> Iterator[None]:
    """Lays a figure out once for the length of the block; `savefig` would draw it twice."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine(None)
    try:
        yield
    finally:
        figure.set_layout_engine(engine)
