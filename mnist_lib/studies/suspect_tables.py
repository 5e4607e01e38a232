"""Suspect labels for the terminal; in a pipe they are 80 columns wide at most."""

from __future__ import annotations

import rich.box
import rich.table
import rich.text

from mnist_lib.inspection import tables
from mnist_lib.studies.suspects import SuspectReport

_MOST_SHOWN = 20


def print_suspects(report: SuspectReport) -> None:
    """Prints the most suspect labels, and how many there are."""
    share = report.num_correct / report.num_images
    table = rich.table.Table(
        box=rich.box.SIMPLE_HEAD,
        title=rich.text.Text(f"{report.dataset} train: the most suspect labels"),
    )
    table.add_column("number", justify="right")
    for heading in ("label", "suggested"):
        table.add_column(heading)
    for heading in ("p(label)", "p(suggested)", "margin"):
        table.add_column(heading, justify="right")
    for suspect in report.suspects[:_MOST_SHOWN]:
        of_label, of_suggested = (
            suspect.probabilities[report.class_names.index(name)]
            for name in (suspect.label, suspect.suggested)
        )
        row = (
            *(str(suspect.number), suspect.label, suspect.suggested),
            *(f"{of_label:.4f}", f"{of_suggested:.4f}", f"{suspect.margin:.4f}"),
        )
        table.add_row(*map(rich.text.Text, row))
    tables.print_table(table)
    print(
        f"{len(report.suspects):,} of {report.num_images:,} labels are suspect to "
        f"{report.num_folds} networks, each of which was\n"
        f"asked about images that it was not trained on and predicts {share:.2%} as labelled.\n"
        "Numbers are those of the original files. Somebody has to look at the images."
    )
