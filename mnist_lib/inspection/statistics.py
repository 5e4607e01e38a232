"""What counts of right and wrong say, and how surely."""

from __future__ import annotations

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
    from scipy import stats  # a second that only those who ask for it wait

    interval = stats.binomtest(num_correct, num_examples).proportion_ci(confidence, "wilson")
    return float(interval.low), float(interval.high)


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
