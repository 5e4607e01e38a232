import pytest
import scipy.stats

from mnist_lib.inspection import statistics


@pytest.mark.parametrize(
    ("num_correct", "num_examples"),
    [(9913, 10_000), (1, 3), (0, 7), (7, 7), (0, 1), (5000, 10_000)],
)
@pytest.mark.parametrize("confidence", [0.95, 0.5])
def test_the_interval_is_wilsons(num_correct, num_examples, confidence):
    test = scipy.stats.binomtest(num_correct, num_examples)
    expected = test.proportion_ci(confidence, method="wilson")
    interval = statistics.accuracy_interval(num_correct, num_examples, confidence)
    assert interval == pytest.approx((expected.low, expected.high), abs=1e-12)
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
