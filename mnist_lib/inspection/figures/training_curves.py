"""How loss and accuracy went during the training of one run, or of several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mnist_lib import errors
from mnist_lib.inspection.figures import style
from mnist_lib.inspection.history import History

_STYLES: dict[str, dict[str, Any]] = {
    "train": {"linestyle": "-", "linewidth": 1.2, "alpha": 0.75},
    "validation": {"linestyle": "--", "linewidth": 1.6, "marker": "o", "markersize": 4},
    "test": {"linestyle": "none", "marker": "*", "markersize": 11, "markeredgecolor": "white"},
}


@style.styled
def draw_curves(histories: Mapping[str, History], *, caption: str = "") -> Figure:
    """Draws loss and accuracy over the optimizer steps, of all splits in one axes.

    Args:
      histories: name of a run to what `history.read_history` says of it.
      caption: a line below.

    Raises:
      ConfigError: no run has logged a loss or an accuracy.
    """
    tags = [
        tag
        for tag in ("loss", "accuracy")
        if any(tag in split for run in histories.values() for split in run.values())
    ]
    if not tags:
        raise errors.ConfigError(
            "history", f"{', '.join(histories) or 'no run'}: has no loss and no accuracy"
        )
    # One run: a line; several: a column each, up to four.
    columns = 3 if len(histories) == 1 else min(len(histories), 4)
    lines = -(-len(histories) * len(_STYLES) // columns)
    figure = style.new_figure(9.5, 4 + 0.2 * lines, caption)
    for column, tag in enumerate(tags):
        axes = figure.add_subplot(1, len(tags), column + 1)
        _draw_tag(axes, histories, tag)
        axes.set(xlabel="optimizer step", title=tag)
        axes.set_ylabel(
            "loss (logarithmic)" if tag == "loss" else "accuracy (share predicted right)"
        )
        axes.grid(which="both" if tag == "loss" else "major")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=columns)
    return figure


def _draw_tag(axes: Axes, histories: Mapping[str, History], tag: str) -> None:
    low = []
    for number, (run, splits) in enumerate(histories.items()):
        for place, (split, look) in enumerate(_STYLES.items()):
            if tag not in splits.get(split, {}):
                continue
            steps, values = splits[split][tag]
            # One run: a colour for each split; several: one for each run.
            colour = style.COLOURS[(number if len(histories) > 1 else place) % len(style.COLOURS)]
            label = f"{run}: {split}" if len(histories) > 1 else split
            axes.plot(steps, values, label=label, color=colour, **look)
            if len(values):
                low.append(np.quantile(values, 0.1) if len(values) > 20 else values.min())
    if tag == "loss":
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(ticker.FuncFormatter(_minor_tick))
    elif low:
        # The first steps would leave no room for the rest.
        bottom = max(0.0, min(low) - 0.02)
        axes.set_ylim(bottom, 1 + 0.03 * (1 - bottom))
    axes.set_xlim(left=0)


def _minor_tick(value: float, _position: int | None = None) -> str:
    """Returns the label of a tick between powers of ten: of 2 and 5 times those."""
    return f"{value:g}" if f"{value:e}"[0] in "25" else ""
