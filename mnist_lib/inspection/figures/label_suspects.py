"""Images whose labels are likely wrong, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from mnist_lib.datasets.splits import Split
from mnist_lib.inspection.figures import digits, image_grids, style

_COLUMNS = 8


@style.styled
def draw_suspects(
    split: Split,
    suggestions: Sequence[tuple[int, float, float]],
    class_names: Sequence[str],
    *,
    num_suspects: int,
    caption: str = "",
) -> Figure:
    """Draws images with their label, the class that is suggested, and the probabilities of both.

    Args:
      split: the images, the most suspect first.
      suggestions: for each the suggested class, its probability, and that of the label.
      class_names: one name per class.
      num_suspects: how many there are in all.
      caption: a line below.
    """
    rows = max(1, -(-len(split) // _COLUMNS))
    figure = style.new_figure(_COLUMNS * 1.2, rows * 1.6 + 0.75, caption)
    axes = figure.add_subplot()
    title = f"The {len(split)} most suspect of {num_suspects:,} suspect labels"
    axes.set_title(title if len(split) else "No label is suspect")
    if not len(split):
        axes.set_axis_off()
        return figure
    arrow = "\N{RIGHTWARDS ARROW}"
    captions = []
    for index, (suggested, probability, of_label) in enumerate(suggestions):
        number = "" if split.numbers is None else f"#{split.numbers[index]}\n"
        label = class_names[split.labels[index]]
        pair = f"{label} {arrow} {class_names[suggested]}"
        captions.append(f"{number}{pair}\n{of_label:.3f} {arrow} {probability:.3f}")
    image_grids.place_images(
        axes,
        style.shown(split.images, split.value_range),
        _COLUMNS,
        tuple(captions),
        gap=0.14,
        caption_room=0.53,
        caption_size=8,
        cmap=style.INK_MAP,
        **digits.value_limits(split),
    )
    axes.set_xlim(-0.05, _COLUMNS * 1.14 - 0.09)  # also where there are few
    note = f"label {arrow} suggested class, their probabilities"
    if split.numbers is not None:
        note = f"number in the original files, {note}"
    figure.text(0.01, 0.005, note, fontsize=8, color="0.35", va="bottom")
    return figure
