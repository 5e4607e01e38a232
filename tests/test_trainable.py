"""Anyone's model, optimizer and settings: right, warned of, or refused with the way out."""

import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

import mnist_lib


def _image():
    return keras.Input((28, 28, 1), dtype="uint8")


def _classifier(*layers, last=None):
    return keras.Sequential(
        [
            _image(),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            *layers,
            last or keras.layers.Dense(10, kernel_initializer=keras.initializers.GlorotUniform(3)),
        ]
    )


def _trainer(build, optimizer=lambda: keras.optimizers.SGD(0.1), num_replicas=1, **options):
    strategy = mnist_lib.create_strategy("mirrored", num_replicas)
    with strategy.scope():
        model, built = build(), optimizer()
    return mnist_lib.Trainer(model, built, strategy=strategy, **options)


def _weights(trainer):
    return [variable.numpy() for variable in trainer.model.trainable_variables]


def _two_optimizers():
    mapping = keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.25))
    mapping[".*/bias"] = keras.optimizers.Adam(0.01)
    return keras.optimizers.MultiOptimizer(mapping)


def test_several_optimizers_in_one_move_as_far_on_two_replicas(small_dataset):
    one, two = (_trainer(_classifier, _two_optimizers, n) for n in (1, 2))
    for trainer in (one, two):
        trainer.train(small_dataset.train, 5, 48)
        assert trainer.step == 5
        assert trainer.learning_rate == pytest.approx(0.01)  # of the first, the biases'
    for ours, expected in zip(_weights(two), _weights(one), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_a_fixed_loss_scale_is_not_in_the_norm(small_dataset):
    plain, scaled = (
        _trainer(_classifier, lambda scale=scale: keras.optimizers.SGD(0.1, **scale))
        for scale in ({}, {"loss_scale_factor": 128})
    )
    expected = plain.train(small_dataset.train, 3, 48)
    found = scaled.train(small_dataset.train, 3, 48)
    assert found.gradient_norm == pytest.approx(expected.gradient_norm, rel=1e-5)
    assert found.loss == pytest.approx(expected.loss, rel=1e-5)


class CountsItsCalls(keras.layers.Layer):
    """State that training updates; the same on every replica."""

    def build(self, shape):
        self.calls = self.add_weight(name="calls", shape=(), initializer="zeros", trainable=False)

    def call(self, x, training=False):
        if training:
            self.calls.assign(self.calls + 1)
        return x


class RemembersItsRows(keras.layers.Layer):
    """State that differs between replicas."""

    def build(self, shape):
        self.mean = self.add_weight(name="mean", shape=(), initializer="zeros", trainable=False)

    def call(self, x, training=False):
        if training:
            self.mean.assign(0.9 * self.mean + 0.1 * tf.reduce_mean(x))
        return x


@pytest.mark.parametrize(
    "layer",
    [
        lambda: keras.layers.SpectralNormalization(keras.layers.Dense(8)),
        CountsItsCalls,
        RemembersItsRows,
    ],
)
def test_state_that_each_part_would_update_is_refused(small_dataset, layer):
    trainer = _trainer(lambda: _classifier(layer()), accumulation_steps=2)
    with pytest.raises(
        mnist_lib.errors.ConfigError, match=r"accumulation_steps: .* updated in each of 2 parts"
    ):
        trainer.train(small_dataset.train, 1, 48)
    assert trainer.step == 0
    _trainer(lambda: _classifier(layer())).train(small_dataset.train, 1, 48)


def test_state_that_drifts_apart_is_named_once(small_dataset, caplog):
    trainer = _trainer(lambda: _classifier(RemembersItsRows(name="memory")), num_replicas=2)
    with caplog.at_level(logging.WARNING):
        trainer.train(small_dataset.train, 2, 48)
        trainer.train(small_dataset.train, 2, 48)
    warnings = [r.message for r in caplog.records if "other values on other replicas" in r.message]
    assert len(warnings) == 1
    assert "memory/mean" in warnings[0]


@pytest.mark.parametrize(
    "layer",
    [CountsItsCalls, lambda: keras.layers.BatchNormalization(synchronized=True)],
)
def test_state_that_stays_together_is_not(small_dataset, caplog, layer):
    trainer = _trainer(lambda: _classifier(layer()), num_replicas=2)
    with caplog.at_level(logging.WARNING):
        trainer.train(small_dataset.train, 2, 48)
    assert "other values" not in caplog.text


@pytest.mark.parametrize("layer", ["dense", "norm"])
def test_what_is_frozen_after_tracing_is_refused(small_dataset, layer):
    trainer = _trainer(
        lambda: _classifier(
            keras.layers.Dense(4, name="dense"), keras.layers.BatchNormalization(name="norm")
        )
    )
    trainer.train(small_dataset.train, 1, 48)
    trainer.model.get_layer(layer).trainable = False
    with pytest.raises(mnist_lib.errors.ConfigError, match="model: a layer was frozen or unfroz"):
        trainer.train(small_dataset.train, 1, 48)
    trainer.model.get_layer(layer).trainable = True
    trainer.train(small_dataset.train, 1, 48)


def test_what_was_frozen_before_stays(small_dataset):
    def build():
        model = _classifier(keras.layers.Dense(4, name="dense"))
        model.get_layer("dense").trainable = False
        return model

    trainer = _trainer(build)
    before = trainer.model.get_layer("dense").kernel.numpy()
    trainer.train(small_dataset.train, 3, 48)
    np.testing.assert_array_equal(trainer.model.get_layer("dense").kernel.numpy(), before)


@pytest.mark.parametrize(
    ("last", "warned"),
    [
        (lambda: keras.layers.Dense(10, activation="softmax"), True),
        (lambda: keras.layers.Dense(10, activation="sigmoid"), True),
        (keras.layers.Softmax, True),
        (lambda: keras.layers.Dense(10), False),
        (lambda: keras.layers.Dense(10, activation="linear"), False),
    ],
)
def test_probabilities_under_a_loss_on_logits_are_warned_of(caplog, last, warned):
    with caplog.at_level(logging.WARNING):
        _trainer(lambda: _classifier(keras.layers.Dense(10), last=last()))
    assert ("the loss takes logits" in caplog.text) == warned


@pytest.mark.parametrize("loss", ["cross_entropy", "hinge", "perceptron"])
def test_a_label_that_is_no_class_is_a_label_error_or_no_number(small_dataset, loss):
    trainer = _trainer(_classifier, loss=loss)
    images = small_dataset.train.images[:48]
    labels = np.where(np.arange(48) == 7, 10, small_dataset.train.labels[:48])
    batches = tf.data.Dataset.from_tensors((images, labels.astype(np.int32)))
    if loss == "cross_entropy":
        with pytest.raises(mnist_lib.errors.ConfigError, match=r"labels: 10 is no class .*\[0, 10"):
            trainer.train(batches, 1)
    else:
        assert trainer.train(batches, 1).first_nonfinite_step == 1


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        ({"model": tf.Module()}, "model: tensorflow.*Module is not of Keras 3"),
        ({"optimizer": "adam"}, "optimizer: builtins.str is not of Keras 3"),
        ({"optimizer": tf.Module()}, "optimizer: .*Module is not of Keras 3"),
    ],
)
def test_what_is_not_of_keras_3_is_refused(thing, message):
    parts = {"model": _classifier(), "optimizer": keras.optimizers.SGD(0.1), **thing}
    with pytest.raises(mnist_lib.errors.ConfigError, match=message):
        mnist_lib.Trainer(**parts)


def test_another_backend_is_refused(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(mnist_lib.errors.ConfigError, match="KERAS_BACKEND: is jax; set it to"):
        _trainer(_classifier)


def test_a_configured_model_is_built_as_it_says_whatever_keras_is_set_to():
    expected = mnist_lib.build_model("cnn", mixed_precision="float32")
    policy, data_format = keras.config.dtype_policy(), keras.config.image_data_format()
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        keras.config.set_image_data_format("channels_first")
        found = mnist_lib.build_model("cnn", mixed_precision="float32")
        of_policy = mnist_lib.build_model("cnn")
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        assert keras.config.image_data_format() == "channels_first"
    finally:
        keras.config.set_dtype_policy(policy)
        keras.config.set_image_data_format(data_format)
    assert [layer.compute_dtype for layer in found.layers] == [
        layer.compute_dtype for layer in expected.layers
    ]
    assert found.layers[2].data_format == "channels_last"
    images = np.zeros((2, 28, 28, 1), np.uint8)
    np.testing.assert_array_equal(found(images), expected(images))
    assert of_policy.layers[2].compute_dtype == "bfloat16"


def test_a_slow_average_forgets_how_it_began(small_dataset):
    """At update t it uses min(momentum, (1 + t) / (10 + t)), here against NumPy."""
    trainer = _trainer(
        _classifier, lambda: mnist_lib.build_optimizer("sgd", 0.1, ema_momentum=0.999)
    )
    kernel = trainer.model.trainable_variables[0]
    average = None
    for step in range(30):
        trainer.train(small_dataset.train, 1, 48)
        momentum = min(0.999, (1 + step) / (10 + step)) if step else 0.0
        now = kernel.numpy()
        average = now if average is None else momentum * average + (1 - momentum) * now
    with trainer.averaged_weights():
        np.testing.assert_allclose(kernel.numpy(), average, atol=1e-6)
    assert trainer.optimizer.ema_momentum == 0.999


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int64])
def test_labels_of_any_integer_dtype_train_alike(small_dataset, dtype):
    images, labels = small_dataset.train.images[:96], small_dataset.train.labels[:96]

    def trained(labels):
        batches = tf.data.Dataset.from_tensor_slices((images, labels))
        trainer = _trainer(_classifier)
        return trainer.train(batches.batch(48, drop_remainder=True), 2)

    assert trained(labels.astype(dtype)) == trained(labels)


def test_images_that_the_model_would_see_as_black_are_refused(small_dataset):
    trainer = _trainer(_classifier)
    images = (small_dataset.train.images[:48] / 255).astype(np.float32)
    batches = tf.data.Dataset.from_tensors((images, small_dataset.train.labels[:48]))
    with pytest.raises(mnist_lib.errors.ConfigError, match=r"images: are float32, and .* uint8"):
        trainer.train(batches, 1)


def test_a_loss_of_one_s_own_takes_labels_of_any_kind(small_dataset):
    """Regression: the label is a number."""
    trainer = _trainer(
        lambda: _classifier(last=keras.layers.Dense(1)),
        lambda: keras.optimizers.Adam(1e-3),
        loss=lambda labels, outputs: tf.square(outputs[:, 0] - labels),
    )
    labels = small_dataset.train.labels.astype(np.float32)
    batches = tf.data.Dataset.from_tensor_slices((small_dataset.train.images, labels))
    batches = batches.batch(48, drop_remainder=True).repeat()
    first, last = trainer.train(batches, 5), trainer.train(batches, 60)
    assert last.loss < first.loss / 2
