import keras
import numpy as np
import pytest
import tensorflow as tf

import mnist_lib
from mnist_lib.training import optimizers


def _weights_after(optimizer, num_steps: int = 20) -> np.ndarray:
    rng = np.random.default_rng(0)
    variable = keras.Variable(rng.normal(size=(5, 3)).astype(np.float32))
    optimizer.build([variable])
    for _ in range(num_steps):
        optimizer.apply([tf.constant(rng.normal(size=(5, 3)), tf.float32)], [variable])
    return variable.numpy()


@pytest.mark.parametrize("weight_decay", [None, 0.1])
def test_fused_adam_is_keras_adam(weight_decay):
    options = {"learning_rate": 0.01, "weight_decay": weight_decay}
    expected = _weights_after(keras.optimizers.Adam(**options))
    found = _weights_after(optimizers.FusedAdam(**options))
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-6)


def test_fused_adam_with_amsgrad_takes_keras_path():
    options = {"learning_rate": 0.01, "amsgrad": True}
    expected = _weights_after(keras.optimizers.Adam(**options))
    np.testing.assert_array_equal(_weights_after(optimizers.FusedAdam(**options)), expected)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_betas_are_those_asked_for(name):
    optimizer = optimizers.build_optimizer(name, 0.01, beta_1=0.7, beta_2=0.9)
    assert (optimizer.beta_1, optimizer.beta_2) == (0.7, 0.9)
    # m = 0.3 g and v = 0.1 g^2 are divided by 1 - beta: the first step is the rate.
    # Then m = 0.7 * 0.3 g, v = 0.9 * 0.1 g^2, divided by 1 - beta^2.
    variable = keras.Variable(np.ones(1, np.float32))
    optimizer.weight_decay = None
    optimizer.build([variable])
    for gradient in (2.0, 0.0):
        optimizer.apply([tf.constant([gradient])], [variable])
    second = (0.7 * 0.3 / 0.51) / np.sqrt(0.9 * 0.1 / 0.19)
    np.testing.assert_allclose(variable.numpy(), 1 - 0.01 * (1 + second), rtol=1e-6)
    defaults = optimizers.build_optimizer(name, 0.01)
    assert (defaults.beta_1, defaults.beta_2) == (0.9, 0.999)


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "adamw", "rmsprop"])
def test_every_optimizer_minimises(name):
    variable = keras.Variable(np.full(4, 2.0, np.float32))
    optimizer = optimizers.build_optimizer(name, 0.02)
    optimizer.build([variable])
    for _ in range(200):
        optimizer.apply([2 * variable.value], [variable])
    assert np.abs(variable.numpy()).max() < 0.05


def test_adamw_decays_and_adam_does_not():
    decayed, plain = (
        optimizers.build_optimizer(name, 0.1, **options)
        for name, options in (("adamw", {"weight_decay": 0.5}), ("adam", {}))
    )
    for optimizer, expected in ((decayed, 1 - 0.1 * 0.5), (plain, 1.0)):
        variable = keras.Variable(np.ones(2, np.float32))
        optimizer.build([variable])
        optimizer.apply([tf.zeros(2)], [variable])
        np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-6)


def _rates(schedule, steps, **options):
    rate = optimizers.LearningRate(schedule, 0.1, total_steps=100, **options)
    return [float(rate(step)) for step in steps]


def test_schedules():
    np.testing.assert_allclose(_rates("constant", [0, 50, 99]), 0.1, rtol=1e-6)
    np.testing.assert_allclose(
        _rates("cosine", [0, 50, 100, 200]), [0.1, 0.05, 0, 0], rtol=1e-5, atol=1e-8
    )
    np.testing.assert_allclose(_rates("exponential", [0, 50, 100]), [0.1, 0.01, 0.001], rtol=1e-5)
    np.testing.assert_allclose(
        _rates("one_cycle", [0, 15, 30, 65, 100]),
        [0.004, 0.052, 0.1, 0.05, 4e-7],
        rtol=1e-4,
    )


@pytest.mark.parametrize("schedule", ["constant", "cosine", "exponential"])
def test_warm_up_rises_linearly_to_the_peak(schedule):
    rates = _rates(schedule, [0, 1, 4, 9, 10], warmup_steps=10)
    expected = np.array([1, 2, 5, 10, 11]) / 11 * 0.1
    np.testing.assert_allclose(rates[:3], expected[:3], rtol=1e-5)
    assert rates[-1] == pytest.approx(0.1)


def test_wrong_values_are_refused():
    with pytest.raises(mnist_lib.errors.ConfigError, match="lr_schedule: 'step' is not one of"):
        optimizers.LearningRate("step", 0.1, 100)
    with pytest.raises(
        mnist_lib.errors.ConfigError, match="warmup_steps: 100 must be less than the 100"
    ):
        optimizers.LearningRate("cosine", 0.1, 100, warmup_steps=100)
    with pytest.raises(mnist_lib.errors.ConfigError, match="optimizer: 'lion' is not one of"):
        optimizers.build_optimizer("lion", 0.1)
