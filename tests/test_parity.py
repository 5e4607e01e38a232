"""The parity checker names each planted fault, and finds none where there is none."""

import contextlib
import os

import keras
import numpy as np
import pytest
import tensorflow as tf

import mnist_lib
from mnist_lib.distribution import strategies
from mnist_lib.training import keras_internals, losses, replica_step


def _model(*extra, **dense_options):
    """A small classifier with `extra` layers before its last."""
    return keras.Sequential(
        [
            keras.Input((6, 6, 1), dtype="uint8"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(3, 3, kernel_regularizer=keras.regularizers.L2(0.01), name="conv"),
            keras.layers.Flatten(),
            *extra,
            keras.layers.Dense(10, name="logits", **dense_options),
        ]
    )


class DividesByTheBatch(keras.layers.Layer):
    """Forward: centres by the mean over the rows it sees."""

    def call(self, x):
        return x - tf.reduce_mean(x, axis=0, keepdims=True)


class ClipsItsGradient(keras.layers.Layer):
    """Gradient: clips the gradient of the rows it sees by norm."""

    def call(self, x):
        @tf.custom_gradient
        def clipped(x):
            return tf.identity(x), lambda upstream: tf.clip_by_norm(upstream, 1e-3)

        return clipped(x)


class RemembersItsRows(keras.layers.Layer):
    """State: a running mean of the rows it sees, which the output does not use."""

    def build(self, shape):
        self.mean = self.add_weight(shape=(), trainable=False, initializer="zeros", name="mean")

    def call(self, x):
        self.mean.assign(0.9 * self.mean + 0.1 * tf.reduce_mean(x))
        return x


class DividesByReplicas(keras.optimizers.SGD):
    """Update: a smaller rate where there are more replicas."""

    def update_step(self, gradient, variable, learning_rate):
        num_replicas = tf.distribute.get_strategy().num_replicas_in_sync
        super().update_step(gradient / num_replicas, variable, learning_rate)


class MeanOfMeans(keras.metrics.Mean):
    """Metric: averages the accuracies of batches, however many real examples they hold."""

    def update_state(self, labels, logits, sample_weight=None):
        correct = tf.cast(tf.argmax(logits, -1, tf.int32) == labels, tf.float32)
        accuracy = tf.math.divide_no_nan(
            tf.reduce_sum(correct * sample_weight), tf.reduce_sum(sample_weight)
        )
        return super().update_state(accuracy)


class BatchesOfTheirOwn:
    """Input: each call starts where the one before ended, like a shared generator."""

    def __init__(self):
        self.calls = 0

    def __call__(self, model, batch_size):
        self.calls += 1
        rng = np.random.default_rng(self.calls)
        images = rng.integers(0, 256, (batch_size, 6, 6, 1)).astype(np.uint8)
        labels = rng.integers(0, 10, batch_size).astype(np.int32)
        batches = tf.data.Dataset.from_tensor_slices((images, labels))
        return batches.repeat().batch(batch_size, drop_remainder=True)


def _average(gradients):
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, gradients)


def _sum_twice(gradients):
    context = tf.distribute.get_replica_context()
    once = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
    return context.all_reduce(tf.distribute.ReduceOp.SUM, once)


def _centred_loss(labels, logits):
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    return loss - 0.5 * tf.reduce_mean(loss)


FAULTS = {
    "input": ("input", "inputs", {"make_batches": BatchesOfTheirOwn()}),
    "forward": ("forward", "centre", {"build": lambda: _model(DividesByTheBatch(name="centre"))}),
    "loss that averages": (
        "loss",
        "the shape of the loss",
        {"loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True)},
    ),
    "loss that looks at others": ("loss", "the loss per example", {"loss": _centred_loss}),
    "gradient": ("gradient", "kernel", {"build": lambda: _model(ClipsItsGradient())}),
    "reduction by the mean": ("reduction", "kernel", {"reduce_gradients": _average}),
    "reduction twice": ("reduction", "kernel", {"reduce_gradients": _sum_twice}),
    "no reduction": ("reduction", "kernel", {"reduce_gradients": list}),
    "update": ("update", "kernel", {"build_optimizer": lambda: DividesByReplicas(0.1)}),
    "state": ("state", "mean", {"build": lambda: _model(RemembersItsRows(name="memory"))}),
    "batch normalisation": (
        "state",
        "norm",
        {"build": lambda: _model(keras.layers.BatchNormalization(name="norm"))},
    ),
    "metric": ("metric", "accuracy", {"build_metrics": lambda: [MeanOfMeans(name="accuracy")]}),
}


def _check(build=_model, **options):
    return mnist_lib.check_replica_parity(build, num_replicas=2, **options)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_named(fault):
    stage, name, options = FAULTS[fault]
    report = _check(**options)
    assert not report.agree
    assert report.first.stage == stage, str(report)
    assert name in report.first.name, str(report)
    assert f"{stage}: " in str(report)
    assert report.first.magnitude > 0


def test_keras_dropout_is_named_and_ours_agrees():
    report = _check(lambda: _model(keras.layers.Dropout(0.5, name="drop")))
    assert (report.first.stage, report.first.name) == ("forward", "drop")
    assert "mnist_lib.Dropout" in report.first.advice
    report = _check(lambda: _model(mnist_lib.Dropout(0.5, seed=1)))
    assert report.agree, str(report)


@pytest.mark.parametrize("num_replicas", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_what_is_right_agrees(num_replicas):
    def build():
        return _model(
            keras.layers.BatchNormalization(synchronized=True),
            keras.layers.Dense(8, activity_regularizer=keras.regularizers.L2(0.1)),
        )

    report = mnist_lib.check_replica_parity(
        build,
        build_optimizer=lambda: mnist_lib.build_optimizer(
            "momentum", 0.01, clip_norm=0.1, ema_momentum=0.9
        ),
        num_replicas=num_replicas,
        num_steps=5,
    )
    assert report.agree, str(report)
    assert str(report) == f"1 and {num_replicas} replicas agree over 5 steps"


@pytest.mark.parametrize("model", ["mlp", pytest.param("cnn", marks=pytest.mark.slow)])
def test_the_models_of_the_library_agree(model):
    report = _check(lambda: mnist_lib.build_model(model))
    assert report.agree, str(report)


class Classifier(keras.Model):
    """Subclassed: what it takes is known once it has been called."""

    def __init__(self, name="classifier"):
        super().__init__(name=name)
        self.centre = DividesByTheBatch(name="centre")
        self.dense = keras.layers.Dense(10)

    def call(self, x):
        return self.dense(self.centre(tf.reshape(tf.cast(x, tf.float32), [-1, 36])))


def _called_classifier():
    model = Classifier()
    model(tf.zeros([2, 6, 6, 1]))
    return model


def test_layers_of_subclassed_models_are_named():
    with pytest.raises(
        mnist_lib.errors.ConfigError,
        match=r"build_model: classifier is not built.*call it once on a batch, or give it an Input",
    ):
        _check(Classifier)
    for options in ({"build": _called_classifier}, {"make_batches": BatchesOfOne()}):
        report = _check(**{"build": Classifier, **options})
        assert (report.first.stage, report.first.name) == ("forward", "centre")


class BatchesOfOne(BatchesOfTheirOwn):
    """The same batch again and again."""

    def __call__(self, model, batch_size):
        self.calls = 0
        return super().__call__(model, batch_size)


def test_wrong_numbers_are_refused():
    with pytest.raises(mnist_lib.errors.ConfigError, match="at least 2 replicas"):
        mnist_lib.check_replica_parity(_model, num_replicas=1)
    with pytest.raises(mnist_lib.errors.ConfigError, match="batch_size: 25 cannot be divided"):
        _check(batch_size=25)


def _each_replica_averages(monkeypatch):
    right = losses.scaled_loss
    monkeypatch.setattr(
        losses,
        "scaled_loss",
        lambda examples, size, terms, parts: right(examples, examples.shape[0], terms, parts),
    )


def _nobody_sums(monkeypatch):
    monkeypatch.setattr(replica_step, "all_reduce_sum", list)


def _keras_sums_again(monkeypatch):
    monkeypatch.setattr(
        keras_internals, "reduced_elsewhere", lambda optimizer: contextlib.nullcontext()
    )


def _one_gradient_is_late(monkeypatch):
    right = replica_step.ReplicaStep.update

    def update(self, gradients):
        number = tf.distribute.get_replica_context().num_replicas_in_sync
        right(self, [gradients[0] * tf.cast(number, gradients[0].dtype), *gradients[1:]])

    monkeypatch.setattr(replica_step.ReplicaStep, "update", update)


@pytest.mark.parametrize(
    ("plant", "stage"),
    [
        pytest.param(_each_replica_averages, "loss", marks=pytest.mark.slow),
        pytest.param(_nobody_sums, "reduction", marks=pytest.mark.slow),
        (_keras_sums_again, "update"),
        pytest.param(_one_gradient_is_late, "update", marks=pytest.mark.slow),
    ],
)
def test_a_fault_in_the_trainer_s_own_step_is_found(plant, stage, monkeypatch, small_dataset):
    """What is checked is what runs: the same fault changes what `Trainer` does."""

    def trained(num_replicas):
        strategy = mnist_lib.create_strategy("mirrored", num_replicas)
        with strategy.scope():
            model = mnist_lib.build_model("linear")
            optimizer = mnist_lib.build_optimizer("sgd", 0.1)
        mnist_lib.Trainer(model, optimizer, strategy=strategy).train(small_dataset.train, 3, 24)
        return model.trainable_variables[0].numpy()

    assert _check().agree
    np.testing.assert_allclose(trained(1), trained(2), atol=1e-6)
    plant(monkeypatch)
    report = _check()
    assert report.first.stage == stage, str(report)
    assert np.abs(trained(1) - trained(2)).max() > 1e-3


class EvaluatesByTheBatch(keras.layers.Layer):
    """Evaluation: centres by the rows it sees, in evaluation alone."""

    def call(self, x, training=False):
        return x if training else x - tf.reduce_mean(x, axis=0, keepdims=True)


class NotANumber(keras.layers.Layer):
    """Not a number, on any number of replicas."""

    def call(self, x):
        return x * float("nan")


def _two_outputs(fault):
    x = inputs = keras.Input((6,))
    return keras.Model(inputs, [keras.layers.Dense(10)(x), fault(x)])


def test_evaluation_and_second_outputs_are_seen():
    report = _check(lambda: _model(EvaluatesByTheBatch(name="centre")), num_steps=1)
    assert (report.first.stage, report.first.name) == ("evaluation", "centre")
    assert "With training=False too" in report.first.advice
    report = _check(lambda: _two_outputs(DividesByTheBatch(name="centre")), num_steps=1)
    assert (report.first.stage, report.first.name) == ("forward", "centre")


def test_what_is_not_a_number_on_both_sides_does_not_agree():
    report = _check(lambda: _model(NotANumber(name="zero")))
    assert (report.first.stage, report.first.name) == ("forward", "zero")
    assert "zero is not a number in step 1. It is so on one replica as well" in str(report)
    assert len(report.differences) == 1


def test_metrics_need_no_name():
    """Keras names those of a second build anew, and two of one kind alike."""

    class Named(MeanOfMeans):
        def __init__(self):
            super().__init__()

    report = _check(build_metrics=lambda: [keras.metrics.SparseCategoricalAccuracy(), Named()])
    assert (report.first.stage, report.first.name) == ("metric", "mean")


@pytest.mark.parametrize(
    "dtype", ["bfloat16", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)]
)
def test_the_tolerance_is_that_of_the_dtype(dtype):
    def build():
        with_dtype = keras.dtype_policies.get(dtype)
        return keras.Sequential(
            [
                keras.Input((6,)),
                keras.layers.Dense(8, "relu", dtype=with_dtype),
                keras.layers.Dense(10, dtype=with_dtype),
            ]
        )

    assert _check(build, num_steps=2).agree
    report = _check(build, num_steps=2, tolerance=1e-9)
    assert not report.agree
    report = _check(build, num_steps=1, reduce_gradients=_average)
    assert report.first.stage == "reduction", str(report)


def test_parts_of_the_rows_are_compared_with_all_at_once():
    def build():
        return _model(mnist_lib.Dropout(0.5, seed=1), keras.layers.Dense(5, "relu"))

    report = _check(build, accumulation_steps=3)
    assert report.agree, str(report)
    report = _check(lambda: _model(DividesByTheBatch(name="x")), accumulation_steps=2, num_steps=1)
    assert (report.first.stage, report.first.name) == ("forward", "x"), str(report)
    with pytest.raises(
        mnist_lib.errors.ConfigError, match="would normalise each of 2 parts of the batch by itself"
    ):
        _check(lambda: _model(keras.layers.BatchNormalization()), accumulation_steps=2)


class OwnError(Exception):
    """Of a class that AutoGraph would lose."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Raises(keras.layers.Layer):
    """Raises, but not while the model is built."""

    def call(self, x):
        if isinstance(x, keras.KerasTensor):
            return x
        raise OwnError(7, "no rows today")


def test_what_a_layer_raises_is_passed_on_as_it_is():
    with pytest.raises(OwnError, match=r"^no rows today$") as caught:
        _check(lambda: _model(Raises()))
    assert caught.value.code == 7


def test_what_was_there_before_is_refused():
    model, optimizer = _model(), keras.optimizers.SGD(0.1)
    optimizer.build(model.trainable_variables)
    with pytest.raises(
        mnist_lib.errors.ConfigError, match=r"build_model: .* was there before the call"
    ):
        _check(lambda: model)
    with pytest.raises(
        mnist_lib.errors.ConfigError, match=r"build_optimizer: .* was there before the call"
    ):
        _check(build_optimizer=lambda: optimizer)
    units = iter((3, 4))
    with pytest.raises(
        mnist_lib.errors.ConfigError, match=r"made variables of the shapes \(48, 3\) and \(48, 4\)"
    ):
        _check(lambda: _model(keras.layers.Dense(next(units))))


def test_labels_and_text_that_cannot_be_guessed_are_refused():
    def rows(shape, dtype="float32"):
        return lambda: keras.Sequential([keras.Input(shape, dtype=dtype), keras.layers.Dense(10)])

    with pytest.raises(
        mnist_lib.errors.ConfigError, match=r"its output has the shape \(None, 4, 10"
    ):
        _check(rows((4, 3)))

    def text():
        inputs = keras.Input((3,), dtype="string")
        return keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Hashing(5)(inputs)))

    with pytest.raises(mnist_lib.errors.ConfigError, match="takes text, which is not made up"):
        _check(text)


def test_a_child_process_has_the_settings_and_what_functions_refer_to():
    """More replicas than this process has devices."""
    assert not strategies.can_split_cpu(6)
    model, units = _model(DividesByTheBatch(name="centre")), tf.Variable(5)

    def build():
        assert (keras.config.floatx(), keras.config.dtype_policy().name) == ("float64", "float64")
        assert int(units) == 5
        copy = keras.models.clone_model(model)
        copy.set_weights(model.get_weights())
        return copy

    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        report = mnist_lib.check_replica_parity(build, num_replicas=6, num_steps=1)
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])
    assert isinstance(report, mnist_lib.ParityReport)
    assert (report.first.stage, report.first.name) == ("forward", "centre")


@pytest.mark.slow
def test_a_child_process_passes_errors_on():
    def fail():
        raise RuntimeError("no model today")

    with pytest.raises(RuntimeError) as caught:
        mnist_lib.check_replica_parity(fail, num_replicas=6)
    assert str(caught.value) == "no model today"
    assert "in fail" in caught.value.__notes__[0]

    def fail_unsendable():  # with two arguments it is not made again from its message
        raise OwnError(7, "no model today")

    with pytest.raises(
        mnist_lib.errors.MnistLibError, match="check_replica_parity: OwnError: no model today"
    ):
        mnist_lib.check_replica_parity(fail_unsendable, num_replicas=6)

    def end():
        os._exit(9)

    with pytest.raises(mnist_lib.errors.MnistLibError, match="ended with exit code 9"):
        mnist_lib.check_replica_parity(end, num_replicas=6)


def _of_two_outputs():
    inputs = keras.Input((6, 6, 1), name="image")
    x = keras.layers.Flatten()(inputs)
    outputs = {"digit": keras.layers.Dense(10)(x), "size": keras.layers.Dense(1)(x)}
    return keras.Model(inputs, outputs)


def _weighted_batches(model, batch_size):
    def batch(number):
        seeds = [tf.stack([tf.constant(i, tf.int64), number]) for i in range(4)]
        image = tf.random.stateless_uniform([batch_size, 6, 6, 1], seeds[0])
        digit = tf.random.stateless_uniform([batch_size], seeds[1], maxval=10, dtype=tf.int32)
        size = tf.random.stateless_uniform([batch_size, 1], seeds[2])
        weight = tf.random.stateless_uniform([batch_size], seeds[3])
        return {"image": image}, {"digit": digit, "size": size}, weight

    return tf.data.Dataset.range(tf.int64.max).map(batch)


@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_weights_and_several_outputs_agree(accumulation_steps):
    report = mnist_lib.check_replica_parity(
        _of_two_outputs,
        loss={"digit": "cross_entropy", "size": keras.losses.MeanSquaredError(reduction="none")},
        make_batches=_weighted_batches,
        accumulation_steps=accumulation_steps,
    )
    assert report.agree, report


def test_a_fault_in_the_loss_of_a_second_output_is_found():
    """It divides by the mean of the sizes that the replica sees."""

    def relative(sizes, outputs):
        return tf.square(outputs[:, 0] - sizes[:, 0]) / tf.reduce_mean(sizes)

    report = mnist_lib.check_replica_parity(
        _of_two_outputs,
        loss={"digit": "cross_entropy", "size": relative},
        make_batches=_weighted_batches,
    )
    assert (report.first.stage, report.first.step) == ("loss", 1), report


def test_weights_that_differ_between_replicas_are_named():
    calls = []

    def batches(model, batch_size):
        calls.append(model)
        return _weighted_batches(model, batch_size).map(lambda x, y, w: (x, y, w * len(calls)))

    report = mnist_lib.check_replica_parity(
        _of_two_outputs,
        loss={"digit": "cross_entropy", "size": keras.losses.MeanSquaredError(reduction="none")},
        make_batches=batches,
    )
    assert (report.first.stage, report.first.name) == ("input", "weights"), report
