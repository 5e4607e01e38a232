"""1, 2, 3 and 4 replicas compute the same; naive ways of doing it do not."""

import contextlib
import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

import mnist_lib
from mnist_lib.models import batch_parts
from mnist_lib.models.layers import Dropout
from mnist_lib.training import (
    keras_internals,
    losses,
    optimizers,
    replica_step,
    trainable,
)

NUM_STEPS = 20
BATCH_SIZE = 48


@dataclasses.dataclass
class Outcome:
    """What some steps left: numbers to compare between numbers of replicas."""

    losses: list
    gradient_norms: list
    num_correct: list
    variables: dict
    copies_agree: bool
    test: mnist_lib.EvalMetrics
    learning_rate: float

    def largest_difference(self, other) -> float:
        """Returns the largest absolute difference of any number but the counts."""
        pairs = [
            (self.losses, other.losses),
            (self.gradient_norms, other.gradient_norms),
            ([self.test.loss], [other.test.loss]),
            *((self.variables[name], other.variables[name]) for name in self.variables),
        ]
        assert self.variables.keys() == other.variables.keys()
        return max(float(np.max(np.abs(np.subtract(a, b)))) for a, b in pairs)

    def same_counts(self, other) -> bool:
        return self.num_correct == other.num_correct and np.array_equal(
            self.test.confusion_matrix, other.test.confusion_matrix
        )


@contextlib.contextmanager
def _precision(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _build_with_everything(batch_norm=True, l2=0.01, dropout=0.3, synchronized=True):
    """Convolution, L2, an activity regulariser, batch normalisation, dropout."""
    regularizer = keras.regularizers.L2(l2) if l2 else None

    def glorot(seed):
        return keras.initializers.GlorotUniform(seed=seed)

    image = keras.Input((28, 28, 1), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Conv2D(
        4, 5, strides=3, kernel_initializer=glorot(1), kernel_regularizer=regularizer
    )(x)
    if batch_norm:
        x = keras.layers.BatchNormalization(synchronized=synchronized, momentum=0.8)(x)
    x = keras.layers.Flatten()(keras.layers.Activation("relu")(x))
    x = keras.layers.Dense(
        12, activation="tanh", kernel_initializer=glorot(2), activity_regularizer=regularizer
    )(x)
    x = Dropout(dropout, seed=7)(x)
    return keras.Model(image, keras.layers.Dense(10, kernel_initializer=glorot(3))(x))


def _run(
    split,
    test_split,
    num_replicas,
    *,
    precision="float64",
    build=_build_with_everything,
    loss=None,
    optimizer="adam",
    accumulation_steps=1,
    num_steps=NUM_STEPS,
    **optimizer_options,
) -> Outcome:
    strategy = mnist_lib.create_strategy("mirrored", num_replicas)
    with strategy.scope(), _precision(precision):
        model = build()
        built_optimizer = mnist_lib.build_optimizer(
            optimizer, 0.01, **{"clip_norm": 0.5, "ema_momentum": 0.9, **optimizer_options}
        )
    trainer = mnist_lib.Trainer(
        model,
        built_optimizer,
        strategy=strategy,
        loss=losses.smoothed_cross_entropy(0.1) if loss is None else loss,
        accumulation_steps=accumulation_steps,
    )
    batches = trainer.distribute(mnist_lib.train_batches(split, BATCH_SIZE, seed=0))
    iterator = iter(batches)
    steps = [trainer.train(iterator, 1) for _ in range(num_steps)]
    evaluator = mnist_lib.Evaluator(model, strategy=strategy, replica_batch_size=64)
    with trainer.averaged_weights():
        test = evaluator.evaluate(mnist_lib.eval_batches(test_split))
    variables = model.variables + built_optimizer.variables
    local = [strategy.experimental_local_results(variable.value) for variable in variables]
    return Outcome(
        losses=[step.objective for step in steps],
        gradient_norms=[step.gradient_norm for step in steps],
        num_correct=[step.num_correct for step in steps],
        variables={n: copies[0].numpy().astype(np.float64) for n, copies in enumerate(local)},
        copies_agree=all(np.array_equal(copies[0], copy) for copies in local for copy in copies),
        test=test,
        learning_rate=trainer.learning_rate,
    )


@pytest.fixture(scope="module")
def run(small_dataset):
    return lambda *args, **options: _run(small_dataset.train, small_dataset.test, *args, **options)


@pytest.fixture(scope="module")
def one_replica(run):
    """L2, synchronised batch norm, dropout, smoothing, clipping and averaging, in float64."""
    return run(1)


@pytest.fixture(scope="module")
def one_replica_without_batch_norm(run):
    return run(1, build=lambda: _build_with_everything(batch_norm=False))


@pytest.mark.parametrize("num_replicas", [2, 3, pytest.param(4, marks=pytest.mark.slow)])
def test_everything_agrees_in_float64(run, one_replica, num_replicas):
    found = run(num_replicas)
    assert found.largest_difference(one_replica) < 1e-9
    assert found.same_counts(one_replica)
    assert found.copies_agree
    assert one_replica.losses[-1] < one_replica.losses[0]


@pytest.mark.slow
def test_everything_agrees_in_float32(run):
    """Sums in another order differ by 1e-7, which 20 steps magnify to less than 1e-4.

    With momentum: Adam divides by the root of the second moment, and the bias before
    batch normalisation, whose gradient is rounding noise, then moves at full rate.
    """
    options = {"precision": "float32", "optimizer": "momentum"}
    one = run(1, **options)
    for num_replicas in (2, 3, 4):
        found = run(num_replicas, **options)
        assert found.losses[0] == pytest.approx(one.losses[0], rel=1e-6)
        assert found.largest_difference(one) < 1e-4
        assert found.num_correct == one.num_correct
        assert found.copies_agree


@pytest.mark.parametrize(
    ("num_replicas", "accumulation_steps"),
    [(1, 6), (2, 3), *(pytest.param(*pair, marks=pytest.mark.slow) for pair in ((3, 2), (4, 4)))],
)
def test_accumulation_is_the_large_batch(
    run, one_replica_without_batch_norm, num_replicas, accumulation_steps
):
    found = run(
        num_replicas,
        build=lambda: _build_with_everything(batch_norm=False),
        accumulation_steps=accumulation_steps,
    )
    if accumulation_steps == 4:  # 48 images are 12 a replica, 3 a part
        assert BATCH_SIZE // num_replicas // accumulation_steps == 3
    assert found.largest_difference(one_replica_without_batch_norm) < 1e-9
    assert found.same_counts(one_replica_without_batch_norm)


def _reduce_only_the_metrics(tensors):
    """Leaves the gradients to Keras's `apply`, as most custom loops do."""
    *gradients, loss, correct = tensors
    context = tf.distribute.get_replica_context()
    return [*gradients, *context.all_reduce(tf.distribute.ReduceOp.SUM, [loss, correct])]


def _leave_reduction_to_keras(monkeypatch):
    monkeypatch.setattr(replica_step, "all_reduce_sum", _reduce_only_the_metrics)
    monkeypatch.setattr(
        keras_internals, "reduced_elsewhere", lambda optimizer: contextlib.nullcontext()
    )


def _count_regularization_on_each_replica(monkeypatch):
    right = losses.scaled_loss
    monkeypatch.setattr(
        losses, "scaled_loss", lambda examples, size, terms, parts: right(examples, size, terms, 1)
    )


def _added_losses_as_keras_keeps_them(monkeypatch):
    monkeypatch.setattr(keras_internals, "losses_apart", lambda model: contextlib.nullcontext())
    monkeypatch.setattr(keras_internals, "weight_penalties", lambda model: model.losses)


def _average_over_the_replica_only(monkeypatch):
    right = losses.scaled_loss
    monkeypatch.setattr(
        losses,
        "scaled_loss",
        lambda examples, size, terms, parts: right(examples, examples.shape[0], terms, parts),
    )


def _same_mask_on_every_replica(monkeypatch):
    monkeypatch.setattr(batch_parts, "part_index", lambda: tf.constant(0, tf.int64))


def _average_once_per_replica(monkeypatch):
    right = optimizers.FusedAdam._update_model_variables_moving_average

    def update(self, variables):
        for _ in range(tf.distribute.get_replica_context().num_replicas_in_sync):
            right(self, variables)

    monkeypatch.setattr(optimizers.FusedAdam, "_update_model_variables_moving_average", update)


def _normalise_each_replica(monkeypatch):
    monkeypatch.setattr(trainable, "check", lambda *_, **__: None)


@pytest.mark.parametrize(
    "make_naive",
    [
        _leave_reduction_to_keras,  # clips before it reduces
        _count_regularization_on_each_replica,
        _added_losses_as_keras_keeps_them,
        _average_over_the_replica_only,
        _same_mask_on_every_replica,
        _average_once_per_replica,
        _normalise_each_replica,
    ],
)
def test_the_comparison_notices_what_is_naive(run, one_replica, make_naive, monkeypatch):
    make_naive(monkeypatch)
    synchronized = make_naive is not _normalise_each_replica
    found = run(2, build=lambda: _build_with_everything(synchronized=synchronized))
    assert found.largest_difference(one_replica) > 1e-4


def test_the_comparison_notices_parts_that_draw_the_same(
    run, one_replica_without_batch_norm, monkeypatch
):
    monkeypatch.setattr(
        replica_step.batch_parts,
        "accumulation_part",
        lambda index, count: contextlib.nullcontext(),
    )
    found = run(1, build=lambda: _build_with_everything(batch_norm=False), accumulation_steps=2)
    assert found.largest_difference(one_replica_without_batch_norm) > 1e-4


@pytest.mark.parametrize("accumulation_steps", [1, 3])
def test_bfloat16_agrees(run, accumulation_steps):
    """bfloat16 has 8 bits of precision: a loss of 2.3 is known to about 0.01."""
    options = {
        "precision": "mixed_bfloat16",
        "build": lambda: _build_with_everything(batch_norm=False),
    }
    one = run(1, **options)
    found = run(2, accumulation_steps=accumulation_steps, **options)
    np.testing.assert_allclose(found.losses, one.losses, atol=0.03)
    assert found.losses[-1] < found.losses[0]
    assert found.copies_agree


def _run_float16(run, num_replicas, **options):
    return run(
        num_replicas,
        precision="mixed_float16",
        build=lambda: _build_with_everything(batch_norm=False),
        scale_loss=True,
        **options,
    )


@pytest.mark.slow
def test_float16_agrees_and_its_gradients_are_those_of_float32(run):
    """float16 has 11 bits of precision; the loss scale, 2**15, is a power of two."""
    one = _run_float16(run, 1)
    found = _run_float16(run, 2)
    exact = run(1, precision="float32", build=lambda: _build_with_everything(batch_norm=False))
    np.testing.assert_allclose(found.losses, one.losses, atol=0.01)
    np.testing.assert_allclose(one.losses, exact.losses, atol=0.02)
    np.testing.assert_allclose(one.gradient_norms, exact.gradient_norms, rtol=0.1)
    assert found.copies_agree
    assert one.learning_rate == pytest.approx(0.01)


def _overflowing_loss(labels, logits):
    """The gradient of one image overflows float16 once scaled: of the last of the batch."""
    context = tf.distribute.get_replica_context()
    is_last_replica = context.replica_id_in_sync_group == context.num_replicas_in_sync - 1
    is_last = tf.range(tf.shape(labels)[0]) == tf.shape(labels)[0] - 1
    weight = tf.where(is_last & is_last_replica, 1e30, 1.0)
    loss = losses.cross_entropy(labels, tf.cast(logits, tf.float32))
    return loss + (weight - 1.0) * (loss - tf.stop_gradient(loss))


@pytest.mark.parametrize(
    "num_replicas", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 4))]
)
def test_an_overflow_on_one_replica_skips_the_step_on_all(run, num_replicas):
    found = _run_float16(run, num_replicas, loss=_overflowing_loss, num_steps=2)
    fresh = _run_float16(run, num_replicas, loss=_overflowing_loss, num_steps=1)
    assert found.copies_agree
    assert all(np.all(np.isfinite(value)) for value in found.variables.values())
    same = [np.array_equal(found.variables[n], fresh.variables[n]) for n in fresh.variables]
    assert same.count(False) >= 2  # the scale, the counter of steps; dropout's state
    weights = [value for value in found.variables.values() if value.ndim == 2]
    assert len(weights) > 0
    scales = [float(v) for v in found.variables.values() if v.ndim == 0 and v in (2.0**13, 2.0**14)]
    assert scales == [2.0**13]


def test_deciding_before_the_reduction_would_ruin_the_weights(run, monkeypatch):
    """Replica 0 sees finite gradients and lets all apply those of replica 1 too."""
    _leave_reduction_to_keras(monkeypatch)
    found = _run_float16(run, 2, loss=_overflowing_loss, num_steps=1, clip_norm=None)
    assert not all(np.all(np.isfinite(value)) for value in found.variables.values())


class _Mask(keras.layers.Layer):
    """Adds what a Keras generator draws, so that its draws can be seen in the gradient."""

    def __init__(self):
        super().__init__()
        self.generator = keras.random.SeedGenerator(5)
        self.bias = self.add_weight(shape=(6,), initializer="zeros", trainable=True)

    def call(self, x):
        draw = keras.random.uniform((6,), seed=self.generator)
        return x * 0 + tf.reduce_sum(draw * self.bias)


def _draws_per_part(num_replicas, accumulation_steps, split):
    strategy = mnist_lib.create_strategy("mirrored", num_replicas)
    with strategy.scope():
        image = keras.Input((28, 28, 1), dtype="uint8")
        x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(image))
        model = keras.Model(image, _Mask()(keras.layers.Dense(10)(x)))
        optimizer = mnist_lib.build_optimizer("sgd", 1.0)
    trainer = mnist_lib.Trainer(
        model,
        optimizer,
        strategy=strategy,
        loss=lambda labels, logits: logits[:, 0],
        accumulation_steps=accumulation_steps,
    )
    batches = iter(trainer.distribute(mnist_lib.train_batches(split, 12, seed=0)))
    trainer.train(batches, 1)
    (mask,) = [layer for layer in model.layers if isinstance(layer, _Mask)]
    assert "next" not in vars(mask.generator)
    # The bias is 0, less the mean over the parts of what each drew.
    return -mask.bias.numpy(), mask.generator.state.numpy()


def test_keras_random_layers_draw_differently_in_each_part(small_dataset):
    alone, state = _draws_per_part(1, 1, small_dataset.train)
    by_keras = keras.random.uniform((6,), seed=keras.random.SeedGenerator(5))
    np.testing.assert_allclose(alone, by_keras, rtol=1e-6)
    for num_replicas, accumulation_steps in ((2, 1), (1, 2)):
        mean, after = _draws_per_part(num_replicas, accumulation_steps, small_dataset.train)
        np.testing.assert_array_equal(after, state)
        other = 2 * mean - alone
        assert np.all((other >= 0) & (other < 1))
        assert np.abs(other - alone).max() > 0.05
    of_replicas, _ = _draws_per_part(2, 2, small_dataset.train)
    of_parts, _ = _draws_per_part(1, 4, small_dataset.train)
    np.testing.assert_allclose(of_replicas, of_parts, rtol=1e-5)


def test_the_comparison_notices_draws_that_are_the_same(small_dataset, monkeypatch):
    monkeypatch.setattr(
        keras_internals, "seeds_of_each_part", lambda model: contextlib.nullcontext()
    )
    alone, _ = _draws_per_part(1, 1, small_dataset.train)
    mean, _ = _draws_per_part(2, 1, small_dataset.train)
    np.testing.assert_allclose(mean, alone, rtol=1e-6)


def test_averaged_weights_are_put_in_place_and_taken_out_again(small_dataset):
    strategy = mnist_lib.create_strategy("mirrored", 2)
    with strategy.scope():
        model = mnist_lib.build_model("linear", seed=0)
        optimizer = mnist_lib.build_optimizer("sgd", 0.5, ema_momentum=0.75)
    trainer = mnist_lib.Trainer(model, optimizer, strategy=strategy)
    batches = iter(trainer.distribute(mnist_lib.train_batches(small_dataset.train, 48)))
    average = None
    for step in range(4):
        trainer.train(batches, 1)
        kernel = model.trainable_variables[0].numpy()
        momentum = min(0.75, (1 + step) / (10 + step))  # it begins warm
        average = kernel if step == 0 else momentum * average + (1 - momentum) * kernel
    with trainer.averaged_weights():
        np.testing.assert_allclose(model.trainable_variables[0].numpy(), average, atol=1e-6)
    np.testing.assert_array_equal(model.trainable_variables[0].numpy(), kernel)
    assert np.abs(average - kernel).max() > 1e-3


def test_what_is_not_right_on_several_replicas_is_refused():
    strategy = mnist_lib.create_strategy("mirrored", 2)

    def trainer(accumulation_steps=1, synchronized=True, **options):
        with strategy.scope():
            model = _build_with_everything(synchronized=synchronized)
            optimizer = keras.optimizers.SGD(0.1, **options)
        return mnist_lib.Trainer(
            model, optimizer, strategy=strategy, accumulation_steps=accumulation_steps
        )

    with pytest.raises(mnist_lib.errors.ConfigError, match="make it with synchronized=True"):
        trainer(synchronized=False)
    with pytest.raises(
        mnist_lib.errors.ConfigError, match=r"accumulation_steps: .* without batch norm"
    ):
        trainer(accumulation_steps=2)
    with pytest.raises(mnist_lib.errors.ConfigError, match="pass accumulation_steps to Trainer"):
        trainer(gradient_accumulation_steps=2)
