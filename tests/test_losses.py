import keras
import numpy as np
import pytest
import tensorflow as tf

import mnist_lib
from mnist_lib.training import losses

LOGITS = tf.constant([[2.0, 0.0, -1.0], [0.5, 1.0, 3.0], [0.0, 0.0, 0.0]])
LABELS = tf.constant([0, 1, 2])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "cross_entropy",
            [
                np.log(1 + np.exp(-2) + np.exp(-3)),
                np.log(1 + np.exp(-0.5) + np.exp(2)),
                np.log(3),
            ],
        ),
        ("perceptron", [0.0, 2.0, 0.0]),
        ("hinge", [0.0, 3.0, 1.0]),
    ],
)
def test_values(name, expected):
    found = losses.per_example_loss(name)(LABELS, LOGITS)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_perceptron_gradient_is_the_perceptron_rule():
    """A mistake pulls the label's logit up by one and pushes the winner's down by one."""
    logits = tf.constant([[0.5, 1.0, 3.0], [5.0, 1.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = tf.reduce_sum(losses.perceptron(tf.constant([1, 0]), logits))
    np.testing.assert_array_equal(tape.gradient(loss, logits), [[0, -1, 1], [0, 0, 0]])


@pytest.mark.parametrize("num_replicas", [1, 2, 4])
def test_shares_add_up_to_the_global_loss(num_replicas):
    values = tf.constant(np.arange(8.0))
    shares = [
        losses.scaled_loss(part, 8, [tf.constant(0.7)], num_replicas)
        for part in tf.split(values, num_replicas)
    ]
    assert float(sum(shares)) == pytest.approx(3.5 + 0.7)


def test_a_loss_that_averages_by_itself_is_refused():
    with pytest.raises(mnist_lib.errors.ConfigError, match="make it with reduction='none'"):
        losses.per_example_loss(keras.losses.SparseCategoricalCrossentropy())
    kept = keras.losses.SparseCategoricalCrossentropy(reduction="none")
    values = losses.per_example_loss(kept)(tf.constant([0, 1]), tf.zeros([2, 10]))
    assert values.shape == (2,)


def test_unknown_names_are_refused():
    with pytest.raises(
        mnist_lib.errors.ConfigError, match="loss: 'mse' is not one of cross_entropy"
    ):
        losses.per_example_loss("mse")
