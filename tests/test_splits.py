import hashlib

import numpy as np
import pytest

import mnist_lib
from mnist_lib.datasets import splits

LABELS = np.random.default_rng(0).choice(10, 3000, p=np.arange(1, 11) / 55)


def test_order_is_a_permutation_of_which_every_prefix_is_stratified_and_nested():
    order = splits.stratified_order(LABELS)
    np.testing.assert_array_equal(np.sort(order), np.arange(3000))
    totals = np.bincount(LABELS, minlength=10)
    for size in (10, 100, 777, 2999):
        counts = np.bincount(LABELS[order[:size]], minlength=10)
        assert np.abs(counts - totals * size / 3000).max() <= 1


def test_train_and_validation_are_disjoint_and_complete():
    train, validation = splits.split_indices(LABELS, 500)
    assert (len(train), len(validation)) == (2500, 500)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, validation])), np.arange(3000))
    smaller = splits.split_indices(LABELS, 100)[1]
    assert set(smaller) < set(validation)


def test_the_choice_is_frozen():
    labels = np.arange(1000) % 10
    validation = splits.split_indices(labels, 100)[1].astype("<i8")
    assert hashlib.sha256(validation.tobytes()).hexdigest()[:16] == "869f17c7fe356d3e"


def test_zero_validation_trains_on_all():
    train, validation = splits.split_indices(LABELS, 0)
    assert (len(train), len(validation)) == (3000, 0)


@pytest.mark.parametrize("size", [-1, 3000])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(
        mnist_lib.errors.ConfigError, match=r"validation_size: .* of 3000 training images"
    ):
        splits.split_indices(LABELS, size)
