"""What counts of right and wrong say, and how surely."""

from __future__ import annotations

import math
from collections.abc import Sequence


def accuracy_interval(
    num_correct: int, num_examples: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Returns Wilson's score interval of an accuracy.

    It speaks of other images of the same kind, not of other seeds.

    Args:
      num_correct: images predicted right.
      num_examples: images in all, at least 1.
      confidence: the share of such intervals that hold the true accuracy, in (0, 1).

    Returns:
      Its lower and its upper end, in [0, 1].

    Wilson, Probable inference, the law of succession, and statistical inference, 1927.
    """
    # Every run ends with this one: scipy.stats, which has it, takes a second to import.
    from scipy import special

    z = float(special.ndtri((1 + confidence) / 2))
    accuracy, weight = num_correct / num_examples, z**2 / num_examples
    spread = math.sqrt(weight * accuracy * (1 - accuracy) + weight**2 / 4)
    low, high = ((accuracy + weight / 2 + sign * spread) / (1 + weight) for sign in (-1, 1))
    # At the ends the formula says 0 and 1 but for rounding.
    return (low if num_correct else 0.0), (high if num_correct < num_examples else 1.0)


def mcnemar_p_value(num_only_first: int, num_only_second: int) -> float:
    """Returns the p-value of McNemar's exact test, two-sided.

    It asks whether two classifiers are right equally often, by the images that only one of them
    gets right: of those, each should have about half.

    Args:
      num_only_first, num_only_second: images that only the first, and only the second, of them
        predicts right.

    Returns:
      In [0, 1]; 1 if there is no such image.

    McNemar, Note on the sampling error of the difference between correlated proportions or
    percentages, 1947; exact by the binomial distribution.
    """
    from scipy import stats

    count = num_only_first + num_only_second
    return float(stats.binomtest(num_only_first, count, 0.5).pvalue) if count else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values that are corrected for how many there are.

    Whoever rejects where the corrected value is at most alpha rejects any true hypothesis
    with a probability of at most alpha, however the tests depend on each other.

    Args:
      p_values: of one family of tests, each in [0, 1].

    Returns:
      One for each, in their order, in [0, 1].

    Holm, A simple sequentially rejective multiple test procedure, 1979; as adjusted p-values.
    """
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(sorted(range(len(p_values)), key=lambda at: p_values[at])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[at]))
        corrected[at] = largest
    return corrected


def weakest_classes(
    confusion_matrix: Sequence[Sequence[int]], count: int = 3
) -> list[tuple[int, int, int]]:
    """Returns the classes with the lowest accuracies, the lowest first.

    Args:
      confusion_matrix: `[C, C]`; row: label, column: prediction.
      count: how many of them.

    Returns:
      Label, images predicted right and images in all of each; none that is all right.
    """
    classes = [
        (label, int(row[label]), int(sum(row))) for label, row in enumerate(confusion_matrix)
    ]
    wrong = [entry for entry in classes if entry[1] < entry[2]]
    return sorted(wrong, key=lambda entry: entry[1] / entry[2])[:count]
