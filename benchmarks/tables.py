"""What `suite.measure` returned, as tables for the terminal and for Markdown."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from benchmarks import load

_BUSY_WARNING = (
    "The machine was busy: the ratios are not to be trusted, least those of PyTorch, whose threads "
    "wait for each other in every operation."
)


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
      title: what it shows.
      headings: one per column; a line may end within one.
      rows: texts, as many in each as there are headings.
      note: what the numbers mean; may be empty.
    """

    title: str
    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""


def tables(report: dict) -> list[Table]:
    """Returns a table for everything that the report holds."""
    result = [_comparison(comparison) for comparison in report.get("train", [])]
    if "time_to_accuracy" in report:
        result.append(_time_to_accuracy(report["time_to_accuracy"]))
    if "overhead" in report:
        result.append(_overhead(report["overhead"]))
    result += [_summaries(summaries) for summaries in report.get("summaries", [])]
    if "startup" in report:
        result.append(_startup(report["startup"]))
    result += [_settings(settings) for settings in report.get("settings", [])]
    if "input" in report:
        result.append(_input(report["input"]))
    return result


def _comparison(report: dict) -> Table:
    first = next(iter(report["results"]))
    rows = [
        (
            name,
            f"{result['milliseconds_per_step']:.2f}",
            f"{result['images_per_second']:,.0f}",
            _factor(result["slower_by"], result["slower_by_range"]),
            f"{result['first_step_seconds']:.1f}",
            f"{result['peak_memory_mb']:.0f}",
            f"{result['loss']:.3f}",
        )
        for name, result in report["results"].items()
    ]
    headings = ("contender", "ms/step", "images/s", f"time,\n{first} = 1", "first\nstep, s", "MB")
    return Table(_title(report), (*headings, "loss"), rows, _load_note(report))


def _settings(report: dict) -> Table:
    rows = [
        (
            name,
            f"{result['milliseconds_per_step']:.2f}",
            _factor(result["slower_by"], result["slower_by_range"]),
            f"{result['peak_memory_mb']:.0f}",
        )
        for name, result in report["results"].items()
    ]
    title = f"Settings of the process: {_title(report)}"
    headings = ("setting", "ms/step", "time, as the\nscripts = 1", "MB")
    return Table(title, headings, rows, _load_note(report))


def _title(report: dict) -> str:
    settings = report["settings"]
    return f"{settings['model']}, batch {settings['batch_size']} ({settings['dataset']})"


def _load_note(report: dict) -> str:
    settings = report["settings"]
    others = max(result["others_cores"] for result in report["results"].values())
    note = (
        f"{settings['num_rounds']} rounds of {settings['steps_per_round']} steps; other processes "
        f"kept at most {others:.1f} cores busy. MB: the largest resident set."
    )
    return note if others <= load.QUIET_CORES else f"{note} {_BUSY_WARNING}"


def _factor(median: float, limits: list[float]) -> str:
    return f"{median:.2f} ({limits[0]:.2f} to {limits[1]:.2f})"


def _time_to_accuracy(report: dict) -> Table:
    rows = []
    for name, result in report["results"].items():
        runs = result["runs"]
        epochs = sorted({run["epochs"] for run in runs})
        accuracies = [run["accuracy"] for run in runs]
        reached = result["seconds"] is not None
        rows.append(
            (
                name,
                f"{result['seconds']:.1f}" if reached else "not reached",
                " to ".join(map(str, sorted({epochs[0], epochs[-1]}))),
                f"{min(accuracies):.2%}",
                f"{result['slower_by']:.2f}" if result["slower_by"] is not None else "-",
            )
        )
    first = next(iter(report["results"]))
    return Table(
        f"Training until {report['target']:.0%} of the validation images ({report['dataset']})",
        ("contender", "seconds", "epochs", "accuracy", "time,\nthe first = 1"),
        rows,
        f"Seconds of training steps, tracing included and evaluation not. The first: {first}.",
    )


def _overhead(report: dict) -> Table:
    parts = ("validation", "checkpoints", "summaries", "other")
    rows = [
        (
            str(number),
            f"{epoch['train_seconds']:.1f}",
            *(f"{epoch[part]:.2f}" for part in parts),
            f"{epoch['overhead']:.1%}",
        )
        for number, epoch in enumerate(report["epochs"], 1)
    ]
    return Table(
        f"Overhead in train_and_evaluate: {report['model']} ({report['dataset']}), all defaults",
        ("epoch", "training,\ns", *(f"{part},\ns" for part in parts), "overhead"),
        rows,
        "Overhead: all that is not training, relative to training. The validation is traced in "
        "the first epoch.",
    )


def _summaries(report: dict) -> Table:
    rows = [
        (
            f"--summaries={level}",
            f"{result['loop_seconds']:.2f}",
            f"{result['slower_by']:.3f}",
            f"{result['end_seconds']:.1f}",
            f"{result['event_bytes'] / 1e6:.2f}",
        )
        for level, result in report["levels"].items()
    ]
    return Table(
        f"Cost of summaries: {_run_of(report)} ({report['dataset']})",
        ("level", "loop,\ns", "loop,\nnone = 1", "end,\ns", "event files,\nMB"),
        rows,
        f"Medians of {report['num_rounds']} runs each, in turn. The loop: from the first step to "
        "the test, with validation and checkpoints. The end: the test, and what is drawn.",
    )


def _run_of(report: dict) -> str:
    epochs = "" if report["epochs"] is None else f" --epochs={report['epochs']}"
    return f"--recipe={report['recipe']}{epochs}"


def _startup(report: dict) -> Table:
    short = {
        "python -c 'import tensorflow'": report["import_tensorflow"],
        "scripts/train.py --help": report["help"],
    }
    rows: list[tuple[str, ...]] = [
        (command, f"{result['seconds']:.1f}", "-", "-", f"{result['peak_memory_mb']:.0f}")
        for command, result in short.items()
    ]
    for name, result in report["runs"].items():
        numbers = (result[key] for key in ("seconds", "train_seconds", "outside_seconds"))
        memory = f"{result['peak_memory_mb']:.0f}"
        texts = [f"{number:.1f}" for number in numbers]
        rows.append((f"scripts/train.py --recipe={name}", *texts, memory))
    return Table(
        "Whole commands",
        ("command", "seconds", "training, s", "all else, s", "MB"),
        rows,
        "Medians of several; the files that they read had been read before. MB: the largest "
        "resident set.",
    )


def _input(report: dict) -> Table:
    rows = [
        ("load_dataset, s", f"{report['load_seconds']:.2f}"),
        ("load_dataset and the first batch, s", f"{report['first_batch_seconds']:.2f}"),
        ("peak memory, MB", f"{report['peak_memory_mb']:.0f}"),
        *(
            (f"batch of indices out of {int(count):,}, microseconds", f"{value:.0f}")
            for count, value in report["index_batch_microseconds"].items()
        ),
    ]
    return Table(f"Input ({report['dataset']})", ("what", "cost"), rows)
