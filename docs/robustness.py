"""The tables and the picture of docs/robustness.md, from what runs have recorded.

    python docs/robustness.py runs/fast cnn=runs/of-mine/seed-0

puts what those runs have recorded into docs/robustness.json, a column each in the place of the one
of that name (of its folder, unless another is given), and all that is there into the tables between
the two marks in docs/robustness.md. The picture of the first column's run becomes
docs/images/robustness.png. Each run has been evaluated before, by
`mnist-lib evaluate --suite=all --workdir=runs/fast`.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import marked_page

BEGIN, END = "<!-- tables: docs/robustness.py -->\n", "<!-- end of tables -->\n"
# By suite and run: `images`, which it was tried on, and `cells`, by row.
Columns = dict[str, dict[str, dict[str, Any]]]


@dataclasses.dataclass(frozen=True)
class _Suite:
    """A table: how its title begins, before the images, and the heading of its rows."""

    title: str
    corner: str


SUITES = {
    "corruptions": _Suite(
        "Accuracy in %, mean over strengths (at strength 1 to at strength 5),", "corruption"
    ),
    "alphabets": _Suite(
        "AUROC of the confidence (95 % interval), and false positives at 95 % true ones,", "unknown"
    ),
    "adversarial": _Suite("Accuracy in % under attack (95 % interval), the first", "attack"),
    "calibration": _Suite("Before → after the temperature (95 % interval),", ""),
}


def with_column(kept: Columns, run: str, report: Mapping[str, Any]) -> Columns:
    """Returns the columns of all suites with that of a run, new or in the place of its old one.

    Args:
      kept: those of other runs, and what the run's was.
      run: its name.
      report: what its `robustness.json` holds. An ensemble cannot be attacked, and without
        validation images no temperature is fitted: it has no column there.
    """
    makers = {
        "corruptions": _corruptions,
        "alphabets": _alphabets,
        "adversarial": _adversarial,
        "calibration": _calibration,
    }
    columns = {suite: dict(kept.get(suite, {})) for suite in makers}
    for suite, make in makers.items():
        if suite not in report:
            columns[suite].pop(run, None)
            continue
        part = report[suite]
        images = f"{part['num_images']:,} {part['split']} images of {part['dataset']}"
        columns[suite][run] = {"images": images, "cells": make(part)}
    return columns


def tables(columns: Columns) -> str:
    """Returns all tables in Markdown."""
    return "\n".join(
        _table(suite, columns[name]) for name, suite in SUITES.items() if columns.get(name)
    )


def _corruptions(part: dict) -> dict[str, str]:
    cells = {"none": _interval(part["clean"])}
    for name in dict.fromkeys(row["corruption"] for row in part["rows"]):
        values = [row["accuracy"] for row in part["rows"] if row["corruption"] == name]
        mean = sum(values) / len(values)
        ends = f"{_percent(values[0])} to {_percent(values[-1])}"
        cells[name.replace("_", " ")] = f"{_percent(mean)} ({ends})"
    return cells | {"**mean**": f"**{_percent(part['mean_accuracy'])}**"}


def _alphabets(part: dict) -> dict[str, str]:
    cells = {}
    for row in part["rows"]:
        low, high = row["auroc_interval"]
        false = _percent(row["false_positive_rate"])
        unknown = row["unknown"].replace("_", " ")
        cells[unknown] = f"{row['auroc']:.4f} ({low:.4f} to {high:.4f}), {false} %"
    return cells


def _adversarial(part: dict) -> dict[str, str]:
    return {
        f"{row['attack'].upper()}, eps {row['epsilon']:g}": _interval(row) for row in part["rows"]
    }


def _calibration(part: dict) -> dict[str, str]:
    def error(kind: str) -> str:
        return " → ".join(
            "{:.4f} ({:.4f} to {:.4f})".format(
                part[when][f"calibration_error_{kind}"],
                *part[when][f"calibration_error_{kind}_interval"],
            )
            for when in ("before", "after")
        )

    likelihoods = [part[when]["negative_log_likelihood"] for when in ("before", "after")]
    return {
        "temperature": f"{part['temperature']:.3f}",
        "calibration error, equal width": error("equal_width"),
        "calibration error, equal mass": error("equal_mass"),
        "negative log-likelihood": " → ".join(f"{value:.4f}" for value in likelihoods),
    } | {
        f"accuracy of the surest {100 * row['coverage']:g} %": _interval(row)
        for row in part["coverage"]
    }


def _table(suite: _Suite, columns: Mapping[str, Mapping[str, Any]]) -> str:
    images = dict.fromkeys(column["images"] for column in columns.values())
    heads = list(columns)
    if len(images) > 1:  # each head says which
        heads = [f"{name}, {column['images']}" for name, column in columns.items()]
    rows = dict.fromkeys(row for column in columns.values() for row in column["cells"])
    lines = [
        f"{suite.title} {'; '.join(images)}:\n",
        _line([suite.corner, *heads]),
        _line(["---"] * (len(columns) + 1)),
    ]
    for row in rows:
        cells = (column["cells"].get(row, "") for column in columns.values())
        lines.append(_line([row, *cells]))
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _interval(row: dict) -> str:
    low, high = row["interval"]
    return f"{_percent(row['accuracy'])} ({_percent(low)} to {_percent(high)})"


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _named(runs: Sequence[str]) -> dict[str, pathlib.Path]:
    """Returns the folders by the names of their columns."""
    named: dict[str, pathlib.Path] = {}
    for run in runs:
        name, _, folder = ("", "", run) if pathlib.Path(run).exists() else run.partition("=")
        name = name or pathlib.Path(folder).absolute().name
        if name in named:
            sys.exit(f"error: two columns would be called {name}; pass one as OTHER_NAME={folder}")
        named[name] = pathlib.Path(folder)
    return named


def main(runs: Sequence[str]) -> None:
    """Writes tables and picture; see the module."""
    if not runs:
        sys.exit("error: name the run directories; each has been evaluated with --suite=all")
    store = marked_page.DOCS / "robustness.json"
    columns = json.loads(store.read_text())
    named = _named(runs)
    for name, folder in named.items():
        report = json.loads((folder / "robustness.json").read_text())
        columns = with_column(columns, name, report)
    store.write_text(json.dumps(columns, indent=1, ensure_ascii=False) + "\n")
    marked_page.replace_part("robustness.md", BEGIN, END, tables(columns))
    first = next(iter(columns["corruptions"]), None)
    if first in named:
        picture = named[first] / "figures" / "robustness.png"
        shutil.copyfile(picture, marked_page.DOCS / "images" / "robustness.png")


if __name__ == "__main__":
    main(sys.argv[1:])
