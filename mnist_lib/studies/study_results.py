"""What the runs of a study say together: means over seeds, and differences over the same seeds."""

from __future__ import annotations

import dataclasses
import itertools
import statistics as standard_statistics
from collections.abc import Mapping, Sequence
from typing import Any

from mnist_lib import errors
from mnist_lib.inspection import statistics
from mnist_lib.runs import run_directory
from mnist_lib.studies.plan import PlannedRun

SPLITS = ("validation", "test")


@dataclasses.dataclass(frozen=True)
class SeedSample:
    """An accuracy over seeds.

    Attributes:
      accuracies: of each seed, in [0, 1].
      mean: their mean.
      lowest: the lowest of them.
      standard_deviation: over seeds, with n - 1; None for one seed.
      interval: Student's 95 % interval of the mean over seeds; None for one seed.
    """

    accuracies: tuple[float, ...]
    mean: float
    lowest: float
    standard_deviation: float | None
    interval: tuple[float, float] | None


@dataclasses.dataclass(frozen=True)
class SettingResult:
    """What a setting comes to.

    Attributes:
      setting: as in `PlannedRun`.
      seeds: those of its runs.
      folders: of its runs, below that of the study.
      validation, test: its accuracies; validation is None where nothing is held out.
      model: its name.
      num_parameters: trainable and other weights of the model.
      num_train: images trained on.
      train_seconds, startup_seconds: spent in training steps, and before the first one, each
        the mean over its runs.
    """

    setting: str
    seeds: tuple[int, ...]
    folders: tuple[str, ...]
    validation: SeedSample | None
    test: SeedSample
    model: str
    num_parameters: int | None
    num_train: int
    train_seconds: float
    startup_seconds: float


@dataclasses.dataclass(frozen=True)
class SettingDifference:
    """The paired t-test of two settings over the same seeds.

    Attributes:
      split: `"validation"` or `"test"`.
      first, second: the settings.
      difference: of their mean accuracies, the first's less the second's.
      interval: Student's 95 % interval of it; None if it is the same at all seeds.
      p_value: two-sided; None likewise.
      corrected_p_value: by Holm's method, for all pairs of settings on this split.
    """

    split: str
    first: str
    second: str
    difference: float
    interval: tuple[float, float] | None
    p_value: float | None
    corrected_p_value: float | None


@dataclasses.dataclass(frozen=True)
class StudyResults:
    """What a study comes to.

    Attributes:
      command: what has asked for it, without places.
      dataset: which data the runs are of.
      settings: in the order in which they were asked for.
      differences: of all pairs of settings, where there are several seeds.
    """

    command: str
    dataset: str
    settings: tuple[SettingResult, ...]
    differences: tuple[SettingDifference, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns all of it as JSON takes it."""
        return dataclasses.asdict(self)


def collect(planned: Sequence[PlannedRun], command: str = "") -> StudyResults:
    """Reads the results of the runs of a study, all of which are finished.

    Raises:
      ConfigError: they are of several data sets.
    """
    runs: dict[str, list[PlannedRun]] = {}
    for run in planned:
        runs.setdefault(run.setting, []).append(run)
    settings = tuple(_setting_result(name, of_setting) for name, of_setting in runs.items())
    # Pairs are of the same images; how many are held out decides which.
    is_paired = len({run.config.validation_size for run in planned}) == 1
    differences = [
        one
        for split in SPLITS
        if not any(getattr(result, split) is None for result in settings)
        and (split == "test" or is_paired)
        for one in paired_differences(
            split, {result.setting: getattr(result, split).accuracies for result in settings}
        )
    ]
    return StudyResults(command, _data_set_of(planned), settings, tuple(differences))


def _data_set_of(planned: Sequence[PlannedRun]) -> str:
    """Returns what all runs are of."""
    found: dict[str, PlannedRun] = {}
    for run in planned:
        results = run_directory.RunDirectory(run.path).read_results() or {}
        found.setdefault(results.get("dataset", run.config.dataset), run)
    if len(found) > 1:  # tasks of an array that began at once, where other data is at hand
        (one, first), (other, second) = list(found.items())[:2]
        raise errors.ConfigError(
            "workdir",
            f"{first.path} is of {one}, and {second.path} of {other}; a study is of one data set: "
            "move the runs of one of them away, and name the other by --dataset",
        )
    return next(iter(found))


def _setting_result(name: str, runs: Sequence[PlannedRun]) -> SettingResult:
    folders = [run_directory.RunDirectory(run.path) for run in runs]
    results = [folder.read_results() or {} for folder in folders]
    accuracies = {split: [one[split]["accuracy"] for one in results] for split in SPLITS}
    means = {
        part: standard_statistics.fmean(one["timing"][part] for one in results)
        for part in ("train_seconds", "startup_seconds")
    }
    return SettingResult(
        setting=name,
        seeds=tuple(run.config.seed for run in runs),
        folders=tuple(run.name for run in runs),
        validation=None if None in accuracies["validation"] else sample(accuracies["validation"]),
        test=sample(accuracies["test"]),
        model=runs[0].config.model,
        num_parameters=results[0].get("num_parameters"),
        num_train=folders[0].first_facts().get("num_train", runs[0].config.num_train_examples),
        **means,
    )


def sample(accuracies: Sequence[float]) -> SeedSample:
    """Returns mean, standard deviation and interval of accuracies, one at least."""
    mean, lowest = standard_statistics.fmean(accuracies), min(accuracies)
    if len(accuracies) < 2:
        return SeedSample(tuple(accuracies), mean, lowest, None, None)
    deviation = standard_statistics.stdev(accuracies)
    from scipy import stats

    half = float(stats.t.ppf(0.975, len(accuracies) - 1)) * deviation / len(accuracies) ** 0.5
    return SeedSample(tuple(accuracies), mean, lowest, deviation, (mean - half, mean + half))


def paired_differences(
    split: str, accuracies: Mapping[str, Sequence[float]]
) -> list[SettingDifference]:
    """Returns the paired t-tests of all pairs of settings.

    Args:
      split: what the accuracies are of.
      accuracies: by setting, one per seed, of the same seeds in the same order.

    Returns:
      One per pair; none if there is one seed only.
    """
    found = []
    for first, second in itertools.combinations(accuracies, 2):
        pairs = list(zip(accuracies[first], accuracies[second], strict=True))
        if len(pairs) < 2:
            return []
        each = [one - other for one, other in pairs]
        found.append((first, second, standard_statistics.fmean(each), *_t_test(each)))
    # A pair without a test counts, too: how many there are is not for the data to say.
    corrected = statistics.holm([1.0 if p is None else p for *_, p in found])
    return [
        SettingDifference(split, *one, None if one[-1] is None else p)
        for one, p in zip(found, corrected, strict=True)
    ]


def _t_test(differences: Sequence[float]) -> tuple[tuple[float, float] | None, float | None]:
    """Returns interval and p-value of a mean difference; None if all of them are the same."""
    if max(differences) - min(differences) < 1e-12:  # rounding of equal ones
        return None, None
    from scipy import stats

    tested = stats.ttest_1samp(differences, 0)
    interval = tested.confidence_interval(0.95)
    return (float(interval.low), float(interval.high)), float(tested.pvalue)
