"""Comparisons for the terminal; in a pipe they are 80 columns wide at most."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

import rich.box
import rich.table
import rich.text

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
    print_rows(title, columns, rows, num_text=1)
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
    print_rows(
        "McNemar's exact test, on images that one of two gets right", _PAIR_COLUMNS, pairs, 2
    )
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
    print_rows("What differs in their configurations", ["field", *names], rows, len(names) + 1)


def _shown(value: object) -> str:
    return "-" if value is None else str(value)


def print_rows(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], num_text: int
) -> None:
    """Prints a table whose first `num_text` columns are text, which is folded."""
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, padding=0, title=rich.text.Text(title))
    for number, heading in enumerate(columns):
        is_text = number < num_text
        table.add_column(
            rich.text.Text(heading),
            justify="left" if is_text else "right",
            overflow="fold",
            no_wrap=not is_text,
        )
    for row in rows:
        table.add_row(*map(rich.text.Text, row))
    tables.print_table(table)
