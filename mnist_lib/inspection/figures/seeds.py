"""Accuracies of several seeds: every one of them, their mean and its interval, a setting a row."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import lines, ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mnist_lib import errors
from mnist_lib.inspection.figures import style

_NAME_COLUMNS = 34
# A row is as high as 1: the seeds lie above its middle, the interval below.
_SEED_BAND = (0.06, 0.34)
_MEAN_AT = -0.14
_SEED: dict[str, Any] = {
    "linestyle": "none",
    "marker": "o",
    "markersize": 5,
    "markeredgewidth": 0,
    "alpha": 0.5,
    "label": "a seed",
}
_MEAN: dict[str, Any] = {
    "linestyle": "none",
    "marker": "D",
    "markersize": 7,
    "label": "mean",
}
_INTERVAL: dict[str, Any] = {
    "linewidth": 2,
    "solid_capstyle": "butt",
    "label": "95 % interval of the mean",
}

# Accuracies in [0, 1], one per seed, and the interval of their mean, None for one seed.
SeedRow = tuple[Sequence[float], tuple[float, float] | None]


@style.styled
def draw_seeds(
    settings: Sequence[str], splits: Mapping[str, Sequence[SeedRow]], *, caption: str = ""
) -> Figure:
    """Draws all seeds of each setting, their mean and its interval.

    Args:
      settings: names, one per row, the first at the top.
      splits: name of a split to what each setting has there; a column each.
      caption: a line below.

    Raises:
      ConfigError: there is no setting, or a split has another number of rows.
    """
    if not settings or any(len(rows) != len(settings) for rows in splits.values()):
        raise errors.ConfigError("settings", f"{len(settings)} given; give each split as many rows")
    names = ["\n".join(textwrap.wrap(name, _NAME_COLUMNS)) for name in settings]
    height = sum(max(2.2, 1 + name.count("\n")) for name in names)
    figure = style.new_figure(3 + 4.2 * len(splits), 1.3 + 0.24 * height, caption)
    first: Axes | None = None
    for column, (split, rows) in enumerate(splits.items()):
        axes = figure.add_subplot(1, len(splits), column + 1, sharey=first)
        first = first or axes
        for row, (accuracies, interval) in enumerate(rows):
            _draw_row(axes, row, accuracies, interval)
        axes.set(xlabel=f"{split} accuracy, %")
        axes.xaxis.set_major_locator(ticker.MaxNLocator(5, min_n_ticks=3))
        axes.xaxis.set_major_formatter(ticker.ScalarFormatter(useOffset=False))
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0, labelleft=column == 0)
    assert first is not None
    first.set_yticks(range(len(names)), names)
    for label in first.get_yticklabels():
        label.set_parse_math(False)
    first.set_ylim(len(names) - 0.5, -0.5)
    looks = [lines.Line2D([], [], color="0.35", **look) for look in (_SEED, _MEAN, _INTERVAL)]
    figure.legend(handles=looks, loc="outside upper right", ncols=3)
    return figure


def _draw_row(
    axes: Axes, row: int, accuracies: Sequence[float], interval: tuple[float, float] | None
) -> None:
    colour = style.COLOURS[row % len(style.COLOURS)]
    percent = 100 * np.asarray(accuracies)
    axes.plot(percent, row - _heights(percent), color=colour, **_SEED)
    mean = percent.mean()
    if interval is not None:
        axes.plot(100 * np.asarray(interval), [row - _MEAN_AT] * 2, color=colour, **_INTERVAL)
    axes.plot(mean, row - _MEAN_AT, color=colour, **_MEAN)
    axes.annotate(
        f"{mean:.3f}",
        (mean, row - _MEAN_AT),
        xytext=(0, -6),
        textcoords="offset points",
        ha="center",
        va="top",
        fontsize=8,
        color=colour,
    )


def _heights(values: np.ndarray) -> np.ndarray:
    """Returns how far above the middle each point is: neighbours apart, in the same way always."""
    low, high = _SEED_BAND
    heights = np.empty(len(values))
    order = np.argsort(values, kind="stable")
    heights[order] = low + (high - low) * np.resize([0, 2, 1, 3], len(values)) / 3
    return heights
