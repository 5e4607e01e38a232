"""An error of a user's own code leaves a traced step as that code raised it."""

import traceback

import keras
import numpy as np
import pytest
import tensorflow as tf

import mnist_lib
from mnist_lib.distribution import strategies
from mnist_lib.training import own_errors


class OwnError(Exception):
    """A class that AutoGraph does not make again: it takes more than a message."""

    def __init__(self, what: str, count: int):
        super().__init__(f"{what}, {count} of them")
        self.count = count


def own_loss(labels):
    return _helper(labels)


def _helper(labels):
    raise OwnError("labels are wrong", 3)  # here: own class


def built_in(labels):
    raise ValueError("first line\nlast line")  # here: built-in class


def key_error(labels):
    return {}["absent"]  # here: key


def caused(labels):
    try:
        int("x")
    except ValueError as error:
        raise RuntimeError("not a number") from error  # here: caused


def missing(labels):
    return labels.nothing  # here: attribute


def wrong_shape(labels):
    return tf.matmul(tf.zeros([2, 3]), tf.zeros([2, 3]))  # here: shape


class OwnLayer(keras.layers.Layer):
    def call(self, x):
        raise LookupError("no such layer")  # here: layer


class OwnOptimizer(keras.optimizers.SGD):
    def update_step(self, gradient, variable, learning_rate):
        raise ArithmeticError("no update")  # here: optimizer


class OwnMetric(keras.metrics.Mean):
    def update_state(self, values, sample_weight=None):
        raise FloatingPointError("no metric")  # here: metric


def layer(labels):
    return OwnLayer()(tf.zeros([1, 1]))


def optimizer(labels):
    variable = keras.Variable(1.0)
    with tf.init_scope():
        own = OwnOptimizer()
        own.build([variable])
    own.apply([tf.constant(1.0)], [variable])


def metric(labels):
    with tf.init_scope():
        own = OwnMetric()
    own.update_state(labels)


def _raised(function, error_class, strategy) -> BaseException:
    step = tf.function(lambda labels: strategy.run(function, args=(labels,)))
    with pytest.raises(error_class) as caught, own_errors.as_raised():
        step(tf.zeros([2]))
    return caught.value


def _line_of(mark: str) -> int:
    with open(__file__) as source:
        return next(n for n, line in enumerate(source, 1) if line.endswith(f"# here: {mark}\n"))


@pytest.mark.parametrize("num_replicas", [1, 2])
@pytest.mark.parametrize(
    ("function", "error_class", "message", "mark"),
    [
        (own_loss, OwnError, "labels are wrong, 3 of them", "own class"),
        (built_in, ValueError, "first line\nlast line", "built-in class"),
        (key_error, KeyError, "'absent'", "key"),
        (caused, RuntimeError, "not a number", "caused"),
        (
            missing,
            AttributeError,
            "'SymbolicTensor' object has no attribute 'nothing'",
            "attribute",
        ),
        (layer, LookupError, "no such layer", "layer"),
        (metric, FloatingPointError, "no metric", "metric"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_class_message_and_place_are_the_users(function, error_class, message, mark, num_replicas):
    error = _raised(function, error_class, strategies.create_strategy("mirrored", num_replicas))
    assert type(error) is error_class
    assert str(error) == message
    printed = "".join(traceback.format_exception(error, chain=False))
    assert printed.endswith(f"{error_class.__name__}: {message}\n")
    assert f'File "{__file__}", line {_line_of(mark)}, in ' in printed
    assert "autograph" not in printed
    assert "^" not in printed.partition("in as_raised")[2]
    assert own_errors.place(error) == f"{__file__}, line {_line_of(mark)}"


def test_what_the_user_has_attached_stays():
    own = _raised(own_loss, OwnError, tf.distribute.get_strategy())
    assert own.count == 3
    assert own.__cause__ is None
    assert own.__suppress_context__
    error = _raised(caused, RuntimeError, tf.distribute.get_strategy())
    assert isinstance(error.__cause__, ValueError)


def test_an_optimizer_and_a_wrong_shape_say_where():
    error = _raised(optimizer, ArithmeticError, tf.distribute.get_strategy())
    assert str(error) == "no update"
    assert own_errors.place(error) == f"{__file__}, line {_line_of('optimizer')}"
    error = _raised(wrong_shape, ValueError, tf.distribute.get_strategy())
    assert str(error).startswith("Dimensions must be equal, but are 3 and 2")
    assert own_errors.place(error) == f"{__file__}, line {_line_of('shape')}"


def test_a_layer_that_is_called_without_a_graph():
    with pytest.raises(LookupError) as caught, own_errors.as_raised():
        layer(None)
    assert str(caught.value) == "no such layer"
    assert own_errors.place(caught.value) == f"{__file__}, line {_line_of('layer')}"


def test_what_is_not_wrapped_leaves_as_it_is():
    """Errors of operations that run, and of code outside of a graph."""
    step = tf.function(lambda x: tf.debugging.check_numerics(x, "not finite"))
    with pytest.raises(tf.errors.InvalidArgumentError, match="not finite"), own_errors.as_raised():
        step(tf.constant(float("nan")))
    first = ValueError("as it is")
    with pytest.raises(ValueError, match="as it is") as caught, own_errors.as_raised():
        raise first
    assert caught.value is first
    with own_errors.as_raised():
        np.zeros(1)


def test_a_fault_of_the_library_has_no_place_in_the_users_code():
    """Though the user's code has called it, and it has called NumPy."""
    with pytest.raises(ValueError, match="inhomogeneous") as caught:
        mnist_lib.Split("train", [[0], [0, 1]], np.zeros(2, np.int32))
    assert own_errors.place(caught.value) is None
