"""The table and the picture of docs/results.md, from the folders of studies.

    python docs/results.py studies/fast studies/quick

puts a row for each setting of each study, and one for its ensembles, between the marks in
docs/results.md, and draws docs/images/results.png: accuracy against seconds of training, beside
what others have published. The studies are made by the commands that stand below the table, with
--ensemble.
"""

from __future__ import annotations

import json
import pathlib
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import marked_page

RUNS_MARKS = "<!-- runs: docs/results.py -->\n", "<!-- end of runs -->\n"
ENSEMBLES_MARKS = "<!-- ensembles: docs/results.py -->\n", "<!-- end of ensembles -->\n"

# What others have published, in % of the test images: what it is, and whether the epoch, or
# the networks, were chosen by the test images. They say no comparable seconds.
PUBLISHED = (
    ("An et al. 2020, best ensemble (chosen by test)", 99.91, True),
    ("the lecture's CNN", 98.99, False),
    ("the lecture's Softmax network", 97.86, False),
)


def rows(studies: Mapping[pathlib.Path, dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns what the tables show of each setting, the quickest first.

    Args:
      studies: what each `study.json` holds, by the folder of the study.

    Raises:
      ValueError: a study held images out for validation, or is not of MNIST: no record.
    """
    found = []
    for folder, study in studies.items():
        for setting in study["settings"]:
            if setting["validation"] is not None or study["dataset"] != "mnist":
                raise ValueError(
                    f"{study['command']}: records are of mnist with --validation_size=0"
                )
            ensemble = folder / pathlib.Path(setting["folders"][0]).parent / "ensemble"
            shown = {"name": _name(study, setting), "command": study["command"]}
            shown["ensemble"] = json.loads((ensemble / "results.json").read_text())
            found.append(setting | shown)
    return sorted(found, key=lambda row: row["train_seconds"])


def table(found: Sequence[dict[str, Any]]) -> str:
    """Returns the table and the list of all seeds, in Markdown."""
    lines = [
        "| recipe | parameters | images | seeds | mean ± sd | 95 % interval | lowest | seconds |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in found:
        test = row["test"]
        low, high = (_percent(value) for value in test["interval"])
        spread = _percent(test["standard_deviation"], 3)
        lines.append(
            f"| `{row['name']}` | {row['num_parameters']:,} | {row['num_train']:,} "
            f"| {len(row['seeds'])} | **{_percent(test['mean'], 3)}** ± {spread} "
            f"| {low} to {high} | {_percent(test['lowest'])} | {row['train_seconds']:.1f} |"
        )
    lines += ["", "The commands, and every seed's accuracy in order:", ""]
    for row in found:
        every = ", ".join(_percent(value) for value in row["test"]["accuracies"])
        lines.append(f"- `{row['command']}`: {every}")
    return "\n".join(lines) + "\n"


def ensemble_table(found: Sequence[dict[str, Any]], sizes: Sequence[int]) -> str:
    """Returns what several runs of a recipe give together, in Markdown.

    Args:
      found: what `rows` returns; `ensemble` of each is what its ensemble's `results.json` holds.
      sizes: how many runs; the last column is of all.
    """
    heads = ["runs of", *map(str, sizes), "all"]
    lines = [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(sizes) + 1)]
    for row in found:
        means = {one["size"]: _percent(one["mean"]) for one in row["ensemble"]["sizes"]}
        cells = [means.get(size, "") for size in sizes]
        cells.append(f"{means[max(means)]} ({max(means)} runs)")
        lines.append(f"| `{row['name']}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw(found: Sequence[dict[str, Any]], path: pathlib.Path) -> None:
    """Draws errors against seconds of training, both on logarithmic scales."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot, ticker

    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    for row in found:
        test, seconds = row["test"], row["train_seconds"]
        errors = [100 - 100 * value for value in test["accuracies"]]
        axes.scatter([seconds] * len(errors), errors, s=8, color="C0", alpha=0.3)
        axes.scatter([seconds], [100 - 100 * test["mean"]], s=40, color="C0", zorder=3)
        axes.annotate(
            row["name"],
            (seconds, 100 - 100 * test["mean"]),
            xytext=(8, 2),
            textcoords="offset points",
        )
    for what, accuracy, is_chosen in PUBLISHED:
        axes.axhline(100 - accuracy, color="C3" if is_chosen else "0.5", linestyle="--", lw=1)
        axes.text(1, 100 - accuracy, what, transform=axes.get_yaxis_transform(), ha="right",
                  va="bottom", fontsize=8, color="C3" if is_chosen else "0.3")  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="seconds in training steps, 2 cores")
    axes.set_ylabel("test images missed, %")
    axes.margins(x=0.15)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(ticker.NullFormatter())
    axes.set_title("Each seed (small) and the mean over seeds (large), at the last step")
    figure.savefig(path, dpi=100)


def _name(study: dict[str, Any], setting: dict[str, Any]) -> str:
    asked = [part for part in shlex.split(study["command"]) if part.startswith("--recipe=")]
    recipe = asked[0].partition("=")[2] if asked else setting["model"]
    return recipe if len(study["settings"]) == 1 else f"{recipe}, {setting['setting']}"


def _percent(share: float, digits: int = 2) -> str:
    return f"{100 * share:.{digits}f}"


def main(folders: Sequence[str]) -> None:
    """Writes the page and its picture."""
    paths = map(pathlib.Path, folders)
    found = rows({path: json.loads((path / "study.json").read_text()) for path in paths})
    marked_page.replace_part("results.md", *RUNS_MARKS, table(found))
    marked_page.replace_part("results.md", *ENSEMBLES_MARKS, ensemble_table(found, (1, 2, 5, 10)))
    draw(found, marked_page.DOCS / "images" / "results.png")


if __name__ == "__main__":
    main(sys.argv[1:])
