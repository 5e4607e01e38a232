"""One picture of how a run bears what is done to its images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mnist_lib.inspection.figures import image_grids, style
from mnist_lib.robustness import attacks, corruptions
from mnist_lib.robustness.subjects import Subject

_COLUMNS = 5
_STRENGTHS = range(corruptions.NUM_STRENGTHS + 1)


@style.styled
def draw_robustness(
    report: Mapping[str, Mapping[str, Any]], subject: Subject, *, caption: str = ""
) -> Figure:
    """Draws accuracy over strength for each corruption, with an image at each strength below.

    Vertical lines are Wilson's 95 % intervals. Strength 0 is the image as it is. After the
    corruptions come the attacks, over eps, if the report has them.

    Args:
      report: what `evaluate_robustness` returns, with corruptions.
      subject: what was tried; its images are shown, another one for each corruption.
      caption: a line below.
    """
    part = report["corruptions"]
    names = list(dict.fromkeys(row["corruption"] for row in part["rows"]))
    is_attacked = "adversarial" in report
    rows = -(-(len(names) + is_attacked) // _COLUMNS)
    figure = style.new_figure(14, 2.6 * rows + 0.7, caption)
    chance = 1 / len(subject.class_names)
    heights = (2.6, 1) * rows
    figure.set_layout_engine("constrained", hspace=0)
    axes = figure.subplots(2 * rows, _COLUMNS, gridspec_kw={"height_ratios": heights})
    for number, name in enumerate(names):
        row, column = divmod(number, _COLUMNS)
        curve, strip = axes[2 * row, column], axes[2 * row + 1, column]
        found = [part["clean"], *(one for one in part["rows"] if one["corruption"] == name)]
        _draw_curve(curve, list(_STRENGTHS), found, style.BLUE)
        _finish(curve, name.replace("_", " "), chance, is_first=not column)
        _draw_strip(strip, _corrupted(subject, name, number))
    last = axes.reshape(rows, 2, _COLUMNS).swapaxes(1, 2).reshape(-1, 2)[len(names) :]
    if is_attacked:
        curve, strip = last[0]
        _draw_attacks(curve, strip, report["adversarial"], subject, chance)
    for unused in last[is_attacked:].ravel():
        unused.set_axis_off()
    count = part["num_images"]
    figure.suptitle(
        f"{part['dataset']} {part['split']}, {count:,} images: accuracy, "
        f"mean over corruptions {part['mean_accuracy']:.4f}",
        fontsize=12,
    )
    return figure


def _draw_curve(axes: Axes, x: list, found: list[Mapping], colour: str, label: str = "") -> None:
    low, high = np.transpose([one["interval"] for one in found])
    axes.vlines(x, low, high, color=colour, linewidth=1.2, alpha=0.6)
    accuracy = [one["accuracy"] for one in found]
    axes.plot(x, accuracy, "o-", color=colour, markersize=4, linewidth=1.5, label=label)


def _finish(axes: Axes, title: str, chance: float, *, is_first: bool) -> None:
    axes.axhline(chance, color="0.5", linestyle="--", linewidth=1)  # by guessing
    axes.set_title(title, fontsize=10)
    axes.set_ylim(-0.02, 1.04)
    axes.set_yticks(np.linspace(0, 1, 5))
    axes.grid(axis="y")
    if is_first:
        axes.set_ylabel("accuracy")
    else:
        axes.set_yticklabels([])


def _corrupted(subject: Subject, name: str, number: int) -> np.ndarray:
    """Returns an image at all strengths, 0 first: uint8 `[6, 28, 28]`."""
    index = number % len(subject.split)
    image = subject.split.images[index : index + 1]
    shown = [image] + [
        corruptions.corrupt(image, name, strength, seed=subject.seed, first_index=index)
        for strength in _STRENGTHS[1:]
    ]
    return np.concatenate(shown)[..., 0]


def _draw_strip(axes: Axes, images: np.ndarray, largest: float = 255) -> None:
    image_grids.place_images(
        axes, images, len(images), gap=0.08, cmap=style.INK_MAP, vmin=0, vmax=largest
    )


def _draw_attacks(
    curve: Axes, strip: Axes, part: Mapping[str, Any], subject: Subject, chance: float
) -> None:
    epsilons = [0.0, *attacks.EPSILONS]
    for name, colour in zip(attacks.ATTACKS, (style.ORANGE, style.VERMILION), strict=True):
        rows = [row for row in part["rows"] if row["attack"] == name]
        _draw_curve(curve, epsilons, [part["clean"], *rows], colour, name.upper())
    title = f"adversarial (eps), {part['num_images']:,} images"
    _finish(curve, title, chance, is_first=False)
    curve.legend(loc="upper right")
    attacker, name = attacks.Attacker(subject.model), list(attacks.ATTACKS)[-1]
    image, label = subject.split.images[:1], subject.split.labels[:1]
    shown = [image / 255] + [
        attacker.attack(image, label, attacks.ATTACKS[name], epsilon, seed=subject.seed)
        for epsilon in attacks.EPSILONS
    ]
    _draw_strip(strip, np.concatenate(shown)[..., 0], 1)
