"""The table and the picture of docs/results.md, from the folders of studies.

    python docs/results.py studies/fast studies/quick

puts a row for each setting of each study into docs/results.json, in the place of the one of that
name. Of all that is there it makes the tables between the marks in docs/results.md, and
docs/images/results.png: accuracy against seconds of training, beside what others have published.
Without a folder it makes them anew. The studies are made by the commands that stand below the
table, with --ensemble.
"""

from __future__ import annotations

import json
import pathlib
import shlex
import string
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import marked_page
import published

RUNS_MARKS = "<!-- runs: docs/results.py -->\n", "<!-- end of runs -->\n"
ENSEMBLES_MARKS = "<!-- ensembles: docs/results.py -->\n", "<!-- end of ensembles -->\n"

ROWS = marked_page.DOCS / "results.json"
ALONE = marked_page.DOCS / "recipe_seconds.json"
SIZES = (1, 2, 5, 10)  # of the ensembles that are shown
# Flags that are in all commands, or change no result.
_SAY_NOTHING = ("recipe", "seeds", "dataset", "validation_size", "eval_every")
# What a row has of a setting of a study.json; the rest is of its folders.
_KEPT = ("seeds", "test", "num_parameters", "num_train", "train_seconds")


def rows(studies: Mapping[pathlib.Path, dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns what the tables show of each setting.

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
            shown = {"name": _name(study, setting), "command": study["command"]}
            shown |= {field: setting[field] for field in _KEPT}
            runs = folder / pathlib.Path(setting["folders"][0]).parent
            plain = _of_all_runs(runs / "ensemble", setting)
            found.append(shown | {"ensembles": _ensembles(plain)})
            for moved in sorted(runs.glob("ensemble-shift-*")):
                pixels = moved.name.rpartition("-")[2]
                of_moved = _of_all_runs(moved, setting)
                more = {
                    "name": f"{shown['name']}, moved by {pixels}",
                    "test_time_shift": int(pixels),
                    "command": f"{shown['command']} --ensemble --test_time_shift={pixels}",
                    "test": of_moved["alone"],
                    "ensembles": _ensembles(of_moved),
                }
                found.append(shown | more)
    return found


def _of_all_runs(folder: pathlib.Path, setting: dict[str, Any]) -> dict[str, Any]:
    """Returns what an ensemble has come to, if it is of all runs of a setting and no other."""
    members = json.loads((folder / "ensemble.json").read_text())["members"]
    names = [pathlib.Path(member["path"]).name for member in members]
    if names != [pathlib.Path(run).name for run in setting["folders"]]:
        raise ValueError(f"{folder}: is not of the seeds of the study; make it again")
    return json.loads((folder / "results.json").read_text())


def _ensembles(results: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"size": one["size"], "mean": one["mean"]} for one in results["sizes"]]


def with_rows(
    kept: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Returns rows of which some are new; the quickest first.

    A study replaces the rows of its name, also those of its images that were moved.
    """
    new = {row["name"] for row in found}
    others = [row for row in kept if row["name"].partition(", moved by ")[0] not in new]
    by_name = {row["name"]: row for row in (*others, *found)}
    return sorted(by_name.values(), key=lambda row: row["train_seconds"])


def table(found: Sequence[dict[str, Any]], alone: Mapping[str, float]) -> str:
    """Returns the table and the list of all seeds, in Markdown.

    Args:
      found: what `rows` returns.
      alone: seconds of a recipe where nothing else runs, from docs/recipe_seconds.json.
    """
    lines = [
        "| recipe | parameters | images | seeds | mean ± sd | 95 % interval | lowest | seconds "
        "| alone |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in found:
        test = row["test"]
        low, high = (_percent(value) for value in test["interval"])
        spread = _percent(test["standard_deviation"], 3)
        lines.append(
            f"| `{row['name']}` | {row['num_parameters']:,} | {row['num_train']:,} "
            f"| {len(row['seeds'])} | **{_percent(test['mean'], 3)}** ± {spread} "
            f"| {low} to {high} | {_percent(test['lowest'])} | {row['train_seconds']:.1f} "
            f"| {alone.get(row['name'], '')} |"
        )
    lines += ["", "The commands, and every seed's accuracy in order:", ""]
    for row in found:
        every = ", ".join(_percent(value) for value in row["test"]["accuracies"])
        lines.append(f"- `{row['command']}`: {every}")
    return "\n".join(lines) + "\n"


def ensemble_table(found: Sequence[dict[str, Any]], sizes: Sequence[int]) -> str:
    """Returns what several runs of a recipe give together, in Markdown.

    Args:
      found: what `rows` returns.
      sizes: how many runs; the last column is of all.
    """
    heads = ["runs of", *map(str, sizes), "all"]
    lines = [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(sizes) + 1)]
    for row in found:
        means = {one["size"]: _percent(one["mean"]) for one in row["ensembles"]}
        cells = [means.get(size, "") for size in sizes]
        cells.append(f"{means[max(means)]} ({max(means)} runs)")
        lines.append(f"| `{row['name']}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw(found: Sequence[dict[str, Any]], alone: Mapping[str, float], path: pathlib.Path) -> None:
    """Draws errors against seconds of training alone, both on logarithmic scales.

    Rows of images that are moved, too, are left out: they are of the same runs as others.
    """
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot, ticker

    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    for row in found:
        if row.get("test_time_shift"):
            continue
        test, seconds = row["test"], alone.get(row["name"], row["train_seconds"])
        errors = [100 - 100 * value for value in test["accuracies"]]
        axes.scatter([seconds] * len(errors), errors, s=8, color="C0", alpha=0.3)
        axes.scatter([seconds], [100 - 100 * test["mean"]], s=40, color="C0", zorder=3)
        axes.annotate(
            row["name"],
            (seconds, 100 - 100 * test["mean"]),
            xytext=(7, -11),
            textcoords="offset points",
        )
    for letter, one in zip(string.ascii_letters, published.PUBLISHED, strict=False):
        missed, color = 100 - one.accuracy, "C3" if one.chosen else "0.4"
        if one.seconds is None:
            axes.axhline(missed, color=color, linestyle="--", lw=1)
            axes.text(1, missed, one.what, transform=axes.get_yaxis_transform(), ha="right",
                      va="bottom", fontsize=8, color=color)  # fmt: skip
        else:
            axes.scatter([one.seconds], [missed], marker="x", s=30, color=color)
            axes.annotate(letter, (one.seconds, missed), xytext=(5, 3), color=color,
                          textcoords="offset points")  # fmt: skip
    axes.set(
        xscale="log", yscale="log", xlabel="seconds of training (blue: in steps, 2 cores, alone)"
    )
    axes.set_ylabel("test images missed, %")
    axes.margins(x=0.15, y=0.08)
    for axis, subs in ((axes.xaxis, (1, 3)), (axes.yaxis, (1, 2, 5))):
        axis.set_major_locator(ticker.LogLocator(subs=subs))
        axis.set_major_formatter(ticker.StrMethodFormatter("{x:,g}"))
        axis.set_minor_formatter(ticker.NullFormatter())
    axes.set_title("Each seed (small) and the mean over seeds (large), at the last step")
    figure.savefig(path, dpi=100)


def _name(study: dict[str, Any], setting: dict[str, Any]) -> str:
    flags = dict(
        part.removeprefix("--").partition("=")[::2]
        for part in shlex.split(study["command"])
        if part.startswith("--") and not part.startswith("--vary=")
    )
    parts = [flags.get("recipe") or setting["model"]]
    # A recipe of which something was changed is not a record of that recipe.
    parts += [f"{name}={value}" for name, value in flags.items() if name not in _SAY_NOTHING]
    return ", ".join(parts if len(study["settings"]) == 1 else [*parts, setting["setting"]])


def _percent(share: float, digits: int = 2) -> str:
    return f"{100 * share:.{digits}f}"


def seconds_alone() -> dict[str, float]:
    """Returns the seconds of each recipe that docs/recipe_seconds.py has timed."""
    timed = json.loads(ALONE.read_text())["recipes"]
    return {name: one["seconds"] for name, one in timed.items()}


def main(folders: Sequence[str]) -> None:
    """Writes the page and its picture."""
    paths = map(pathlib.Path, folders)
    new = rows({path: json.loads((path / "study.json").read_text()) for path in paths})
    found = with_rows(json.loads(ROWS.read_text()), new)
    ROWS.write_text(json.dumps(found, indent=1) + "\n")
    alone = seconds_alone()
    marked_page.replace_part("results.md", *RUNS_MARKS, table(found, alone))
    marked_page.replace_part("results.md", *ENSEMBLES_MARKS, ensemble_table(found, SIZES))
    marked_page.replace_part("results.md", *published.MARKS, published.table())
    draw(found, alone, marked_page.DOCS / "images" / "results.png")


if __name__ == "__main__":
    main(sys.argv[1:])
