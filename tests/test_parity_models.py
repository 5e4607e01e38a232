"""Kinds of Keras models and all its optimizers agree in float64, or are named with the reason."""

import keras
import pytest
import tensorflow as tf

import mnist_lib
from mnist_lib.parity.synchronize import synchronize_batch_norm

layers = keras.layers
IMAGE, SEQUENCE = (6, 6, 2), (5, 4)


@pytest.fixture(autouse=True)
def _float64():
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])


def _chain(shape, *make_layers):
    """Returns a function that builds a classifier with some layers before its last."""

    def build():
        x = image = keras.Input(shape)
        for make in make_layers:
            x = make()(x)
        return keras.Model(image, layers.Dense(10)(layers.Flatten()(x)))

    return build


def _nested():
    base = keras.Sequential([keras.Input(IMAGE), layers.Flatten(), layers.Dense(5)])
    image = keras.Input(IMAGE)
    return keras.Model(image, layers.Dense(10)(base(image)))


def _twice_nested():
    inner = keras.Sequential([keras.Input((5,)), layers.Dense(5, "tanh")])
    middle = keras.Sequential([keras.Input(IMAGE), layers.Flatten(), layers.Dense(5), inner])
    return keras.Sequential([keras.Input(IMAGE), middle, layers.Dense(10)])


def _layer_used_twice():
    shared = layers.Dense(6, "tanh")
    x = inputs = keras.Input((6,))
    return keras.Model(inputs, layers.Dense(10)(shared(shared(x))))


def _residual():
    inputs = keras.Input((6,))
    return keras.Model(inputs, layers.Dense(10)(inputs + keras.ops.tanh(layers.Dense(6)(inputs))))


def _two_outputs():
    x = inputs = keras.Input((6,))
    return keras.Model(inputs, [layers.Dense(10)(x), layers.Dense(3)(x)])


def _dict_inputs():
    inputs = {"a": keras.Input((4,), name="a"), "b": keras.Input((3,), name="b")}
    return keras.Model(inputs, layers.Dense(10)(layers.Concatenate()(list(inputs.values()))))


def _two_inputs():
    inputs = [keras.Input((4,)), keras.Input((7,), dtype="int32")]
    words = layers.GlobalAveragePooling1D()(layers.Embedding(9, 3)(inputs[1]))
    return keras.Model(inputs, layers.Dense(10)(layers.Concatenate()([inputs[0], words])))


def _embedding():
    return keras.Sequential(
        [
            keras.Input((None,)),
            layers.Embedding(20, 6),
            layers.GlobalAveragePooling1D(),
            layers.Dense(10),
        ]
    )


def _attention():
    x = inputs = keras.Input(SEQUENCE)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 3)(x, x))
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling1D()(x)))


def _open_image():
    x = inputs = keras.Input((None, None, 2))
    x = layers.GlobalMaxPooling2D()(layers.Conv2D(4, 3)(x))
    return keras.Model(inputs, layers.Dense(10)(x))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden, self.logits = layers.Dense(7, "relu"), layers.Dense(10)

    def call(self, x):
        return self.logits(self.hidden(x))


def _subclassed():
    model = Subclassed()
    model(tf.zeros([2, 6]))
    return model


class _Positions(layers.Layer):
    """Adds a table that has no rows of the batch."""

    def build(self, shape):
        self.table = layers.Embedding(shape[1], shape[2])

    def call(self, x):
        return x + self.table(tf.range(x.shape[1]))


AGREE = {
    "one layer": lambda: keras.Sequential([keras.Input((6,)), layers.Dense(10)]),
    "one layer after an image": _chain(IMAGE),
    "dense": _chain((6,), lambda: layers.Dense(8, "relu")),
    "regularised": _chain(
        (6,), lambda: layers.Dense(8, kernel_regularizer="l2", activity_regularizer="l1")
    ),
    "convolution": _chain(IMAGE, lambda: layers.Conv2D(3, 3, padding="same")),
    "strided": _chain(IMAGE, lambda: layers.Conv2D(3, 3, strides=2)),
    "depthwise": _chain(IMAGE, lambda: layers.DepthwiseConv2D(3)),
    "separable": _chain(IMAGE, lambda: layers.SeparableConv2D(3, 3)),
    "transposed": _chain(IMAGE, lambda: layers.Conv2DTranspose(3, 3)),
    "convolution 1D": _chain(SEQUENCE, lambda: layers.Conv1D(3, 2)),
    "pooling": _chain(IMAGE, layers.MaxPooling2D, lambda: layers.AveragePooling2D(2)),
    "layer normalisation": _chain(IMAGE, layers.LayerNormalization),
    "group normalisation": _chain(IMAGE, lambda: layers.GroupNormalization(2)),
    "bias before batch normalisation": _chain(
        IMAGE,
        lambda: layers.Conv2D(3, 3),
        lambda: layers.BatchNormalization(synchronized=True),
    ),
    "batch normalisation twice": _chain(
        (6,),
        lambda: layers.BatchNormalization(synchronized=True),
        lambda: layers.BatchNormalization(synchronized=True, scale=False, center=False),
    ),
    "spectral normalisation": _chain((6,), lambda: layers.SpectralNormalization(layers.Dense(4))),
    "our dropout": _chain((6,), lambda: mnist_lib.Dropout(0.5, seed=1)),
    "PReLU": _chain((6,), layers.PReLU),
    "nested": _nested,
    "twice nested": _twice_nested,
    "a layer used twice": _layer_used_twice,
    "operations": _residual,
    "two outputs": _two_outputs,
    "dict of inputs": _dict_inputs,
    "two inputs, one of words": _two_inputs,
    "embedding of an open length": _embedding,
    "image of an open size": _open_image,
    "subclassed": _subclassed,
    "table of positions": _chain(SEQUENCE, _Positions),
    "attention": _attention,
    "simple RNN": _chain(SEQUENCE, lambda: layers.SimpleRNN(4)),
    "LSTM": _chain(SEQUENCE, lambda: layers.LSTM(4)),
    "GRU": _chain(SEQUENCE, lambda: layers.GRU(4, return_sequences=True)),
    "bidirectional": _chain(SEQUENCE, lambda: layers.Bidirectional(layers.LSTM(3))),
    "time distributed": _chain(SEQUENCE, lambda: layers.TimeDistributed(layers.Dense(3))),
    "convolutional LSTM": _chain((3, *IMAGE), lambda: layers.ConvLSTM2D(2, 3)),
}
QUICK = {
    "one layer",
    "bias before batch normalisation",
    "nested",
    "subclassed",
    "two outputs",
    "two inputs, one of words",
    "embedding of an open length",
}
NAMED = {
    "batch normalisation": (layers.BatchNormalization, "state", "synchronize_batch_norm"),
    "dropout": (lambda: layers.Dropout(0.5), "forward", "mnist_lib.Dropout"),
    "spatial dropout": (lambda: layers.SpatialDropout1D(0.5), "forward", "mnist_lib.Dropout"),
    "noise": (lambda: layers.GaussianNoise(0.5), "forward", "mnist_lib.Dropout"),
    "dropout in a GRU": (
        lambda: layers.GRU(4, dropout=0.5),
        "forward",
        "before a layer that has a dropout",
    ),
    "dropout in a Sequential": (
        lambda: keras.Sequential([layers.Dense(4), layers.Dropout(0.5)]),
        "forward",
        "mnist_lib.Dropout",
    ),
    "batch normalisation in a wrapper": (
        lambda: layers.TimeDistributed(layers.BatchNormalization()),
        "state",
        "synchronized=True",
    ),
}


def _check(build, **options):
    return mnist_lib.check_replica_parity(build, num_replicas=2, batch_size=8, **options)


def _some(names, slow):
    return [pytest.param(n, marks=[pytest.mark.slow] if n in slow else []) for n in names]


@pytest.mark.parametrize("name", _some(AGREE, set(AGREE) - QUICK))
def test_models_agree_in_float64(name):
    report = _check(AGREE[name], num_steps=2, tolerance=1e-9)
    assert report.agree, str(report)


@pytest.mark.parametrize(
    "name",
    _some(
        NAMED,
        {
            "noise",
            "dropout in a GRU",
            "spatial dropout",
            "dropout",
            "batch normalisation in a wrapper",
        },
    ),
)
def test_models_that_cannot_agree_are_named(name):
    make, stage, advice = NAMED[name]
    report = _check(_chain(SEQUENCE, make), num_steps=1)
    assert report.first.stage == stage, str(report)
    assert advice in report.first.advice, str(report)


OPTIMIZERS = {
    "SGD": {},
    "SGD nesterov": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    "SGD clipped": {"global_clipnorm": 0.1},
    "SGD averaged": {"use_ema": True},
    "Adam": {},
    "AdamW": {},
    "Adamax": {},
    "Nadam": {},
    "Adadelta": {},
    "Adagrad": {},
    "Adafactor": {},
    "Ftrl": {},
    "RMSprop": {},
    "Lion": {},
    "Lamb": {},
    "Muon": {},
    "ScheduleFreeAdamW": {},
}


@pytest.mark.parametrize("name", _some(OPTIMIZERS, set(OPTIMIZERS) - {"Adam"}))
def test_optimizers_agree_in_float64(name):
    report = _check(
        _chain(IMAGE, lambda: layers.Dense(4)),
        build_optimizer=lambda: getattr(keras.optimizers, name.split()[0])(
            0.01, **OPTIMIZERS[name]
        ),
        tolerance=1e-9,
    )
    assert report.agree, str(report)


def test_all_optimizers_of_keras_are_in_the_table():
    kinds = {
        name
        for name, kind in vars(keras.optimizers).items()
        if isinstance(kind, type) and issubclass(kind, keras.Optimizer)
    }
    # These wrap others: `test_optimizers.py` and `test_trainable.py` try them.
    wrappers = {"Optimizer", "LossScaleOptimizer", "MultiOptimizer"}
    assert kinds - wrappers == {name.split()[0] for name in OPTIMIZERS}


def test_a_copy_with_synchronised_batch_normalisation_has_the_same_weights():
    model = keras.applications.MobileNetV2(
        weights=None, input_shape=(32, 32, 3), classes=10, alpha=0.35
    )
    copy = synchronize_batch_norm(model)
    norms = [x for x in copy.layers if isinstance(x, layers.BatchNormalization)]
    assert len(norms) == 52
    assert all(norm.synchronized for norm in norms)
    assert not any(getattr(layer, "synchronized", False) for layer in model.layers)
    for ours, theirs in zip(copy.weights, model.weights, strict=True):
        assert ours.path == theirs.path
        assert (ours.numpy() == theirs.numpy()).all()
    images = tf.random.stateless_uniform([2, 32, 32, 3], [1, 2], dtype=tf.float64)
    assert (copy(images).numpy() == model(images).numpy()).all()


def _with_norms(wrap=lambda layer: layer):
    norms = keras.Sequential([keras.Input((4,)), layers.BatchNormalization(), layers.Dense(4)])
    norms.layers[0].trainable = False
    return _chain((4,), lambda: wrap(layers.BatchNormalization()), lambda: norms)()


def test_a_copy_agrees_nested_models_too():
    assert _check(_with_norms).first.stage == "state"
    report = _check(lambda: synchronize_batch_norm(_with_norms()))
    assert report.agree, str(report)
    model = _with_norms()
    copy = synchronize_batch_norm(model)
    assert len(copy.trainable_variables) == len(model.trainable_variables)


def test_what_cannot_be_copied_is_refused():
    with pytest.raises(mnist_lib.errors.ConfigError, match="is subclassed or not built"):
        synchronize_batch_norm(_subclassed())
    x = inputs = keras.Input(SEQUENCE)
    model = keras.Model(inputs, layers.TimeDistributed(layers.BatchNormalization())(x))
    with pytest.raises(mnist_lib.errors.ConfigError, match="TimeDistributed, which makes it by"):
        synchronize_batch_norm(model)
