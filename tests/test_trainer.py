"""The training loop and the evaluator: learning, exactness, parity of replicas."""

import gc
import os
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import mnist_lib
from mnist_lib.training import keras_internals


def _trainer(num_replicas: int = 1, model: str = "mlp", optimizer: str = "adam", **options):
    strategy = mnist_lib.create_strategy("mirrored", num_replicas)
    with strategy.scope():
        built = mnist_lib.build_model(model, seed=0, **options)
        built_optimizer = mnist_lib.build_optimizer(optimizer, 1e-3 if optimizer == "adam" else 0.1)
    return mnist_lib.Trainer(built, built_optimizer, strategy=strategy)


def _batches(trainer, split, batch_size=48):
    return iter(trainer.distribute(mnist_lib.train_batches(split, batch_size, seed=0)))


def test_it_learns(small_dataset):
    trainer = _trainer()
    batches = _batches(trainer, small_dataset.train)
    first, last = trainer.train(batches, 5), trainer.train(batches, 40)
    assert last.loss < first.loss / 2
    evaluator = mnist_lib.Evaluator(trainer.model, strategy=trainer.strategy)
    metrics = evaluator.evaluate(mnist_lib.eval_batches(small_dataset.test))
    assert metrics.accuracy > 0.95
    assert trainer.step == 45


def test_one_step_is_what_plain_keras_computes(small_dataset):
    """Loss, gradient norm and the SGD update, against a tape of our own."""
    trainer = _trainer(optimizer="sgd", dropout=0.0)
    images, labels = next(iter(mnist_lib.train_batches(small_dataset.train, 48, seed=0)))
    variables = trainer.model.trainable_variables
    before = [variable.numpy() for variable in variables]
    with tf.GradientTape() as tape:
        logits = trainer.model(images, training=True)
        loss = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        loss = tf.reduce_mean(loss)
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    metrics = trainer.train(_batches(trainer, small_dataset.train), 1)
    assert metrics.loss == pytest.approx(float(loss), rel=1e-6)
    assert metrics.gradient_norm == pytest.approx(float(tf.linalg.global_norm(gradients)), rel=1e-5)
    correct = int(np.sum(np.argmax(logits, -1) == labels))
    assert (metrics.num_examples, metrics.num_correct) == (48, correct)
    for variable, old, gradient in zip(variables, before, gradients, strict=True):
        np.testing.assert_allclose(variable.numpy(), old - 0.1 * gradient, rtol=1e-5, atol=1e-7)


def _ten_steps(num_replicas, split, test_split, optimizer):
    trainer = _trainer(num_replicas, optimizer=optimizer)
    batches = _batches(trainer, split)
    steps = [trainer.train(batches, 1) for _ in range(10)]
    evaluator = mnist_lib.Evaluator(trainer.model, strategy=trainer.strategy, replica_batch_size=64)
    metrics = evaluator.evaluate(mnist_lib.eval_batches(test_split))
    return steps, trainer.model.get_weights(), metrics


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_one_two_and_three_replicas_agree(small_dataset, optimizer):
    """Loss, gradient norm, weights after ten steps and metrics, dropout included.

    float32: the order of summation differs, so losses and gradients agree to 1e-5
    and weights, of size 0.1, to 1e-5 absolute. Adam divides by the root of the
    second moment, which magnifies differences in gradients near zero, hence 1e-4.
    """
    steps, weights, metrics = _ten_steps(1, small_dataset.train, small_dataset.test, optimizer)
    for num_replicas in (2, 3):
        found = _ten_steps(num_replicas, small_dataset.train, small_dataset.test, optimizer)
        for ours, expected in zip(found[0], steps, strict=True):
            assert ours.loss == pytest.approx(expected.loss, rel=1e-5)
            assert ours.gradient_norm == pytest.approx(expected.gradient_norm, rel=1e-4)
            assert ours.num_examples == expected.num_examples
        for ours, expected in zip(found[1], weights, strict=True):
            np.testing.assert_allclose(ours, expected, atol=1e-5 if optimizer == "sgd" else 1e-4)
        assert found[2].num_examples == metrics.num_examples == 203
        assert found[2].num_correct == metrics.num_correct
        assert found[2].loss == pytest.approx(metrics.loss, rel=1e-3)


def test_parity_would_notice_a_second_reduction(small_dataset, monkeypatch):
    """If Keras summed the gradients again, two replicas would take double steps."""
    reduce_again = keras.optimizers.SGD._all_reduce_sum_gradients
    monkeypatch.setattr(
        keras_internals, "reduced_elsewhere", lambda optimizer: tf.name_scope("reduced")
    )
    assert keras.optimizers.SGD._all_reduce_sum_gradients is reduce_again
    one, two = (_ten_steps(n, small_dataset.train, small_dataset.test, "sgd")[1][0] for n in (1, 2))
    assert np.abs(one - two).max() > 1e-3


def test_the_optimizer_still_works_with_fit_afterwards(small_dataset):
    trainer = _trainer(optimizer="sgd")
    trainer.train(_batches(trainer, small_dataset.train), 1)
    assert "_all_reduce_sum_gradients" not in vars(trainer.optimizer)


def test_every_replica_holds_the_same_weights(small_dataset):
    trainer = _trainer(3)
    trainer.train(_batches(trainer, small_dataset.train), 5)
    for variable in trainer.model.trainable_variables + trainer.optimizer.variables:
        copies = trainer.strategy.experimental_local_results(variable.value)
        assert len(copies) == 3
        for copy in copies[1:]:
            np.testing.assert_array_equal(copy, copies[0])


def test_regularisation_counts_once(small_dataset):
    def first_loss(num_replicas):
        strategy = mnist_lib.create_strategy("mirrored", num_replicas)
        with strategy.scope():
            initializer = keras.initializers.GlorotUniform(seed=0)
            model = keras.Sequential(
                [
                    keras.Input((28, 28, 1), dtype="uint8"),
                    keras.layers.Rescaling(1 / 255),
                    keras.layers.Flatten(),
                    keras.layers.Dense(
                        10,
                        kernel_initializer=initializer,
                        kernel_regularizer=keras.regularizers.L2(0.1),
                    ),
                ]
            )
            optimizer = mnist_lib.build_optimizer("sgd", 0.1)
        trainer = mnist_lib.Trainer(model, optimizer, strategy=strategy)
        metrics = trainer.train(_batches(trainer, small_dataset.train), 2)
        return metrics.loss

    assert first_loss(3) == pytest.approx(first_loss(1), rel=1e-5)


def test_number_of_traces_is_constant(small_dataset):
    trainer = _trainer()
    evaluator = mnist_lib.Evaluator(trainer.model, strategy=trainer.strategy, replica_batch_size=64)
    batches = _batches(trainer, small_dataset.train)
    trainer.trace(batches)
    assert trainer._train_steps.experimental_get_tracing_count() == 1
    assert trainer.step == 0
    for num_steps in (1, 7, 100, 3):
        trainer.train(batches, num_steps)
        evaluator.evaluate(mnist_lib.eval_batches(small_dataset.test))
        evaluator.evaluate(mnist_lib.eval_batches(small_dataset.validation, 13))
    assert trainer._train_steps.experimental_get_tracing_count() == 1
    assert evaluator._evaluate_batch.experimental_get_tracing_count() == 1


def _resident_mib() -> float:
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.slow
def test_memory_does_not_grow_with_the_steps(small_dataset):
    """2,000 steps and 40 evaluations, after as many as fill caches and pools."""
    trainer = _trainer(model="linear", optimizer="sgd")
    evaluator = mnist_lib.Evaluator(trainer.model, strategy=trainer.strategy, replica_batch_size=64)
    batches = _batches(trainer, small_dataset.train)

    def train_and_evaluate(num_times: int) -> None:
        for _ in range(num_times):
            trainer.train(batches, 50)
            evaluator.evaluate(mnist_lib.eval_batches(small_dataset.test))
        gc.collect()

    train_and_evaluate(10)
    before = _resident_mib()
    train_and_evaluate(40)
    assert trainer.step == 2500
    assert _resident_mib() - before < 32


@pytest.mark.parametrize("num_replicas", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 7, 100, 500])
def test_evaluation_counts_every_example_once(small_dataset, num_replicas, batch_size):
    strategy = mnist_lib.create_strategy("mirrored", num_replicas)
    with strategy.scope():
        model = mnist_lib.build_model("linear", seed=0)
    evaluator = mnist_lib.Evaluator(model, strategy=strategy, replica_batch_size=batch_size)
    metrics = evaluator.evaluate(mnist_lib.eval_batches(small_dataset.test, 31))
    images, labels = small_dataset.test.images, small_dataset.test.labels
    kernel, bias = model.get_weights()
    logits = images.reshape(-1, 784) / 255.0 @ kernel.astype(np.float64) + bias
    predictions = logits.argmax(-1)
    expected = np.zeros((10, 10), int)
    np.add.at(expected, (labels, predictions), 1)
    np.testing.assert_array_equal(metrics.confusion_matrix, expected)
    assert (metrics.num_examples, metrics.num_correct) == (203, int((predictions == labels).sum()))
    log_sum = np.log(np.exp(logits).sum(-1)) - logits[np.arange(203), labels]
    assert metrics.loss == pytest.approx(log_sum.mean(), rel=1e-5)


def test_any_model_and_loss_of_the_user_trains(small_dataset):
    strategy = mnist_lib.create_strategy("mirrored", 2)
    with strategy.scope():
        inputs = keras.Input((28, 28, 1), dtype="uint8")
        x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
        model = keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(x))
        optimizer = keras.optimizers.Lion(1e-3)
    loss = keras.losses.SparseCategoricalCrossentropy(reduction="none")
    trainer = mnist_lib.Trainer(model, optimizer, strategy=strategy, loss=loss)
    batches = _batches(trainer, small_dataset.train)
    first, last = trainer.train(batches, 3), trainer.train(batches, 60)
    assert last.loss < first.loss / 1.5


def test_a_step_that_is_not_finite_is_named(small_dataset):
    trainer = _trainer(model="linear", optimizer="sgd")
    batches = _batches(trainer, small_dataset.train)
    assert trainer.train(batches, 3).first_nonfinite_step == 0
    kernel = trainer.model.trainable_variables[0]
    kernel.assign(np.full(kernel.shape, np.inf, np.float32))
    assert trainer.train(batches, 5).first_nonfinite_step == 4


def test_wrong_use_is_refused(small_dataset):
    strategy = mnist_lib.create_strategy("mirrored", 2)
    model = mnist_lib.build_model("linear")
    with pytest.raises(
        mnist_lib.errors.ConfigError, match=r"model: .* was not made under the strategy"
    ):
        mnist_lib.Trainer(model, keras.optimizers.SGD(0.1), strategy=strategy)
    trainer = mnist_lib.Trainer(model, mnist_lib.build_optimizer("sgd", 0.1))
    with pytest.raises(mnist_lib.errors.ConfigError, match="num_steps: 0 must be at least 1"):
        trainer.train(_batches(trainer, small_dataset.train), 0)
    uneven = mnist_lib.Trainer(model, mnist_lib.build_optimizer("sgd", 0.1), accumulation_steps=5)
    with pytest.raises(mnist_lib.errors.ConfigError, match="multiple of 5"):
        _batches(uneven, small_dataset.train)
    with pytest.raises(mnist_lib.errors.ConfigError, match="data: has no end"):
        mnist_lib.Evaluator(model).evaluate(mnist_lib.train_batches(small_dataset.train, 8))
    empty = mnist_lib.eval_batches(small_dataset.test).take(0)
    with pytest.raises(mnist_lib.errors.ConfigError, match="data: has no examples"):
        mnist_lib.Evaluator(model).evaluate(empty)
    averaging = mnist_lib.Trainer(
        model,
        mnist_lib.build_optimizer("sgd", 0.1),
        loss=lambda labels, logits: tf.reduce_mean(logits),
    )
    with pytest.raises(ValueError, match="one value per example"):
        averaging.train(_batches(averaging, small_dataset.train), 1)


@pytest.mark.parametrize("num_replicas", [1, 2])
def test_the_end_of_the_data_is_named_and_the_steps_are_counted(small_dataset, num_replicas):
    trainer = _trainer(num_replicas)
    data = mnist_lib.train_batches(small_dataset.train, 48, num_steps=10)
    with pytest.raises(
        mnist_lib.errors.ConfigError, match="batches: the data ended after 10 of 100 steps"
    ):
        trainer.train(iter(trainer.distribute(data)), 100)
    assert trainer.step == trainer.optimizer.iterations.numpy() == 10
    same = _trainer(num_replicas)
    same.train(data, 10)
    for ours, expected in zip(
        trainer.model.variables + trainer.optimizer.variables,
        same.model.variables + same.optimizer.variables,
        strict=True,
    ):
        np.testing.assert_array_equal(ours.numpy(), expected.numpy(), err_msg=ours.path)


@pytest.mark.parametrize("num_replicas", [1, 2])
def test_a_split_a_data_set_and_distributed_data_are_taken_alike(small_dataset, num_replicas):
    def trained(data_of):
        trainer = _trainer(num_replicas, model="linear")
        metrics = trainer.train(data_of(trainer), 5, 48)
        evaluator = mnist_lib.Evaluator(trainer.model, strategy=trainer.strategy)
        return metrics, trainer, evaluator

    batches = mnist_lib.train_batches(small_dataset.train, 48)
    expected, trainer, evaluator = trained(lambda _: small_dataset.train)
    for data_of in (
        lambda _: batches,
        lambda trainer: trainer.distribute(batches),
        lambda trainer: iter(trainer.distribute(small_dataset.train, 48)),
    ):
        metrics, *_ = trained(data_of)
        assert metrics == expected
    assert expected.num_examples == 5 * 48
    # A split goes on from the trainer's step; a data set begins anew.
    after = trainer.train(small_dataset.train, 5, 48)
    again, other, _ = trained(lambda trainer: small_dataset.train)
    assert again == expected
    assert other.train(mnist_lib.train_batches(small_dataset.train, 48, start_step=5), 5) == after
    split = evaluator.evaluate(small_dataset.test)
    batched = evaluator.evaluate(mnist_lib.eval_batches(small_dataset.test, 100))
    assert split.loss_sum == pytest.approx(batched.loss_sum, rel=1e-12)
    np.testing.assert_array_equal(split.confusion_matrix, batched.confusion_matrix)
    even = mnist_lib.eval_batches(small_dataset.test, 50).take(4)
    full = evaluator.evaluate(
        mnist_lib.distribute_batches(even.rebatch(50, drop_remainder=True), evaluator.strategy)
    )
    assert full.num_examples == 200
    np.testing.assert_array_equal(full.confusion_matrix, evaluator.evaluate(even).confusion_matrix)


def test_batches_that_nobody_distributed_are_refused_on_several_replicas(small_dataset):
    trainer = _trainer(2)
    with pytest.raises(mnist_lib.errors.ConfigError, match="batches: are not distributed: each"):
        trainer.train(iter(mnist_lib.train_batches(small_dataset.train, 48)), 1)
    with pytest.raises(mnist_lib.errors.ConfigError, match="batch_size: is needed to train on"):
        trainer.train(small_dataset.train, 1)


def test_the_strategy_is_as_it_was(small_dataset):
    """Keras's `evaluate` and `predict` give what they gave before ours were used."""
    trainer = _trainer(2)
    with trainer.strategy.scope():
        trainer.model.compile(
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
        )
    batches = mnist_lib.eval_batches(small_dataset.test, 50)

    def by_keras():
        return (
            trainer.model.evaluate(batches, verbose=0),
            trainer.model.predict(batches.map(lambda images, _: images), verbose=0),
        )

    scores, predictions = by_keras()
    assert len(predictions) == 203
    evaluator = mnist_lib.Evaluator(trainer.model, strategy=trainer.strategy)
    evaluator.evaluate(small_dataset.test)
    trainer.distribute(small_dataset.train, 48)
    mnist_lib.distribute_batches(mnist_lib.train_batches(small_dataset.train, 48), trainer.strategy)
    scores_after, predictions_after = by_keras()
    assert scores_after == scores
    np.testing.assert_array_equal(predictions_after, predictions)


def test_xla_with_synchronised_batch_normalisation_is_refused_in_one_line():
    strategy = mnist_lib.create_strategy("mirrored", 2)
    with strategy.scope():
        model, optimizer = mnist_lib.build_model("fast_cnn"), keras.optimizers.SGD(0.1)
    with pytest.raises(mnist_lib.errors.ConfigError, match="jit_compile: XLA cannot compile bn1"):
        mnist_lib.Trainer(model, optimizer, strategy=strategy, jit_compile=True)


def test_a_step_of_ours_is_traced_without_autograph(small_dataset, monkeypatch):
    """AutoGraph leaves a file for each function in the temporary folder of a killed process."""
    from tensorflow.python.autograph.pyct import loader

    written = []
    load_source = loader.load_source
    monkeypatch.setattr(
        loader, "load_source", lambda *args: written.append(args[0]) or load_source(*args)
    )
    model = mnist_lib.build_model("linear")
    trainer = mnist_lib.Trainer(model, mnist_lib.build_optimizer("sgd", 0.1))
    trainer.train(small_dataset.train, 2, 50)
    mnist_lib.Evaluator(model).evaluate(small_dataset.validation)
    assert not written

    def own(targets, outputs):
        if tf.reduce_sum(outputs) > 0:  # needs it
            outputs *= 2
        return tf.nn.sparse_softmax_cross_entropy_with_logits(targets, outputs)

    mnist_lib.Trainer(model, mnist_lib.build_optimizer("sgd", 0.1), loss=own).train(
        small_dataset.train, 2, 50
    )
    assert len(written) == 1
