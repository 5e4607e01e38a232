"""The page and the chart that show what `suite.measure` returned."""

from __future__ import annotations

import os

from benchmarks import tables

_INTRODUCTION = """\
# Speed

Made by `{command}`{repeated}. {environment}
{notes}
Each contender trains the same network with Adam (1e-3, epsilon 1e-7) on the same images in
memory, in a process of its own, and they take turns. Times are of training steps alone, loss
included; the first step, with tracing, is apart. A ratio is the median over rounds of the ratio
of two times within one round, with the lowest and the highest. Each has to have learned as much
as the first, or there is no table.
"""


def markdown(report: dict, command: str, *, notes: str = "", chart: str | None = None) -> str:
    """Returns a report as a page.

    Args:
      report: what `suite.measure` returned.
      command: how it was made.
      notes: Markdown that stands near the top as it is; may be empty.
      chart: the address of the chart, relative to the page; None for none.
    """
    environment = describe_environment(report["environment"])
    if notes:
        notes = f"\n{notes.strip()}\n"
    repeated = "; `make bench` makes it again" if "--suite" in command.split() else ""
    parts = [
        _INTRODUCTION.format(
            command=command, repeated=repeated, environment=environment, notes=notes
        )
    ]
    if chart is not None:
        parts.append(f"![Time per step of each contender]({chart})\n")
    if "train" in report:
        parts.append(_contenders(report))
    for table in tables.tables(report):
        parts.append(section(table))
    return "\n".join(parts)


def write_chart(report: dict, path: str | os.PathLike[str]) -> None:
    """Draws the time per step of each contender relative to the first, as bars.

    Args:
      report: what `suite.measure` returned, with `train`.
      path: a file whose name ends as matplotlib knows it, such as `.png`.

    Raises:
      ImportError: matplotlib is not installed.
    """
    from matplotlib import figure

    comparisons = report["train"]
    names = list(comparisons[0]["results"])
    width = 0.8 / len(names)
    drawing = figure.Figure(figsize=(9, 4), layout="constrained")
    axes = drawing.add_subplot()
    for offset, name in enumerate(names):
        results = [comparison["results"][name] for comparison in comparisons]
        centers = [group + (offset + 0.5) * width - 0.4 for group in range(len(results))]
        medians = [result["slower_by"] for result in results]
        lows, highs = zip(*(result["slower_by_range"] for result in results), strict=True)
        spread = [
            [median - low for median, low in zip(medians, lows, strict=True)],
            [high - median for median, high in zip(medians, highs, strict=True)],
        ]
        axes.bar(centers, medians, width, yerr=spread, label=name, error_kw={"linewidth": 0.8})
    settings = [comparison["settings"] for comparison in comparisons]
    labels = [f"{one['model']}\nbatch {one['batch_size']}" for one in settings]
    axes.set_xticks(range(len(labels)), labels)
    axes.set_ylabel(f"time per step, {names[0]} = 1 (lower is better)")
    axes.axhline(1, color="black", linewidth=0.8)
    axes.legend(ncols=2)
    drawing.savefig(path, dpi=120)


def describe_environment(environment: dict) -> str:
    """Returns what `environment.describe` returned, in one sentence."""
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
    return (
        f"{environment['date']}, {environment['num_cores']} cores of {environment['processor']}, "
        f"{environment['system']}, Python {environment['python']}, {packages}."
    )


def _contenders(report: dict) -> str:
    results = report["train"][0]["results"]
    lines = [f"- `{name}`: {result['description']}" for name, result in results.items()]
    lines += [f"- `{name}` is left out: {reason}" for name, reason in report["left_out"].items()]
    return "\n".join(lines) + "\n"


def section(table: tables.Table) -> str:
    """Returns a table as Markdown, under its title."""
    headings = tuple(heading.replace("\n", " ") for heading in table.headings)
    rows = [headings, ("---",) + ("---:",) * (len(headings) - 1), *table.rows]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    note = f"\n{table.note}\n" if table.note else ""
    return f"## {table.title}\n\n" + "\n".join(lines) + "\n" + note
