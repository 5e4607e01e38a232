"""How far a score tells what a classifier knows from what it does not."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

TRUE_POSITIVE_RATE = 0.95


@dataclasses.dataclass(frozen=True)
class Separation:
    """How far a score is higher on images of one kind than of another.

    Attributes:
      auroc: the probability that it is higher on a known image than on one that is not, halves
        for ties; in [0, 1], 0.5 by guessing.
      auroc_interval: 95 % interval of it.
      false_positive_rate: share of the unknown images whose score is at least that which 95 %
        of the known ones have; in [0, 1].
    """

    auroc: float
    auroc_interval: tuple[float, float]
    false_positive_rate: float


def log_odds(logits: np.ndarray) -> np.ndarray:
    """Returns the log odds of each prediction, log(p / (1 - p)) for its softmax probability p.

    They are in the order of the probabilities (Hendrycks and Gimpel 2017) and are never rounded
    to one value, as probabilities near 1 are.

    Args:
      logits: floats `[N, C]`, C at least 2.

    Returns:
      float64 `[N]`.
    """
    from scipy import special

    logits = np.asarray(logits, np.float64)
    largest = logits.max(-1, keepdims=True)
    others = logits - largest
    others[np.arange(len(others)), logits.argmax(-1)] = -np.inf
    return -special.logsumexp(others, axis=-1)


def separate(known: np.ndarray, unknown: np.ndarray, level: float = 0.95) -> Separation:
    """Compares scores of known images with those of unknown ones.

    The standard error is that of DeLong et al. 1988, Comparing the areas under two or more
    correlated receiver operating characteristic curves. The interval is Wilson's for as many
    draws as would have this error, for it stays in [0, 1] and has a width where the separation
    is perfect: there they are as many as the smaller kind has images, the fewest there can be
    (Birnbaum and Klose 1957, Bounds for the variance of the Mann-Whitney statistic). They are
    never more than there are images: of a handful of pairs in the wrong order the standard error
    says too little.

    Args:
      known, unknown: float `[M]` and `[N]`, at least 2 each.
      level: of the interval, in (0, 1).
    """
    from scipy import stats

    size, other_size = len(known), len(unknown)
    ranks = stats.rankdata(np.concatenate([known, unknown]))
    above = (ranks[:size] - stats.rankdata(known)) / other_size
    below = 1 - (ranks[size:] - stats.rankdata(unknown)) / size
    area = float(above.mean())
    variance = float(above.var(ddof=1) / size + below.var(ddof=1) / other_size)
    spread = area * (1 - area)
    draws = float(min(size, other_size))
    if spread and variance:
        draws = min(spread / variance, size + other_size)
    limit = np.sort(known)[::-1][math.ceil(TRUE_POSITIVE_RATE * size) - 1]
    return Separation(area, _wilson(area, draws, level), float((unknown >= limit).mean()))


def _wilson(share: float, draws: float, level: float) -> tuple[float, float]:
    """Returns Wilson's interval of a share of a number of draws that need not be whole."""
    from scipy import special

    z = float(special.ndtri((1 + level) / 2))
    middle = (share + z * z / (2 * draws)) / (1 + z * z / draws)
    reach = z / (1 + z * z / draws)
    reach *= math.sqrt(share * (1 - share) / draws + z * z / (4 * draws * draws))
    return max(0.0, middle - reach), min(1.0, middle + reach)
