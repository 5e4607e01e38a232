"""What a classifier gets wrong: the confusion matrix, and its most confident mistakes."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import colors
from matplotlib.figure import Figure

from mnist_lib import errors
from mnist_lib.inspection.figures import digits, image_grids, style
from mnist_lib.inspection.predictions import Predictions

_COLUMNS = 8
_MOST_CLASSES = 47  # of which counts in cells can be read: those of EMNIST balanced


@style.styled
def draw_confusion(predictions: Predictions, *, caption: str = "") -> Figure:
    """Draws the confusion matrix: counts, errors coloured, and the accuracy of each row.

    The diagonal has no colour: it holds a hundred times as many as all else.

    Args:
      predictions: of one split.
      caption: a line below.

    Raises:
      ConfigError: there are too many classes to read anything.
    """
    matrix, names = predictions.confusion_matrix(), predictions.class_names
    size = len(names)
    if size > _MOST_CLASSES:
        raise errors.ConfigError(
            "predictions", f"{size} classes are too many for a matrix of counts ({_MOST_CLASSES})"
        )
    is_error = ~np.eye(size, dtype=bool)
    figure = style.new_figure(0.62 * size + 2.6, 0.5 * size + 1.8, caption)
    axes = figure.add_subplot()
    wrong = np.ma.masked_where(~is_error | (matrix == 0), matrix)
    norm = colors.Normalize(0, max(1, int(matrix[is_error].max(initial=0))))
    drawn = axes.imshow(wrong, cmap="YlOrBr", norm=norm, aspect="auto")
    for (row, column), count in np.ndenumerate(matrix):
        if row == column:
            colour, weight = "black", "bold"
        elif count:
            colour, weight = style.text_colour(np.array(drawn.cmap(norm(count)))), "normal"
        else:
            colour, weight = "0.75", "normal"
        axes.text(
            column, row, f"{count}", ha="center", va="center", color=colour, fontweight=weight
        )
    image_grids.leave_out_of_layout(axes.texts, axes.images)
    for row, count in enumerate(matrix.sum(1)):
        share = f"{matrix[row, row] / count:.2%}" if count else "-"
        axes.text(size - 0.3, row, f"{share} of {count:,}", va="center", fontsize=9)
    axes.text(size - 0.3, -0.65, "accuracy of the row", va="bottom", fontsize=9)
    slanted: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(size), names, **(slanted if style.have_long_names(names) else {}))
    axes.set_yticks(range(size), names)
    axes.set(xlabel="prediction", ylabel="label")
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="0.9", linewidth=0.8)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    total, correct = matrix.sum(), np.trace(matrix)
    axes.set_title(f"{total - correct} of {total:,} images wrong: accuracy {correct / total:.2%}")
    return figure


@style.styled
def draw_mistakes(predictions: Predictions, *, limit: int = 40, caption: str = "") -> Figure:
    """Draws the images that are predicted wrong, the most confident mistakes first.

    Above each: label -> prediction and its probability, and the image's number in the
    original files. Those of `predictions.DISPUTED_TEST_IMAGES` have a frame.

    Args:
      predictions: of one split.
      limit: at most so many.
      caption: a line below.
    """
    wrong, split = predictions.mistakes(), predictions.split
    chosen = wrong[:limit]
    rows = max(1, -(-len(chosen) // _COLUMNS))
    room = 0.53 if style.have_long_names(predictions.class_names) else 0.38
    figure = style.new_figure(_COLUMNS * 1.2, rows * 1.05 * (1 + room) + 0.75, caption)
    axes = figure.add_subplot()
    title = f"The {len(chosen)} most confident of {len(wrong)} mistakes"
    axes.set_title(title if len(chosen) else "No mistakes")
    if not len(chosen):
        axes.set_axis_off()
        return figure
    corners = image_grids.place_images(
        axes,
        style.shown(split.images[chosen], split.value_range),
        _COLUMNS,
        tuple(_describe(predictions, index) for index in chosen),
        gap=0.14,
        caption_room=room,
        caption_size=9,
        cmap=style.INK_MAP,
        **digits.value_limits(split),
    )
    disputed = [
        corner
        for corner, index in zip(corners, chosen, strict=True)
        if predictions.is_disputed(index)
    ]
    axes.set_xlim(-0.05, _COLUMNS * 1.14 - 0.09)  # also where there are few
    note = "label \N{RIGHTWARDS ARROW} prediction, its probability"
    if split.numbers is not None:
        note += ", number in the original files"
    figure.text(0.01, 0.005, note, fontsize=8, color="0.35", va="bottom")
    if disputed:
        label = "people dispute the label"
        image_grids.frame_images(axes, disputed, colour=style.VERMILION, width=2.5, label=label)
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.3)
    return figure


def _describe(predictions: Predictions, index: int) -> str:
    """Returns the caption of one mistake, in two lines; in three where names are long."""
    names, split = predictions.class_names, predictions.split
    label, prediction = split.labels[index], predictions.predicted[index]
    numbers = "" if split.numbers is None else f"  #{split.numbers[index]}"
    # Rounded down: 1.00 would be certain.
    confidence = np.floor(predictions.confidence[index] * 1000) / 1000
    pair = f"{names[label]} \N{RIGHTWARDS ARROW} {names[prediction]}"
    if style.have_long_names(names):
        pair = pair.replace(" \N{RIGHTWARDS ARROW}", "\n\N{RIGHTWARDS ARROW}")
    return f"{pair}\n{confidence:.3f}{numbers}"
