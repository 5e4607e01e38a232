"""A study for the terminal; in a pipe it is 80 columns wide at most."""

from __future__ import annotations

import typing

from mnist_lib.inspection import tables
from mnist_lib.studies.study_results import SeedSample, StudyResults

if typing.TYPE_CHECKING:  # with it comes TensorFlow
    from mnist_lib.studies.ensemble import EnsembleResult

_SETTING_COLUMNS = ("setting", "split", "runs", "mean", "sd", "95 % interval", "lowest", "seconds")
_SIZE_COLUMNS = ("runs", "choices", "mean", "sd", "lowest")
_DIFFERENCE_COLUMNS = ("first", "second", "split", "points", "95 % interval", "p", "Holm's p")


def print_study(results: StudyResults, title: str) -> None:
    """Prints mean, standard deviation and interval of each setting, and the paired tests."""
    rows = [
        [one.setting, split, *_cells(sample), f"{one.train_seconds:.1f}"]
        for one in results.settings
        for split, sample in (("validation", one.validation), ("test", one.test))
        if sample is not None
    ]
    tables.print_rows(title, _SETTING_COLUMNS, rows, num_text=1)
    rows = [
        [
            *(one.first, one.second, one.split, f"{100 * one.difference:+.3f}"),
            _interval(one.interval, 100, "+.3f"),
            *("-" if p is None else f"{p:.2g}" for p in (one.p_value, one.corrected_p_value)),
        ]
        for one in results.differences
    ]
    if rows:
        heading = "Paired t-tests over the same seeds, differences in points"
        tables.print_rows(heading, _DIFFERENCE_COLUMNS, rows, num_text=2)


def _cells(sample: SeedSample) -> list[str]:
    deviation = sample.standard_deviation
    return [
        str(len(sample.accuracies)),
        f"{sample.mean:.5f}",
        "-" if deviation is None else f"{deviation:.5f}",
        _interval(sample.interval, 1, ".4f"),
        f"{sample.lowest:.4f}",
    ]


def _interval(interval: tuple[float, float] | None, factor: int, form: str) -> str:
    if interval is None:
        return "-"
    return " to ".join(format(factor * end, form) for end in interval)


def print_ensemble(result: EnsembleResult) -> None:
    """Prints what an ensemble of all runs comes to, and what fewer of them give."""
    rows = [
        [
            str(one.size),
            f"{one.num_choices}{'' if one.is_complete else ' drawn'}",
            f"{one.mean:.5f}",
            "-" if one.standard_deviation is None else f"{one.standard_deviation:.5f}",
            f"{one.lowest:.4f}",
        ]
        for one in result.sizes
    ]
    title = f"Ensembles of {result.setting}: test accuracy over the choice of runs"
    if result.test_time_shift:
        title += f"; images moved by {result.test_time_shift}, too"
    tables.print_rows(title, _SIZE_COLUMNS, rows, num_text=0)
    print(
        f"{result.path}: {result.num_correct} of {result.num_examples} test images right, "
        f"loss {result.loss:.4f}\n"
    )
