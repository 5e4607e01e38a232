"""The tables and the picture of docs/robustness.md, from what runs have recorded.

    python docs/robustness.py runs/fast runs/cnn

puts the tables of those runs, a column each, between the two marks in docs/robustness.md, and
the first one's picture into docs/images/robustness.png. Each has been evaluated before, by
`mnist-lib evaluate --suite=all --workdir=runs/fast`.
"""

from __future__ import annotations

import json
import pathlib
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import marked_page

BEGIN, END = "<!-- tables: docs/robustness.py -->\n", "<!-- end of tables -->\n"


def tables(reports: dict[str, dict[str, Any]]) -> str:
    """Returns all tables in Markdown.

    Args:
      reports: what `robustness.json` holds, by the name of its run.
    """
    makers = {
        "corruptions": _corruptions,
        "alphabets": _alphabets,
        "adversarial": _adversarial,
        "calibration": _calibration,
    }
    parts = []
    for suite, make in makers.items():
        # An ensemble cannot be attacked; without validation images no temperature is fitted.
        tried = {name: report for name, report in reports.items() if suite in report}
        if tried:
            parts.append(make(tried))
    return "\n".join(parts)


def _corruptions(reports: dict) -> str:
    first = next(iter(reports.values()))["corruptions"]
    names = list(dict.fromkeys(row["corruption"] for row in first["rows"]))

    def cell(part: dict, name: str) -> str:
        values = [row["accuracy"] for row in part["rows"] if row["corruption"] == name]
        mean = sum(values) / len(values)
        return f"{_percent(mean)} ({_percent(values[0])} to {_percent(values[-1])})"

    rows: dict[str, Callable[[dict], str]] = {"none": lambda part: _interval(part["clean"])}
    for name in names:
        rows[name.replace("_", " ")] = lambda part, name=name: cell(part, name)
    rows["**mean**"] = lambda part: f"**{_percent(part['mean_accuracy'])}**"
    title = "Accuracy in %, mean over strengths (at strength 1 to at strength 5)"
    return _table(f"{title}, {_images(first)}", "corruption", reports, "corruptions", rows)


def _alphabets(reports: dict) -> str:
    first = next(iter(reports.values()))["alphabets"]

    def cell(part: dict, name: str) -> str:
        (row,) = [row for row in part["rows"] if row["unknown"] == name]
        low, high = row["auroc_interval"]
        false = _percent(row["false_positive_rate"])
        return f"{row['auroc']:.4f} ({low:.4f} to {high:.4f}), {false} %"

    rows = {
        row["unknown"].replace("_", " "): lambda part, name=row["unknown"]: cell(part, name)
        for row in first["rows"]
    }
    title = "AUROC of the confidence (95 % interval), and false positives at 95 % true ones"
    return _table(f"{title}, {_images(first)}", "unknown", reports, "alphabets", rows)


def _adversarial(reports: dict) -> str:
    first = next(iter(reports.values()))["adversarial"]

    def cell(part: dict, key: tuple) -> str:
        (row,) = [row for row in part["rows"] if (row["attack"], row["epsilon"]) == key]
        return _interval(row)

    rows = {
        f"{row['attack'].upper()}, eps {row['epsilon']:g}": (
            lambda part, key=(row["attack"], row["epsilon"]): cell(part, key)
        )
        for row in first["rows"]
    }
    title = "Accuracy in % under attack (95 % interval)"
    return _table(f"{title}, the first {_images(first)}", "attack", reports, "adversarial", rows)


def _calibration(reports: dict) -> str:
    first = next(iter(reports.values()))["calibration"]

    def error(part: dict, kind: str) -> str:
        return " → ".join(
            "{:.4f} ({:.4f} to {:.4f})".format(
                part[when][f"calibration_error_{kind}"],
                *part[when][f"calibration_error_{kind}_interval"],
            )
            for when in ("before", "after")
        )

    rows: dict[str, Callable[[dict], str]] = {
        "temperature": lambda part: f"{part['temperature']:.3f}",
        "calibration error, equal width": lambda part: error(part, "equal_width"),
        "calibration error, equal mass": lambda part: error(part, "equal_mass"),
        "negative log-likelihood": lambda part: " → ".join(
            f"{part[when]['negative_log_likelihood']:.4f}" for when in ("before", "after")
        ),
    }
    for number, row in enumerate(first["coverage"]):
        rows[f"accuracy of the surest {100 * row['coverage']:g} %"] = lambda part, number=number: (
            _interval(part["coverage"][number])
        )
    title = "Before → after the temperature (95 % interval)"
    return _table(f"{title}, {_images(first)}", "", reports, "calibration", rows)


def _table(
    title: str,
    corner: str,
    reports: dict[str, dict],
    suite: str,
    rows: dict[str, Callable[[dict], str]],
) -> str:
    lines = [f"{title}:\n", _line([corner, *reports]), _line(["---"] * (len(reports) + 1))]
    for name, cell in rows.items():
        lines.append(_line([name, *(cell(report[suite]) for report in reports.values())]))
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _images(part: dict) -> str:
    return f"{part['num_images']:,} {part['split']} images of {part['dataset']}"


def _interval(row: dict) -> str:
    low, high = row["interval"]
    return f"{_percent(row['accuracy'])} ({_percent(low)} to {_percent(high)})"


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _read(runs: Sequence[str]) -> Iterator[tuple[str, dict]]:
    for run in runs:
        yield pathlib.Path(run).name, json.loads(pathlib.Path(run, "robustness.json").read_text())


def main(runs: Sequence[str]) -> None:
    """Writes tables and picture; see the module."""
    if not runs:
        sys.exit("error: name the run directories; each has been evaluated with --suite=all")
    marked_page.replace_part("robustness.md", BEGIN, END, tables(dict(_read(runs))))
    picture = pathlib.Path(runs[0], "figures", "robustness.png")
    shutil.copyfile(picture, marked_page.DOCS / "images" / "robustness.png")


if __name__ == "__main__":
    main(sys.argv[1:])
