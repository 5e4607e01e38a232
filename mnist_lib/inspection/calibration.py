"""Whether a classifier's probabilities are those with which it is right.

Of images that are predicted with probability p a share p should be predicted right. The
expected calibration error is the mean distance from that, over bins of images with like
probabilities (Guo et al. 2017, section 2). Bins of equal width hold very different
numbers of images, so bins of equal mass are there, too (Nixon et al. 2019, section 3).
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

NUM_BINS = 15  # as in Guo et al. 2017
_NUM_RESAMPLES = 1000


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
        self, level: float = 0.95, *, num_resamples: int = _NUM_RESAMPLES, seed: int = 0
    ) -> tuple[float, float]:
        """Returns a bootstrap interval of the expected calibration error.

        The basic interval, which is the distribution of the resamples' errors mirrored at
        the error (Davison and Hinkley 1997, section 5.2): the error is biased upwards, those
        of resamples are so twice, and mirroring takes that out to first order. It may therefore
        lie below the error itself. Near 0 that is not enough: if a model whose confidence is right
        would show such an error in more than (1 - level) / 2 of all cases, it begins at 0. The bins
        stay as they are.

        Args:
          level: the share of such intervals that should hold the true error, in (0, 1).
          num_resamples: draws of N predictions with replacement.
          seed: decides the draws.

        Returns:
          Its lower and its upper end, in [0, 1].
        """
        random = np.random.default_rng(seed)
        size, gaps = len(self.confidence), self.is_correct - self.confidence
        resampled = np.empty(num_resamples)
        for number in range(num_resamples):
            chosen = random.integers(0, size, size)
            sums = np.bincount(self.indices[chosen], weights=gaps[chosen])
            resampled[number] = np.abs(sums).sum() / size
        low, high = np.quantile(resampled, ((1 - level) / 2, (1 + level) / 2))
        low, high = np.clip(2 * self.error - np.array([high, low]), 0.0, 1.0)
        if low > 0 and self._may_be_chance(level, num_resamples, random):
            low = 0.0
        return float(low), float(high)

    def _may_be_chance(self, level: float, num_draws: int, random: np.random.Generator) -> bool:
        """Whether a model whose confidence is right would often show as large an error."""
        size = len(self.confidence)
        variances = self._sums(self.confidence * (1 - self.confidence))
        if self.error * size > 3 * np.sqrt(variances).sum():  # of one bin 2.24 would be enough
            return False
        drawn = np.empty(num_draws)
        for number in range(num_draws):
            gaps = (random.random(size) < self.confidence) - self.confidence
            drawn[number] = np.abs(self._sums(gaps)).sum() / size
        return self.error <= float(np.quantile(drawn, (1 + level) / 2))

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


def _ratio(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
