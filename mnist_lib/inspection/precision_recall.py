"""Precision and recall of one class against all others, at every threshold of its score."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """One entry per distinct score, the highest first: what is predicted from there on.

    Attributes:
      thresholds: `[T]`, decreasing; an image is predicted positive from this score on.
      precision: float64 `[T]`, of the images predicted positive the share that is.
      recall: float64 `[T]`, of the positive images the share that is predicted so;
        it grows to 1. NaN if there are no positive images.
    """

    thresholds: np.ndarray
    precision: np.ndarray
    recall: np.ndarray

    @property
    def average_precision(self) -> float:
        """The sum of the precisions, each times the growth of the recall, in [0, 1].

        It is the area under the steps of the curve, without interpolation between them,
        which would be too favourable (Davis and Goadrich 2006). NaN without positives.
        """
        return float(np.sum(np.diff(self.recall, prepend=0) * self.precision))


def precision_recall(scores: np.ndarray, is_positive: np.ndarray) -> PrecisionRecall:
    """Computes precision and recall at each threshold.

    Args:
      scores: floats `[N]`, N >= 1; the higher the more probably positive.
      is_positive: bool `[N]`.
    """
    scores, is_positive = np.asarray(scores), np.asarray(is_positive, bool)
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    # Images of one score are predicted together: the last of them is where a step ends.
    ends = np.flatnonzero(np.append(np.diff(ordered) != 0, True))
    num_found = np.cumsum(is_positive[order])[ends]
    num_positive = int(is_positive.sum())
    recall = num_found / num_positive if num_positive else np.full(len(ends), np.nan)
    return PrecisionRecall(ordered[ends], num_found / (ends + 1), recall)
