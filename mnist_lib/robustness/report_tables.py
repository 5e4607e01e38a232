"""What a run is worth on other images, for the terminal; in a pipe 80 columns wide at most."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mnist_lib.inspection import tables

_Part = Mapping[str, Any]


def print_report(report: Mapping[str, _Part]) -> None:
    """Prints what `suites.evaluate_robustness` returns to standard output, a table a suite."""
    for name, part in report.items():
        images = f"{part['dataset']} {part['split']}, {part['num_images']} images"
        PRINT[name](part, images)


def _print_corruptions(part: _Part, images: str) -> None:
    strengths = sorted({row["strength"] for row in part["rows"]})
    accuracy = {(row["corruption"], row["strength"]): row["accuracy"] for row in part["rows"]}
    names = list(dict.fromkeys(row["corruption"] for row in part["rows"]))
    rows = [
        _with_mean(name.replace("_", " "), [accuracy[name, strength] for strength in strengths])
        for name in names
    ]
    means = [sum(accuracy[name, strength] for name in names) / len(names) for strength in strengths]
    rows.append(_with_mean("mean", means))
    low, high = part["clean"]["interval"]
    tables.print_rows(
        f"{images}: accuracy in % at each strength",
        ["corruption", *map(str, strengths), "mean"],
        rows,
        f"without corruption {_percent(part['clean']['accuracy'])}, "
        f"95 % interval {_percent(low)} to {_percent(high)}",
    )


def _with_mean(name: str, accuracies: Sequence[float]) -> list[str]:
    mean = sum(accuracies) / len(accuracies)
    return [name, *map(_percent, accuracies), _percent(mean)]


def _print_alphabets(part: _Part, images: str) -> None:
    rows = [
        [
            *(row["unknown"].replace("_", " "), str(row["num_unknown"])),
            f"{row['auroc']:.4f}",
            "{:.4f}-{:.4f}".format(*row["auroc_interval"]),
            _percent(row["false_positive_rate"]),
            _percent(row["mean_confidence"]),
        ]
        for row in part["rows"]
    ]
    tables.print_rows(
        f"{images}: how far their confidence is above that of others",
        ["unknown", "images", "AUROC", "95 % interval", "FPR %", "conf. %"],
        rows,
        "FPR: unknown images as sure as 95 % of the known ones; mean confidence of the known "
        f"{_percent(part['known']['mean_confidence'])} %",
    )
    for name, why in part["skipped"].items():
        print(f"{name}: {why}")


def _print_adversarial(part: _Part, images: str) -> None:
    rows = [
        [
            *(row["attack"].upper(), f"{row['epsilon']:g}", str(row["num_steps"])),
            f"{row['step_size']:g}",
            _percent(row["accuracy"]),
            "{}-{}".format(*map(_percent, row["interval"])),
        ]
        for row in part["rows"]
    ]
    tables.print_rows(
        f"{images}: accuracy in % under attack",
        ["attack", "eps", "steps", "step size", "accuracy", "95 % interval"],
        rows,
        f"eps and step size in parts of a pixel's range; without attack "
        f"{_percent(part['clean']['accuracy'])}",
    )


def _print_calibration(part: _Part, images: str) -> None:
    rows = []
    for title, key in (
        ("negative log-likelihood", "negative_log_likelihood"),
        ("mean confidence", "mean_confidence"),
        ("calibration error, equal width", "calibration_error_equal_width"),
        ("calibration error, equal mass", "calibration_error_equal_mass"),
    ):
        cells = []
        for when in ("before", "after"):
            interval = part[when].get(f"{key}_interval")
            cells.append(f"{part[when][key]:.4f}")
            cells.append("{:.4f}-{:.4f}".format(*interval) if interval else "")
        rows.append([title, *cells])
    fitted = f"temperature {part['temperature']:.3f}, fitted on {part['num_validation']} others"
    tables.print_rows(
        f"{images}: {fitted}",
        ["", "before", "95 % interval", "after", "95 % interval"],
        rows,
    )
    tables.print_rows(
        f"{images}: accuracy in % of the surest, at that temperature",
        ["coverage %", "images", "right", "accuracy", "95 % interval", "confidence from"],
        [
            [
                f"{100 * row['coverage']:g}",
                *map(str, (row["num_examples"], row["num_correct"])),
                _percent(row["accuracy"]),
                "{}-{}".format(*map(_percent, row["interval"])),
                f"{row['least_confidence']:.4f}",
            ]
            for row in part["coverage"]
        ],
    )


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


PRINT: dict[str, Callable[[_Part, str], None]] = {
    "calibration": _print_calibration,
    "corruptions": _print_corruptions,
    "alphabets": _print_alphabets,
    "adversarial": _print_adversarial,
}
