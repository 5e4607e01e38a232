"""Shows what a model was given of each picture, beside the picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mnist_lib.inspection.figures import style
from mnist_lib.serving import inputs, pictures
from mnist_lib.serving.file_predictions import FilePrediction

_COLUMNS = 4


@style.styled
def draw_seen(predictions: Sequence[FilePrediction]) -> Figure:
    """Draws pictures, with a frame around what was looked at, and what the model was given.

    Args:
      predictions: what `predict_files` yields, without those that are errors.
    """
    columns = min(_COLUMNS, len(predictions))
    rows = -(-len(predictions) // columns)
    figure = style.new_figure(3.2 * columns, 1.9 * rows)
    axes = figure.subplots(rows, 2 * columns, squeeze=False)
    for one in axes.flat:
        one.set_axis_off()
    for number, found in enumerate(predictions):
        row, column = divmod(number, columns)
        left, right = axes[row, 2 * column : 2 * column + 2]
        if found.box is not None:
            picture = pictures.read_picture(found.file)
            left.imshow(picture, cmap="gray", vmin=0, vmax=1)
            x, y, x_end, y_end = found.box
            left.add_patch(
                Rectangle((x, y), x_end - x, y_end - y, fill=False, edgecolor=style.VERMILION)
            )
        name = inputs.short_name(found.file, found.index)
        left.set_title(name, fontsize=7, parse_math=False)
        if found.image is not None:
            right.imshow(np.squeeze(found.image), cmap="gray")
        text = f"{found.label}  {found.probability:.1%}"
        if found.digit_score is not None:
            text += f"\nlike a digit {found.digit_score:.2f}"
        right.set_title(text, fontsize=7, parse_math=False)
    return figure
