"""Suspect labels for the terminal; in a pipe they are 80 columns wide at most."""

from __future__ import annotations

from mnist_lib.inspection import tables
from mnist_lib.studies.suspects import SuspectReport

_MOST_SHOWN = 20
_COLUMNS = ("number", "label", "suggested", "p(label)", "p(suggested)", "margin")


def print_suspects(report: SuspectReport) -> None:
    """Prints the most suspect labels, and how many there are."""
    share = report.num_correct / report.num_images
    rows = []
    for suspect in report.suspects[:_MOST_SHOWN]:
        of_label, of_suggested = (
            suspect.probabilities[report.class_names.index(name)]
            for name in (suspect.label, suspect.suggested)
        )
        rows.append(
            [
                *(str(suspect.number), suspect.label, suspect.suggested),
                *(f"{of_label:.4f}", f"{of_suggested:.4f}", f"{suspect.margin:.4f}"),
            ]
        )
    heading = f"{report.dataset} train: the most suspect labels"
    tables.print_rows(heading, _COLUMNS, rows, num_text=0)
    numbers = (
        "those of the original files"
        if report.has_original_numbers
        else ("positions in the training images and, behind them, those held out")
    )
    print(
        f"{len(report.suspects):,} of {report.num_images:,} labels are suspect to "
        f"{report.num_folds} networks, each of which was\n"
        f"asked about images that it was not trained on and predicts {share:.2%} as labelled.\n"
        f"Numbers are {numbers}.\nSomebody has to look at the images."
    )
