import keras
import numpy as np
import pytest
import tensorflow as tf

import mnist_lib
from mnist_lib import choices
from mnist_lib.models import activations, layers

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 28, 28, 1)).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "num_parameters"),
    [
        ("linear", 7_850),
        ("mlp", 669_706),
        ("lenet5", 61_706),
        ("cnn", 1_199_882),
        ("fast_cnn", 109_210),
        ("strided_cnn", 122_506),
        ("shallow_cnn", 83_690),
        ("tiny_cnn", 7_714),
        # An et al. 2020, their code's counts with the two averages of each normalisation.
        ("m3", 1_126_280),
        ("m5", 1_129_160),
        ("m7", 2_292_952),
    ],
)
def test_parameter_counts_and_output(name, num_parameters):
    model = mnist_lib.build_model(name)
    assert model.count_params() == num_parameters
    logits = model(IMAGES)
    assert logits.shape == (6, 10)
    assert logits.dtype == tf.float32
    assert np.isfinite(logits).all()


def test_images_are_scaled_inside():
    model = mnist_lib.build_model("linear")
    kernel, bias = (variable.numpy() for variable in model.weights)
    expected = IMAGES.reshape(6, 784).astype(np.float32) / 255 @ kernel + bias
    np.testing.assert_allclose(model(IMAGES), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["mlp", "lenet5", "cnn", "fast_cnn", "strided_cnn", "shallow_cnn", "tiny_cnn"]
)
@pytest.mark.parametrize("activation", choices.NAMES["activation"])
def test_every_activation_builds(name, activation):
    model = mnist_lib.build_model(name, activation=activation)
    assert np.isfinite(model(IMAGES[:2])).all()


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        ("relu", [0.0, 0.0, 3.0, 1.0]),
        ("leaky_relu", [-0.2, 0.0, 3.0, 1.0]),
        ("elu", [np.exp(-2) - 1, 0.0, 3.0, 1.0]),
        ("sigmoid", 1 / (1 + np.exp([2.0, 0.0, -3.0, -1.0]))),
        ("tanh", np.tanh([-2.0, 0.0, 3.0, 1.0])),
        ("maxout", [0.0, 3.0]),
    ],
)
def test_activation_values(activation, expected):
    layer = activations.activation_layer(activation)
    found = layer(tf.constant([[-2.0, 0.0, 3.0, 1.0]]))
    np.testing.assert_allclose(found, [expected], rtol=1e-6)


def test_pooling_changes_the_result():
    largest = mnist_lib.build_model("lenet5", pooling="max")(IMAGES)
    average = mnist_lib.build_model("lenet5", pooling="average")(IMAGES)
    assert not np.allclose(largest, average)


def test_fast_cnn_does_not_see_the_border():
    model = mnist_lib.build_model("fast_cnn")
    inner = np.zeros_like(IMAGES)
    inner[:, 2:-2, 2:-2] = IMAGES[:, 2:-2, 2:-2]
    np.testing.assert_array_equal(model(inner), model(IMAGES))


def test_fast_cnn_normalises_by_the_batch_in_training_only():
    model = mnist_lib.build_model("fast_cnn")
    together, alone = model(IMAGES, training=False), model(IMAGES[:1], training=False)
    np.testing.assert_allclose(together[:1], alone, rtol=1e-5, atol=1e-6)
    assert not np.allclose(model(IMAGES, training=True)[:1], alone, atol=1e-3)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "float64"])
def test_fused_batch_normalisation_is_that_of_keras(policy):
    dtype = tf.float64 if policy == "float64" else tf.float32
    images = tf.random.stateless_normal((32, 7, 7, 5), [1, 2], dtype=dtype) * 3 + 1
    found = []
    for kind in (layers.FusedBatchNormalization, keras.layers.BatchNormalization):
        layer = kind(momentum=0.9, dtype=policy)
        layer.build(images.shape)
        layer.gamma.assign([1.0, 2, 3, 4, 5])
        layer.beta.assign([1.0, 0, 3, 1, 2])
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = layer(images, training=True)
            total = tf.reduce_sum(tf.cast(outputs, tf.float32) ** 3)
        gradients = tape.gradient(total, [images, layer.gamma.value, layer.beta.value])
        averages = [layer.moving_mean.value, layer.moving_variance.value]
        found.append([outputs, layer(images, training=False), *averages, *gradients])
    for ours, theirs in zip(*found, strict=True):
        assert ours.dtype == theirs.dtype
        tolerance = 1e-5 * float(tf.reduce_max(tf.abs(theirs)))
        # Sums in another order may be rounded to the bfloat16 next to Keras's.
        relative = 2**-7 if policy == "mixed_bfloat16" else 1e-4
        np.testing.assert_allclose(
            tf.cast(ours, tf.float32), tf.cast(theirs, tf.float32), rtol=relative, atol=tolerance
        )


def test_fused_batch_normalisation_is_one_operation_in_training_on_one_replica():
    layer = layers.FusedBatchNormalization()
    images = tf.zeros([2, 3, 3, 4])

    def operations(training):
        function = tf.function(lambda x: layer(x, training=training), autograph=False)
        graph = function.get_concrete_function(images).graph
        return {operation.type for operation in graph.get_operations()}

    layer(images)
    assert "FusedBatchNormV3" in operations(training=True)
    assert "FusedBatchNormV3" not in operations(training=False)
    layer.trainable = False  # then the averages are used, in Keras
    assert "FusedBatchNormV3" not in operations(training=True)


def test_seed_decides_the_weights_and_layers_differ():
    first, again, other = (
        mnist_lib.build_model("mlp", seed=seed).get_weights() for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first[2], again[2])
    assert not np.array_equal(first[2], other[2])
    assert not np.array_equal(first[0][:512], first[2])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("vgg", {}, "model: 'vgg' is not one of linear, mlp, lenet5, cnn, fast_cnn, strided"),
        ("mlp", {"pooling": "max"}, "pooling: model mlp has none"),
        ("linear", {"dropout": 0.5}, "dropout: model linear has none"),
        ("mlp", {"dropout": 1.0}, r"dropout: 1.0 is not a rate in \[0, 1\)"),
        ("mlp", {"activation": "swish"}, "activation: 'swish' is not one of relu"),
        ("cnn", {"pooling": "min"}, "pooling: 'min' is not one of max, average"),
        (
            "fast_cnn",
            {"width": 8},
            "width: model fast_cnn has none; .* choose strided_cnn or shallow_cnn",
        ),
        ("strided_cnn", {"width": 0}, r"width: 0 must be at least 1 and below 2\*\*15"),
        ("mlp", {"mixed_precision": "int8"}, "mixed_precision: 'int8' is not one of"),
    ],
)
def test_wrong_options_are_refused(name, options, message):
    with pytest.raises(mnist_lib.errors.ConfigError, match=message):
        mnist_lib.build_model(name, **options)


def test_bfloat16_keeps_float32_weights_and_logits_and_the_global_policy():
    model = mnist_lib.build_model("mlp", mixed_precision="bfloat16")
    assert {variable.dtype for variable in model.weights} == {"float32"}
    assert model.layers[3].compute_dtype == "bfloat16"
    assert model(IMAGES).dtype == tf.float32
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize("name", ["mlp", "cnn", "fast_cnn"])
def test_keras_file_round_trip(name, tmp_path):
    model = mnist_lib.build_model(name, activation="maxout")
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(IMAGES), model(IMAGES))


def _dropped(num_replicas: int, num_calls: int = 2, row_shape=(30,)) -> np.ndarray:
    """Dropout of ones, as `[num_calls, 12, *row_shape]`, rows in global order."""
    strategy = mnist_lib.create_strategy("mirrored", num_replicas)
    with strategy.scope():
        layer = layers.Dropout(0.25, seed=7)
    rows = 12 // num_replicas

    @tf.function
    def call():
        return strategy.run(lambda: layer(tf.ones([rows, *row_shape]), training=True))

    return np.stack(
        [np.concatenate(strategy.experimental_local_results(call())) for _ in range(num_calls)]
    )


@pytest.mark.parametrize("row_shape", [(30,), (5, 3, 2), (8,)])
def test_dropout_masks_do_not_depend_on_the_number_of_replicas(row_shape):
    one = _dropped(1, row_shape=row_shape)
    for num_replicas in (2, 3):
        np.testing.assert_array_equal(_dropped(num_replicas, row_shape=row_shape), one)


def test_dropout_rows_and_calls_differ_and_the_rate_holds():
    values = _dropped(1, num_calls=200)
    assert set(np.unique(values)) == {0.0, np.float32(1 / 0.75)}
    # 72,000 draws: the standard deviation of the fraction is 0.0016.
    assert abs((values == 0).mean() - 0.25) < 0.008
    rows = values.reshape(-1, 30)
    assert len(np.unique(rows, axis=0)) > 0.99 * len(rows)


def test_dropout_does_nothing_outside_training():
    layer = layers.Dropout(0.5, seed=0)
    np.testing.assert_array_equal(layer(tf.ones([3, 4]), training=False), np.ones([3, 4]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["m3", "m5", "m7"])
def test_the_networks_of_an_et_al_learn_by_their_recipes(name, small_dataset, tmp_path):
    """A short run each: a whole one takes a day or more of two cores."""
    config = mnist_lib.recipe(
        name, batch_size=20, train_steps=40, steps_per_loop=10, eval_every=40, summaries="none"
    )
    mnist_lib.train_and_evaluate(config, tmp_path / "run", data=small_dataset)
    steps, losses = mnist_lib.read_history(tmp_path / "run")["train"]["loss"]
    assert steps.tolist() == [10, 20, 30, 40]
    assert losses[-1] < 0.9 * losses[0] < 2.3  # -log(1/10)
    assert max(losses[1:]) < losses[0]
