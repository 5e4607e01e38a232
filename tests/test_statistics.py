from statistics import NormalDist

import numpy as np
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


@pytest.mark.parametrize(
    ("num_correct", "num_examples", "expected"),
    [
        (9913, 10_000, (0.9892817752639147, 0.9929409079370584)),
        (9971, 9985, (0.997647712523549, 0.9991645845829811)),
        (1, 3, (0.06149194472039626, 0.7923403991979523)),
    ],
)
def test_the_interval_is_that_of_statsmodels(num_correct, num_examples, expected):
    """`proportion_confint(method="wilson")` of statsmodels 0.15.0."""
    found = statistics.accuracy_interval(num_correct, num_examples)
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("only_first", "only_second", "expected"),
    [
        (5, 15, 0.04138946533203125),
        (59, 86, 0.030481814649487685),
        (121, 59, 4.4344492637551645e-06),
        (30, 30, 1.0),
        (3, 0, 0.25),
        (0, 1, 1.0),
        (0, 0, 1.0),
    ],
)
def test_mcnemar_s_test_is_that_of_statsmodels(only_first, only_second, expected):
    """`mcnemar(exact=True)` of statsmodels 0.15.0; two-sided."""
    for counts in ((only_first, only_second), (only_second, only_first)):
        assert statistics.mcnemar_p_value(*counts) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        ([0.01, 0.04, 0.03, 0.005, 0.9, 0.03], [0.05, 0.12, 0.12, 0.03, 0.9, 0.12]),
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.2], [0.2]),
        ([], []),
    ],
)
def test_holm_s_correction_is_that_of_statsmodels(p_values, expected):
    """`multipletests(method="holm")` of statsmodels 0.15.0."""
    assert statistics.holm(p_values) == pytest.approx(expected)


@pytest.mark.slow
def test_statistics_are_those_of_the_statsmodels_that_is_installed():
    """Of random counts and p-values; those above are kept should it ever change."""
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    contingency = pytest.importorskip("statsmodels.stats.contingency_tables")
    random = np.random.default_rng(0)
    for _ in range(20):
        num_examples = int(random.integers(1, 10_000))
        num_correct = int(random.integers(0, num_examples + 1))
        expected = proportion.proportion_confint(num_correct, num_examples, method="wilson")
        assert statistics.accuracy_interval(num_correct, num_examples) == pytest.approx(
            expected, abs=1e-12
        )
        only_first, only_second = map(int, random.integers(0, 100, 2))
        tested = contingency.mcnemar([[7, only_first], [only_second, 9]], exact=True)
        assert statistics.mcnemar_p_value(only_first, only_second) == pytest.approx(tested.pvalue)
        p_values = random.random(int(random.integers(1, 30))) ** 3
        _, expected, *_ = multitest.multipletests(p_values, method="holm")
        assert statistics.holm(p_values.tolist()) == pytest.approx(expected.tolist())


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
