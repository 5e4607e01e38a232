"""What a comparison of runs says: counts, intervals, and McNemar's tests."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from mnist_lib.inspection import statistics


@dataclasses.dataclass(frozen=True)
class CorrectCount:
    """How many of some images a run predicts right.

    Attributes:
      num_examples, num_correct: counts.
      accuracy: in [0, 1].
      interval: Wilson's 95 % interval of it.
    """

    num_examples: int
    num_correct: int
    accuracy: float
    interval: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class ComparedRun:
    """What one of several runs comes to on the images that all of them are asked.

    Attributes:
      name: the last part of its path, or all of it where two end alike.
      path: its folder.
      all_images: how many it predicts right.
      undisputed: likewise, without `predictions.DISPUTED_TEST_IMAGES`; None for images
        that are not the test images of MNIST.
      num_disputes: of the images that are left out there, how many it does not predict as
        labelled; None likewise.
      loss: the mean cross-entropy of its probabilities, whatever loss it was trained with; one
        below the least normal float32 counts as that, so that no image adds more than 87.3.
      calibration_error: the expected one, in bins of equal width; in [0, 1].
      num_parameters: trainable and other weights; None where an older version left it out.
      train_seconds: spent in training steps; None while it is being made longer.
      settings: the fields of its configuration that are not the same in all of the runs.
    """

    name: str
    path: str
    all_images: CorrectCount
    undisputed: CorrectCount | None
    num_disputes: int | None
    loss: float
    calibration_error: float
    num_parameters: int | None
    train_seconds: float | None
    settings: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class PairOfRuns:
    """McNemar's exact test of two runs.

    Attributes:
      first, second: their names.
      num_only_first, num_only_second: images that only one of them predicts right.
      difference: of their accuracies, the first's less the second's.
      p_value: two-sided.
      corrected_p_value: by Holm's method, for all pairs of the comparison.
    """

    first: str
    second: str
    num_only_first: int
    num_only_second: int
    difference: float
    p_value: float
    corrected_p_value: float


@dataclasses.dataclass(frozen=True)
class RunComparison:
    """Several runs on the same images.

    Attributes:
      dataset, split: which images.
      runs: in the order in which they were given.
      pairs: those that were tested.
    """

    dataset: str
    split: str
    runs: tuple[ComparedRun, ...]
    pairs: tuple[PairOfRuns, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns all of it as JSON takes it."""
        return dataclasses.asdict(self)


def count_correct(is_correct: np.ndarray) -> CorrectCount:
    """Counts; `is_correct` is bool `[N]`, N at least 1."""
    num_examples, num_correct = len(is_correct), int(is_correct.sum())
    interval = statistics.accuracy_interval(num_correct, num_examples)
    return CorrectCount(num_examples, num_correct, num_correct / num_examples, interval)


def tested_pairs(
    is_correct: Mapping[str, np.ndarray], *, against_first: bool
) -> tuple[PairOfRuns, ...]:
    """Tests pairs of runs.

    Args:
      is_correct: by the name of a run, which images it predicts right: bool `[N]`, the same ones.
      against_first: the first one against each of the others, instead of all pairs.
    """
    pairs = list(itertools.combinations(is_correct, 2))
    if against_first:
        pairs = pairs[: len(is_correct) - 1]
    counts = [
        (
            int((is_correct[first] & ~is_correct[second]).sum()),
            int((is_correct[second] & ~is_correct[first]).sum()),
        )
        for first, second in pairs
    ]
    p_values = [statistics.mcnemar_p_value(*count) for count in counts]
    num_examples = len(next(iter(is_correct.values())))
    return tuple(
        PairOfRuns(*pair, *count, (count[0] - count[1]) / num_examples, p_value, corrected)
        for pair, count, p_value, corrected in zip(
            pairs, counts, p_values, statistics.holm(p_values), strict=True
        )
    )
