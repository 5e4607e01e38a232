"""What all figures share: text sizes, colours, the caption, and how they are saved."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ParamSpec

import matplotlib
import numpy as np
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


class ShownFigure(Figure):
    """A figure that a notebook shows, which without pyplot it would not."""

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        self.savefig(content, format="png")
        return content.getvalue()


def new_figure(width: float, height: float, caption: str = "") -> Figure:
    """Returns an empty figure of 100 dots per inch, with a caption at the bottom.

    Args:
      width, height: inches.
      caption: a line in small letters, such as `describe_source` returns.
    """
    figure = ShownFigure(figsize=(width, height), dpi=100, layout="constrained")
    if caption:
        figure.supxlabel(
            caption, fontsize=_CAPTION_SIZE, color="0.35", x=0.99, ha="right", parse_math=False
        )
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


def shown(images: np.ndarray, value_range: tuple[float, float] | None = None) -> np.ndarray:
    """Returns images as matplotlib draws them.

    Args:
      images: `[..., H, W, C]`.
      value_range: the least and the largest value of float images.

    Returns:
      Without channels, as they are: the one there is, or the mean of any number but three.
      Of three, in colours: uint8, or floats in [0, 1].
    """
    if images.shape[-1] != 3:
        return images[..., 0] if images.shape[-1] == 1 else images.mean(-1)
    if value_range is None:
        return images
    low, high = value_range
    return (images - low) / (high - low)


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
