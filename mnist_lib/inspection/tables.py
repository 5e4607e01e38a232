"""Tables for the terminal."""

from __future__ import annotations

import rich.console
import rich.table

from mnist_lib.training import metrics


def print_evaluation(title: str, result: metrics.EvalMetrics) -> None:
    """Prints the counts of an evaluation, per class and in total, to standard output."""
    names = result.class_names or tuple(map(str, range(len(result.confusion_matrix))))
    table = rich.table.Table(title=f"{title}: loss {result.loss:.4f}")
    for heading in ("class", "images", "correct", "incorrect", "accuracy"):
        table.add_column(heading, justify="right")
    for label, row in enumerate(result.confusion_matrix):
        _add_row(table, names[label], int(row.sum()), int(row[label]))
    table.add_section()
    _add_row(table, "all", result.num_examples, result.num_correct)
    rich.console.Console().print(table)


def _add_row(table: rich.table.Table, name: str, num_examples: int, num_correct: int) -> None:
    accuracy = f"{num_correct / num_examples:.4f}" if num_examples else "-"
    table.add_row(
        name, str(num_examples), str(num_correct), str(num_examples - num_correct), accuracy
    )
