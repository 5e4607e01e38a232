"""Comparisons for the terminal; in a pipe they are 80 columns wide at most."""

from __future__ import annotations

import textwrap

from mnist_lib.inspection import tables
from mnist_lib.studies.comparison import RunComparison

_RUN_COLUMNS = (
    *("run", "accuracy", "95 % interval", "undisputed"),
    *("loss", "calib.", "seconds", "params"),
)
_PAIR_COLUMNS = ("first", "second", "only first", "only second", "difference", "p", "Holm's p")


def print_comparison(comparison: RunComparison) -> None:
    """Prints what runs come to, what differs between them, and the tests of their pairs."""
    has_undisputed = any(run.undisputed for run in comparison.runs)
    columns = [name for name in _RUN_COLUMNS if has_undisputed or name != "undisputed"]
    count = comparison.runs[0].all_images.num_examples
    title = f"{comparison.dataset} {comparison.split}, {count} images"
    rows = []
    for run in comparison.runs:
        low, high = run.all_images.interval
        rows.append(
            [
                run.name,
                f"{run.all_images.accuracy:.4f}",
                f"{low:.4f}-{high:.4f}",
                *([f"{run.undisputed.accuracy:.4f}"] if run.undisputed else []),
                f"{run.loss:.4f}",
                f"{run.calibration_error:.4f}",
                "-" if run.train_seconds is None else f"{run.train_seconds:.1f}",
                "-" if run.num_parameters is None else f"{run.num_parameters:,}",
            ]
        )
    tables.print_rows(title, columns, rows, num_text=1)
    _print_disputes(comparison)
    _print_settings(comparison)
    pairs = [
        [
            *(pair.first, pair.second, str(pair.num_only_first), str(pair.num_only_second)),
            f"{100 * pair.difference:+.2f}",
            *(f"{value:.2g}" for value in (pair.p_value, pair.corrected_p_value)),
        ]
        for pair in comparison.pairs
    ]
    heading = "McNemar's exact test, on images that one of two gets right"
    tables.print_rows(heading, _PAIR_COLUMNS, pairs, num_text=2)
    print(
        "Differences are in points. These networks are what is tested; whether a setting\n"
        "is better takes several seeds."
    )


def _print_disputes(comparison: RunComparison) -> None:
    disputing = [run for run in comparison.runs if run.undisputed is not None]
    if not disputing:
        return
    first = disputing[0]
    assert first.undisputed is not None
    count = first.all_images.num_examples - first.undisputed.num_examples
    said = ", ".join(f"{run.name} {run.num_disputes}" for run in disputing)
    text = f"Predicted otherwise of the {count} images whose label people dispute: {said}."
    print(textwrap.fill(text, 80) + "\n")


def _print_settings(comparison: RunComparison) -> None:
    names = [run.name for run in comparison.runs]
    fields = list(comparison.runs[0].settings)
    if not fields:
        print("Their configurations are the same.\n")
        return
    rows = [[name, *(_shown(run.settings[name]) for run in comparison.runs)] for name in fields]
    heading = "What differs in their configurations"
    tables.print_rows(heading, ["field", *names], rows, num_text=len(names) + 1)


def _shown(value: object) -> str:
    return "-" if value is None else str(value)
