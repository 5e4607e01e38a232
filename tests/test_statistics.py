from statistics import NormalDist

import pytest

from mnist_lib.inspection import statistics


@pytest.mark.parametrize(
    ("num_correct", "num_examples"),
    [(9913, 10_000), (1, 3), (0, 7), (7, 7), (0, 1), (5000, 10_000)],
)
@pytest.mark.parametrize("confidence", [0.95, 0.5])
def test_the_interval_is_wilsons(num_correct, num_examples, confidence):
    """Where the score test would just not reject: (p - share)^2 = z^2 p (1 - p) / n."""
    interval = statistics.accuracy_interval(num_correct, num_examples, confidence)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    for end in interval:
        away = (end - num_correct / num_examples) ** 2
        assert away == pytest.approx(z**2 * end * (1 - end) / num_examples, abs=1e-12)
    assert 0 <= interval[0] <= num_correct / num_examples <= interval[1] <= 1


def test_weakest_classes_are_by_accuracy_and_not_by_count():
    confusion = [
        [90, 10, 0, 0],  # 0.9
        [0, 3, 3, 0],  # 0.5, though fewer are wrong
        [0, 0, 7, 0],  # all right
        [1, 0, 0, 98],
    ]
    assert statistics.weakest_classes(confusion) == [(1, 3, 6), (0, 90, 100), (3, 98, 99)]
    assert statistics.weakest_classes(confusion, 1) == [(1, 3, 6)]
    assert statistics.weakest_classes([[5, 0], [0, 5]]) == []
    assert statistics.weakest_classes([[0, 0], [1, 4]]) == [(1, 4, 5)]
