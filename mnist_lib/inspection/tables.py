"""Tables for the terminal; in a pipe they are 80 columns wide at most."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping, Sequence

import rich.box
import rich.console
import rich.measure
import rich.table
import rich.text

from mnist_lib.inspection import statistics

if typing.TYPE_CHECKING:
    from mnist_lib.training import metrics

_LONGEST_HEADING = 4  # as wide as the counts
_RUN_COLUMNS = ("run", "data set", "model", "steps", "state", "valid.", "test", "seconds")
_NUM_TEXT_COLUMNS = 5
_EXPORT_COLUMNS = (
    *("format", "labels that differ", "largest difference", "accuracy"),
    *("bytes", "images/s, 1 thread"),
)
_MOST_HEADINGS = 10
_WIDTH = 80


def print_evaluation(title: str, result: metrics.EvalMetrics) -> None:
    """Prints the counts of an evaluation, and what was taken for what, to standard output.

    Of targets that are no classes, the metrics.
    """
    if not result.has_accuracy:
        values = result.values().items()
        shown = ", ".join(f"{tag} {value:.4f}" for tag, value in values if isinstance(value, float))
        print(f"{title}: {result.num_examples} images; {shown}")
        return
    names = result.names
    table = rich.table.Table(title=f"{title}: loss {result.loss:.4f}")
    for heading in ("class", "images", "correct", "incorrect", "accuracy"):
        table.add_column(heading, justify="right")
    for label, row in enumerate(result.confusion_matrix):
        _add_row(table, names[label], int(row.sum()), int(row[label]))
    table.add_section()
    _add_row(table, "all", result.num_examples, result.num_correct)
    table.caption = f"accuracy {_accuracy(result.num_correct, result.num_examples)}"
    print_table(table)
    if result.num_correct < result.num_examples:
        _print_confusions(result)


def _print_confusions(result: metrics.EvalMetrics) -> None:
    names = result.names
    has_short_names = max(map(len, names)) <= _LONGEST_HEADING
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, padding=0)
    table.add_column("label \\ prediction")
    for label, name in enumerate(names):
        heading = name if has_short_names else str(label)
        table.add_column(rich.text.Text(heading), justify="right", no_wrap=True)
    for label, counts in enumerate(result.confusion_matrix.tolist()):
        cells = [
            rich.text.Text(str(count or "."), style="red" if count and at != label else "")
            for at, count in enumerate(counts)
        ]
        name = names[label] if has_short_names else f"{label} {names[label]}"
        table.add_row(rich.text.Text(name), *cells)
    wide = rich.console.Console(width=10_000)  # what is measured fits the console
    needed = rich.measure.Measurement.get(wide, wide.options, table).minimum
    if needed <= rich.console.Console().width:
        print_table(table)
    else:
        print(f"--json has the confusion matrix of {len(names)} classes.\n")
    print("\n".join(result.describe_confusions()))


def print_results(run: str, results: Mapping, seconds: float, next_commands: Sequence[str]) -> None:
    """Prints what a run has come to, and what can be done next, to standard output.

    Args:
      run: the run directory.
      results: what `results.json` holds; what older versions left out is left out.
      seconds: what the command took, beside the training steps of all that went before.
      next_commands: command lines that make sense now, each whole on a line.
    """
    test, validation = results["test"], results["validation"]
    table = rich.table.Table(show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    table.add_row("run directory", run)
    table.add_row("data set", results["dataset"])
    model = results["model"]
    if "num_parameters" in results:
        model += f", {results['num_parameters']:,} parameters"
    table.add_row("model", model)
    table.add_section()
    right = f"{test['num_correct']} of {test['num_examples']} right"
    table.add_row("test images", right)
    table.add_row("test accuracy", _accuracy(test["num_correct"], test["num_examples"]))
    weakest = _weakest_classes(test.get("confusion_matrix", ()), results.get("class_names", ()))
    if weakest:
        table.add_row("weakest classes", weakest)
    if validation["accuracy"] is not None:
        table.add_row("validation accuracy", f"{validation['accuracy']:.4f}")
    table.add_section()
    train_seconds = results["timing"]["train_seconds"]
    table.add_row("seconds", f"{train_seconds:.1f} in training steps, {seconds:.1f} this command")
    print_table(table)
    print("Next:")
    for command in next_commands:
        print(f"  {command}")


def print_runs(rows: Sequence[Sequence[str]], title: str) -> None:
    """Prints a line per run to standard output.

    Args:
      rows: run, data set, model, steps, state, validation and test accuracy, seconds.
      title: what stands above them.
    """
    print_rows(title, _RUN_COLUMNS, rows, num_text=_NUM_TEXT_COLUMNS)


def print_exports(reports: Sequence[Mapping]) -> None:
    """Prints a line per export of a run, and where each is, to standard output.

    Args:
      reports: what `mnist_lib.export` returns, one at least, all of one run.
    """
    first = reports[0]
    title = f"{first['dataset']} {first['model']}, step {first['step']} ({first['checkpoint']})"
    table = rich.table.Table(title=rich.text.Text(title))
    for heading in _EXPORT_COLUMNS:
        table.add_column(heading, justify="left" if heading == "format" else "right")
    for report in reports:
        size = f"{report['bytes']:,}"
        if report["checked"]:
            cells = [
                f"{report['num_labels_that_differ']} of {report['num_images']}",
                f"{report['greatest_probability_difference']:.1e}",
                f"{report['accuracy']:.4f}",
                size,
                f"{report['images_per_second']:,.0f}",
            ]
        else:
            cells = ["not checked:", report["not_checked_because"], "", size, ""]
        table.add_row(report["format"], *cells)
    print_table(table)
    for report in reports:
        print(report["output"])


def print_predictions(predictions: Sequence, class_names: Sequence[str]) -> None:
    """Prints a line per image that was predicted to standard output.

    Args:
      predictions: with `file`, `index`, `label`, `probability`, `probabilities`, `digit_score`.
      class_names: one per probability; of short names all probabilities are shown, in percent.
    """
    has_short_names = max(map(len, class_names)) <= _LONGEST_HEADING
    shown = class_names if has_short_names and len(class_names) <= _MOST_HEADINGS else ()
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("file", overflow="fold")
    for heading in ("label", "prob.", *shown, "digit"):
        table.add_column(rich.text.Text(heading), justify="right", no_wrap=True)
    for one in predictions:
        name = one.file if one.index is None else f"{one.file} [{one.index}]"
        percents = [f"{100 * value:.0f}" for value in one.probabilities[: len(shown)]]
        cells = ["." if percent == "0" else percent for percent in percents]
        score = "-" if one.digit_score is None else f"{one.digit_score:.2f}"
        row = (name, one.label, f"{one.probability:.1%}", *cells, score)
        table.add_row(*map(rich.text.Text, row))
    table.caption = "Of each class the probability in percent; digit: how far it looks like one."
    print_table(table)


def _accuracy(num_correct: int, num_examples: int) -> str:
    low, high = statistics.accuracy_interval(num_correct, num_examples)
    return f"{num_correct / num_examples:.4f}, 95 % interval {low:.4f} to {high:.4f}"


def _weakest_classes(confusion_matrix: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    return "\n".join(
        f"{names[label] if names else label}: {num_correct} of {num_examples} right"
        for label, num_correct, num_examples in statistics.weakest_classes(confusion_matrix)
    )


def _add_row(table: rich.table.Table, name: str, num_examples: int, num_correct: int) -> None:
    accuracy = f"{num_correct / num_examples:.4f}" if num_examples else "-"
    table.add_row(
        name, str(num_examples), str(num_correct), str(num_examples - num_correct), accuracy
    )


def print_rows(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    caption: str = "",
    *,
    num_text: int = 1,
) -> None:
    """Prints a table; its first `num_text` columns are text and folded, the others numbers."""
    table = rich.table.Table(
        box=rich.box.SIMPLE_HEAD,
        padding=0,
        title=rich.text.Text(title),
        caption=rich.text.Text(caption),
        min_width=min(_WIDTH, max(len(title), len(caption))),
    )
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
    print_table(table)


def print_table(table: rich.table.Table) -> None:
    """Prints a table as text: what rich prints itself ends the process when a pipe is closed."""
    console = rich.console.Console()
    with console.capture() as captured:
        console.print(table)
    print(captured.get(), end="")
