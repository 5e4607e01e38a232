"""What a classifier's probabilities are worth: calibration, precision and recall."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mnist_lib.inspection import calibration, statistics
from mnist_lib.inspection.figures import image_grids, style
from mnist_lib.inspection.precision_recall import PrecisionRecall, precision_recall
from mnist_lib.inspection.predictions import Predictions

_MOST_IN_A_COLUMN = 20  # of the legend


@style.styled
def draw_reliability(predictions: Predictions, *, caption: str = "") -> Figure:
    """Draws accuracy over confidence, with the expected calibration errors.

    Left in bins of equal width, right of equal mass and enlarged to where they are; below,
    how many images have each confidence. Vertical lines are Wilson's 95 % intervals.

    Args:
      predictions: of one split.
      caption: a line below.
    """
    confidence, is_correct = predictions.confidence, predictions.is_correct
    width = calibration.equal_width_bins(confidence, is_correct)
    mass = calibration.equal_mass_bins(confidence, is_correct)
    figure = style.new_figure(10, 7.2, caption)
    grid = figure.add_gridspec(2, 2, height_ratios=(2.4, 1))
    left, right = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[0, 1])
    for axes, bins, kind in ((left, width, "width"), (right, mass, "mass")):
        _draw_bins(axes, bins)
        low, high = bins.error_interval()
        axes.set_title(
            f"{len(bins.counts)} bins of equal {kind}\n"
            f"ECE {bins.error:.4f}, 95 % interval {low:.4f} to {high:.4f}"
        )
        axes.set(xlabel="confidence (probability of the prediction)", ylabel="accuracy")
    left.set(xlim=(0, 1), ylim=(-0.02, 1.02))
    left.legend(loc="upper left")
    _enlarge(right, mass)
    below = figure.add_subplot(grid[1, :])
    below.stairs(width.counts, width.edges, fill=True, color=style.BLUE, alpha=0.8)
    below.set_yscale("log")
    below.minorticks_off()
    below.yaxis.set_major_formatter("{x:,.0f}")
    below.set(xlim=(0, 1), xlabel="confidence", ylabel="images (logarithmic)")
    for centre, count in zip((width.edges[1:] + width.edges[:-1]) / 2, width.counts, strict=True):
        if count:
            below.annotate(
                f"{count:,}",
                (centre, count),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
    below.margins(y=0.2)
    image_grids.leave_out_of_layout(below.texts)
    mean, accuracy = confidence.mean(), is_correct.mean()
    below.set_title(f"mean confidence {mean:.4f}, accuracy {accuracy:.4f}", fontsize=10)
    return figure


def _draw_bins(axes: Axes, bins: calibration.CalibrationBins) -> None:
    """Draws the bins that are not empty, each at its mean confidence."""
    axes.plot([0, 1], [0, 1], color="0.5", linestyle="--", linewidth=1, label="calibrated")
    filled = np.flatnonzero(bins.counts)
    x, y = bins.mean_confidence[filled], bins.accuracy[filled]
    counts = zip(bins.num_correct[filled], bins.counts[filled], strict=True)
    intervals = [statistics.accuracy_interval(int(right), int(count)) for right, count in counts]
    low, high = np.transpose(intervals)
    axes.vlines(x, low, high, color=style.BLUE, linewidth=1.2, alpha=0.6)
    axes.vlines(x, x, y, color=style.VERMILION, linewidth=3, alpha=0.9, label="gap")
    axes.plot(x, y, "o", color=style.BLUE, markersize=5, label="bin")
    axes.grid()


def _enlarge(axes: Axes, bins: calibration.CalibrationBins) -> None:
    low = float(np.nanmin([bins.mean_confidence, bins.accuracy]))
    bottom = max(0.0, low - 0.1 * (1 - low) - 0.001)
    top = 1 + 0.04 * (1 - bottom)
    axes.set(xlim=(bottom, top), ylim=(bottom, top))


@style.styled
def draw_precision_recall(predictions: Predictions, *, caption: str = "") -> Figure:
    """Draws precision over recall of each class against all others, enlarged to the curves.

    Args:
      predictions: of one split; classes without images are left out.
      caption: a line below.
    """
    columns = -(-len(predictions.class_names) // _MOST_IN_A_COLUMN)
    figure = style.new_figure(7.5 + 1.5 * columns, 5.4, caption)
    axes = figure.add_subplot()
    curves = {
        index: precision_recall(
            predictions.probabilities[:, index], predictions.split.labels == index
        )
        for index in np.unique(predictions.split.labels)
    }
    styles = style.class_styles(len(predictions.class_names))
    for index, curve in curves.items():
        axes.plot(
            [0, *curve.recall],
            [1 if curve.precision[0] else 0, *curve.precision],
            drawstyle="steps-pre",
            linewidth=1.6,
            color=styles[index]["color"],
            linestyle=styles[index]["linestyle"],
            label=f"{predictions.class_names[index]}: {curve.average_precision:.4f}",
        )
    mean = np.mean([curve.average_precision for curve in curves.values()])
    figure.legend(
        *axes.get_legend_handles_labels(),
        title=f"average precision\n(mean {mean:.4f})",
        loc="outside right center",
        handlelength=3,
        ncols=columns,
    )
    left, bottom = _corner(list(curves.values()))
    axes.set(xlim=(left, 1 + 0.02 * (1 - left)), ylim=(bottom, 1 + 0.02 * (1 - bottom)))
    axes.set(xlabel="recall", ylabel="precision", title="Each class against all others")
    axes.grid()
    return figure


def _corner(curves: list[PrecisionRecall]) -> tuple[float, float]:
    """Returns from which recall and precision on the curves are worth a look.

    The recall up to which all are perfect, and the precision of the worst where it has found
    97 % of the images; less a margin.
    """
    perfect = [np.append(curve.recall[curve.precision == 1], 0).max() for curve in curves]
    left = min(perfect) - 0.05 * (1 - min(perfect))
    at_most = [curve.precision[np.searchsorted(curve.recall, 0.97)] for curve in curves]
    bottom = min(at_most) - 0.1 * (1 - min(at_most)) - 0.001
    return max(0.0, min(float(left), 0.98)), max(0.0, min(float(bottom), 0.98))
