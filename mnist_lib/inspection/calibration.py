"""Whether a classifier's probabilities are those with which it is right.

Of images that are predicted with probability p a share p should be predicted right. The
expected calibration error is the mean distance from that, over bins of images with like
probabilities (Guo et al. 2017, section 2). Bins of equal width hold very different
numbers of images, so bins of equal mass are there, too (Nixon et al. 2019, section 3).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

NUM_BINS = 15  # as in Guo et al. 2017
_NUM_DRAWS = 2000
_MOST = 64.0  # of the factors that are tried
_BISECTIONS = 20
_ROUNDING = 1e-12


@dataclasses.dataclass(frozen=True, eq=False)
class CalibrationBins:
    """N predictions in B bins of their confidence; empty bins are allowed.

    Attributes:
      edges: float64 `[B + 1]`, increasing; bin b is (edges[b], edges[b + 1]], the first one
        with its lower edge.
      confidence: float64 `[N]`, in [0, 1], the probability of the predicted class.
      is_correct: bool `[N]`.
    """

    edges: np.ndarray
    confidence: np.ndarray
    is_correct: np.ndarray

    @functools.cached_property
    def indices(self) -> np.ndarray:
        """The bin of each prediction, int64 `[N]`, in [0, B)."""
        return np.searchsorted(self.edges[1:-1], self.confidence, side="left")

    @functools.cached_property
    def counts(self) -> np.ndarray:
        """How many predictions each bin holds, int64 `[B]`."""
        return self._sums(None).astype(np.int64)

    @functools.cached_property
    def num_correct(self) -> np.ndarray:
        """How many of them are right, int64 `[B]`."""
        return self._sums(self.is_correct).astype(np.int64)

    @functools.cached_property
    def accuracy(self) -> np.ndarray:
        """The share that is right, float64 `[B]`; NaN in an empty bin."""
        return _ratio(self.num_correct, self.counts)

    @functools.cached_property
    def mean_confidence(self) -> np.ndarray:
        """The mean confidence, float64 `[B]`; NaN in an empty bin."""
        return _ratio(self._sums(self.confidence), self.counts)

    @functools.cached_property
    def error(self) -> float:
        """The expected calibration error, in [0, 1].

        The mean over the predictions of |accuracy - mean confidence| of their bin.
        """
        gaps = self._sums(self.is_correct - self.confidence)
        return float(np.abs(gaps).sum() / len(self.confidence))

    def error_interval(
        self, level: float = 0.95, *, num_draws: int = _NUM_DRAWS, seed: int = 0
    ) -> tuple[float, float]:
        """Returns an interval of the expected calibration error.

        It holds the errors that a test does not reject (Casella and Berger 2002, section
        9.2.1). What is tested are models that stray from their confidence as this one seems to,
        in all bins or in that of the largest part of the error, by any factor from 0 on; each is
        rejected if it would show as large an error as this one, or as small a one, in less than
        (1 - level) / 2 of all cases, by draws of how many of each bin are right. The measured error
        is biased upwards, most of all where the true one is small, so the interval begins at 0
        where a model whose confidence is right may show it, and never ends below what such a model
        shows in all but (1 - level) / 2 of all cases. Bins and confidences are taken as they are.

        Of 150 samples each of ten models, sure and unsure ones, wrong in all bins or in one, 95 %
        intervals held the true error in 0.92 to 0.99 of 10,000 images, in 0.86 to 1.00 of 1,000.

        Args:
          level: the share of such intervals that should hold the true error, in (0, 1).
          num_draws: for each model that is tested.
          seed: decides the draws.

        Returns:
          Its lower and its upper end, in [0, 1].
        """
        tail = (1 - level) / 2
        gaps = np.nan_to_num(self.accuracy - self.mean_confidence)
        is_largest = np.arange(len(gaps)) == np.argmax(self.counts * np.abs(gaps))

        def drawn(strayed: np.ndarray) -> np.ndarray:
            return self._drawn_errors(strayed, num_draws, np.random.default_rng(seed))

        def shows_as_much(strayed: np.ndarray) -> bool:
            return float((drawn(strayed) >= self.error - _ROUNDING).mean()) >= tail

        def shows_too_much(strayed: np.ndarray) -> bool:
            return float((drawn(strayed) <= self.error + _ROUNDING).mean()) < tail

        by_chance = drawn(0 * gaps)
        low = 0.0
        if not shows_as_much(0 * gaps):
            # In one bin there may be no room for it.
            possible = [gaps, gaps * is_largest][: 1 + shows_as_much(_MOST * gaps * is_largest)]
            low = min(self._error_of(_first(shows_as_much, one) * one) for one in possible)
        high = self._error_of(_first(shows_too_much, gaps) * gaps)
        return min(low, self.error), max(high, float(np.quantile(by_chance, 1 - tail)))

    def _strayed(self, gaps: np.ndarray) -> np.ndarray:
        """The accuracy of each bin if it were so far from its confidence, `[B]`."""
        return np.clip(np.nan_to_num(self.mean_confidence) + gaps, 0, 1)

    def _error_of(self, gaps: np.ndarray) -> float:
        possible = self._strayed(gaps) - np.nan_to_num(self.mean_confidence)
        return float((self.counts * np.abs(possible)).sum() / len(self.confidence))

    def _drawn_errors(
        self, gaps: np.ndarray, num_draws: int, random: np.random.Generator
    ) -> np.ndarray:
        """What a model that strays so from its confidence shows, `[num_draws]`."""
        shape = (num_draws, len(self.counts))
        num_correct = random.binomial(self.counts, self._strayed(gaps), shape)
        expected = self.counts * np.nan_to_num(self.mean_confidence)
        return np.abs(num_correct - expected).sum(-1) / len(self.confidence)

    def _sums(self, weights: np.ndarray | None) -> np.ndarray:
        return np.bincount(self.indices, weights, minlength=len(self.edges) - 1)


def equal_width_bins(
    confidence: np.ndarray, is_correct: np.ndarray, num_bins: int = NUM_BINS
) -> CalibrationBins:
    """Puts predictions into bins that divide [0, 1] evenly.

    Args:
      confidence: floats `[N]` in [0, 1], the probability of each predicted class; N >= 1.
      is_correct: bool `[N]`.
      num_bins: at least 1.
    """
    return _bins(np.linspace(0, 1, num_bins + 1), confidence, is_correct)


def equal_mass_bins(
    confidence: np.ndarray, is_correct: np.ndarray, num_bins: int = NUM_BINS
) -> CalibrationBins:
    """Puts predictions into bins of as many each; equal confidences stay together.

    Args:
      confidence, is_correct: as for `equal_width_bins`.
      num_bins: at most so many, at least 1.
    """
    quantiles = np.quantile(
        np.asarray(confidence, np.float64), np.linspace(0, 1, num_bins + 1), method="inverted_cdf"
    )
    if quantiles[0] == quantiles[1]:  # the least ones fill a bin, which is open below
        quantiles[0] = np.nextafter(quantiles[0], -np.inf)
    edges = np.unique(quantiles)
    return _bins(edges if len(edges) > 1 else np.repeat(edges, 2), confidence, is_correct)


def _bins(edges: np.ndarray, confidence: np.ndarray, is_correct: np.ndarray) -> CalibrationBins:
    return CalibrationBins(edges, np.asarray(confidence, np.float64), np.asarray(is_correct, bool))


def _first(holds: Callable[[np.ndarray], bool], gaps: np.ndarray) -> float:
    """Returns from which factor of gaps on a condition holds, by bisection."""
    low, high = 0.0, 2.0
    while high < _MOST and not holds(high * gaps):
        high *= 2
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle * gaps) else (middle, high)
    return high


def _ratio(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
