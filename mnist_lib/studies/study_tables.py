"""A study for the terminal; in a pipe it is 80 columns wide at most."""

from __future__ import annotations

from mnist_lib.studies import result_tables
from mnist_lib.studies.study_results import SeedSample, StudyResults

_SETTING_COLUMNS = ("setting", "split", "runs", "mean", "sd", "95 % interval", "lowest", "seconds")
_DIFFERENCE_COLUMNS = ("first", "second", "split", "points", "95 % interval", "p", "Holm's p")


def print_study(results: StudyResults, title: str) -> None:
    """Prints mean, standard deviation and interval of each setting, and the paired tests."""
    rows = [
        [one.setting, split, *_cells(sample), f"{one.train_seconds:.1f}"]
        for one in results.settings
        for split, sample in (("validation", one.validation), ("test", one.test))
        if sample is not None
    ]
    result_tables.print_rows(title, _SETTING_COLUMNS, rows, num_text=1)
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
        result_tables.print_rows(heading, _DIFFERENCE_COLUMNS, rows, num_text=2)


def _cells(sample: SeedSample) -> list[str]:
    deviation = sample.standard_deviation
    return [
        str(len(sample.accuracies)),
        f"{sample.mean:.4f}",
        "-" if deviation is None else f"{deviation:.4f}",
        _interval(sample.interval, 1, ".4f"),
        f"{sample.lowest:.4f}",
    ]


def _interval(interval: tuple[float, float] | None, factor: int, form: str) -> str:
    if interval is None:
        return "-"
    return " to ".join(format(factor * end, form) for end in interval)
