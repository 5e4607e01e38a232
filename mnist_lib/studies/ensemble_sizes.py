"""What ensembles of 1, 2 and more of some runs come to, on average over the choice of the runs."""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics
from collections.abc import Iterator

import numpy as np

_MOST_CHOICES = 200
_AT_ONCE = 10  # choices, whose probabilities are in memory together


@dataclasses.dataclass(frozen=True)
class EnsembleSize:
    """What ensembles of so many runs come to, on average over the choice of the runs.

    Attributes:
      size: runs in each.
      num_choices: ensembles that were looked at.
      is_complete: whether these are all that there are; else they were drawn, by a fixed seed.
      mean: of their accuracies, in [0, 1].
      standard_deviation: of them, with n - 1; None for one choice. Choices have runs in common:
        it is not that of ensembles of new runs, and of large ones it is far below that.
      lowest: the lowest of them.
    """

    size: int
    num_choices: int
    is_complete: bool
    mean: float
    standard_deviation: float | None
    lowest: float


def accuracies_by_size(
    probabilities: np.ndarray, labels: np.ndarray, seed: int = 0
) -> Iterator[EnsembleSize]:
    """Yields what ensembles of 1, 2 and more of some runs come to.

    Of each size all choices are looked at, or 200 that are drawn; none is preferred.

    Args:
      probabilities: float `[K, N, C]`, of K runs.
      labels: int `[N]`.
      seed: of what is drawn.
    """
    num_runs = len(probabilities)
    flat = probabilities.reshape(num_runs, -1).astype(np.float64)
    for size in range(1, num_runs + 1):
        chosen, is_complete = _choices(num_runs, size, seed)
        accuracies: list[float] = []
        for start in range(0, len(chosen), _AT_ONCE):
            weights = np.zeros((len(chosen[start : start + _AT_ONCE]), num_runs))
            for row, choice in enumerate(chosen[start : start + _AT_ONCE]):
                weights[row, list(choice)] = 1
            sums = (weights @ flat).reshape(len(weights), *probabilities.shape[1:])
            accuracies += (sums.argmax(-1) == labels).mean(-1).tolist()
        yield EnsembleSize(
            size=size,
            num_choices=len(chosen),
            is_complete=is_complete,
            mean=statistics.fmean(accuracies),
            standard_deviation=statistics.stdev(accuracies) if len(accuracies) > 1 else None,
            lowest=min(accuracies),
        )


def _choices(num_runs: int, size: int, seed: int) -> tuple[list[tuple[int, ...]], bool]:
    """Returns choices of `size` runs, each once, and whether these are all of them."""
    if math.comb(num_runs, size) <= _MOST_CHOICES:
        return list(itertools.combinations(range(num_runs), size)), True
    random = np.random.default_rng((seed, size))
    drawn: set[tuple[int, ...]] = set()
    while len(drawn) < _MOST_CHOICES:
        drawn.add(tuple(sorted(random.choice(num_runs, size, replace=False).tolist())))
    return sorted(drawn), False
