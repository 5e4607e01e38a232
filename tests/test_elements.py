"""What an element of a data set may be: weights, structures, one-hot labels; metrics of one's own.

Each is compared with Keras's `fit` or `evaluate`, or with the formula, on 1 and 2 replicas.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mnist_lib
from mnist_lib.training import losses

RNG = np.random.default_rng(5)
SIZE = 48
IMAGES = RNG.integers(0, 256, (SIZE, 28, 28, 1)).astype(np.uint8)
LABELS = RNG.integers(0, 10, SIZE).astype(np.int32)
WEIGHTS = RNG.uniform(0, 3, SIZE).astype(np.float32)
ERROR = mnist_lib.errors.ConfigError
STRATEGIES = [1, 2]


def strategy_of(num_replicas):
    return mnist_lib.create_strategy("mirrored" if num_replicas > 1 else "default", num_replicas)


def dense(units, **options):
    initializer = keras.initializers.GlorotUniform(seed=units)
    return keras.layers.Dense(units, kernel_initializer=initializer, **options)


def classifier():
    inputs = keras.Input((28, 28, 1), dtype="uint8")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    return keras.Model(inputs, dense(10)(x))


def of_two_inputs(structure):
    """A model of an image and of a number, which come by name or by position."""
    image = keras.Input((28, 28, 1), dtype="float32", name="image")
    number = keras.Input((1,), name="number")
    x = keras.layers.Flatten()(image)
    x = keras.layers.Concatenate()([dense(8)(x), number])
    inputs = {"image": image, "number": number} if structure is dict else (image, number)
    return keras.Model(inputs, dense(10)(x))


def of_two_outputs():
    inputs = keras.Input((28, 28, 1), dtype="float32")
    x = keras.layers.Flatten()(inputs)
    return keras.Model(inputs, {"digit": dense(10)(x), "size": dense(1)(x)})


def batches_of(*element, batch_size=SIZE):
    batches = tf.data.Dataset.from_tensor_slices(element)
    return batches.batch(batch_size, drop_remainder=SIZE % batch_size == 0)


def trained(build, element, num_replicas, num_steps=3, **options):
    """Returns a trained model and the last step's metrics."""
    strategy = strategy_of(num_replicas)
    with strategy.scope():
        model = build()
        optimizer = keras.optimizers.SGD(0.01)
    trainer = mnist_lib.Trainer(model, optimizer, strategy=strategy, **options)
    metrics = [trainer.train(batches_of(*element), 1) for _ in range(num_steps)]
    return model, metrics[-1]


def fitted(build, element, loss, num_steps=3):
    """Returns the model that Keras's `fit` makes of the same batches."""
    model = build()
    model.compile(keras.optimizers.SGD(0.01), loss)
    model.fit(batches_of(*element), epochs=num_steps, verbose=0)
    return model


def assert_same_weights(one, other, atol=2e-6):
    for ours, theirs in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=atol)


SPARSE = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.mark.parametrize("num_replicas", STRATEGIES)
@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_sample_weights_train_as_in_fit(num_replicas, accumulation_steps):
    element = (IMAGES, LABELS, WEIGHTS)
    model, metrics = trained(
        classifier, element, num_replicas, accumulation_steps=accumulation_steps
    )
    theirs = fitted(classifier, element, SPARSE)
    assert_same_weights(model, theirs)
    assert metrics.num_examples == SIZE
    assert 0 <= metrics.num_correct <= SIZE


@pytest.mark.parametrize("num_replicas", STRATEGIES)
def test_class_weights_are_weights_of_examples(num_replicas):
    of_class = np.linspace(0.5, 2, 10).astype(np.float32)
    model, _ = trained(classifier, (IMAGES, LABELS, of_class[LABELS]), num_replicas)
    theirs = classifier()
    theirs.compile(keras.optimizers.SGD(0.01), SPARSE)
    weights = {label: float(weight) for label, weight in enumerate(of_class)}
    theirs.fit(batches_of(IMAGES, LABELS), epochs=3, verbose=0, class_weight=weights)
    assert_same_weights(model, theirs)


@pytest.mark.parametrize("num_replicas", STRATEGIES)
def test_a_weighted_evaluation_weighs_the_loss_alone(num_replicas):
    strategy = strategy_of(num_replicas)
    with strategy.scope():
        model = classifier()
    evaluator = mnist_lib.Evaluator(model, strategy=strategy, replica_batch_size=20)
    metrics = evaluator.evaluate(batches_of(IMAGES, LABELS, WEIGHTS, batch_size=7))
    logits = model(IMAGES)
    rows = tf.nn.sparse_softmax_cross_entropy_with_logits(LABELS, logits).numpy()
    assert metrics.loss == pytest.approx(float((rows * WEIGHTS).mean()), rel=1e-6)
    assert metrics.num_examples == SIZE
    assert metrics.num_correct == int((logits.numpy().argmax(-1) == LABELS).sum())


@pytest.mark.parametrize("num_replicas", STRATEGIES)
@pytest.mark.parametrize("structure", [dict, tuple])
def test_several_inputs(structure, num_replicas):
    image, number = IMAGES.astype(np.float32) / 255, LABELS[:, None].astype(np.float32)
    inputs = {"image": image, "number": number} if structure is dict else (image, number)
    model, _ = trained(lambda: of_two_inputs(structure), (inputs, LABELS), num_replicas)
    theirs = fitted(lambda: of_two_inputs(structure), (inputs, LABELS), SPARSE)
    assert_same_weights(model, theirs)
    evaluator = mnist_lib.Evaluator(model, strategy=strategy_of(num_replicas))
    found = evaluator.evaluate(batches_of(inputs, LABELS, batch_size=13))
    predicted = model(inputs).numpy().argmax(-1)
    assert found.num_correct == int((predicted == LABELS).sum())


def test_an_input_of_another_name_is_named():
    element = ({"picture": IMAGES, "number": LABELS[:, None]}, LABELS)
    with pytest.raises(ERROR, match=r"inputs picture, number, and .* takes image, number"):
        trained(lambda: of_two_inputs(dict), element, 1)


@pytest.mark.parametrize("num_replicas", STRATEGIES)
@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_several_outputs_have_a_loss_each(num_replicas, accumulation_steps):
    images, sizes = IMAGES.astype(np.float32) / 255, WEIGHTS[:, None]
    targets = {"digit": LABELS, "size": sizes}
    squared = keras.losses.MeanSquaredError(reduction="none")
    model, metrics = trained(
        of_two_outputs,
        (images, targets),
        num_replicas,
        loss={"digit": "cross_entropy", "size": squared},
        accumulation_steps=accumulation_steps,
    )
    theirs = fitted(
        of_two_outputs,
        (images, targets),
        {"digit": SPARSE, "size": keras.losses.MeanSquaredError()},
    )
    assert_same_weights(model, theirs)
    assert metrics.num_correct is None
    assert "accuracy" not in metrics.values()
    with pytest.raises(ERROR, match="the targets are no classes"):
        _ = metrics.accuracy

    strategy = strategy_of(num_replicas)
    with strategy.scope():
        own = {
            "digit": [keras.metrics.SparseCategoricalAccuracy("accuracy")],
            "size": [keras.metrics.MeanAbsoluteError("error")],
        }
    evaluator = mnist_lib.Evaluator(
        model,
        loss={"digit": "cross_entropy", "size": squared},
        metrics=own,
        strategy=strategy,
        replica_batch_size=9,
    )
    found = evaluator.evaluate(batches_of(images, targets, batch_size=11))
    outputs = model(images)
    correct = (outputs["digit"].numpy().argmax(-1) == LABELS).mean()
    error = np.abs(outputs["size"].numpy() - sizes).mean()
    assert found.own["digit_accuracy"] == pytest.approx(float(correct), rel=1e-6)
    assert found.own["size_error"] == pytest.approx(float(error), rel=1e-5)
    expected = theirs.evaluate(batches_of(images, targets), verbose=0, return_dict=True)["loss"]
    assert found.loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("cross_entropy", r"labels: are .* and the loss is of one output"),
        ({"digit": "cross_entropy"}, r"given for digit, and the targets are digit, size"),
        ({"digit": "cross_entropy", "length": "hinge"}, "given for digit, length"),
        (["cross_entropy", "cross_entropy"], "given for 0, 1"),
    ],
)
def test_losses_that_are_not_of_the_outputs_are_refused(loss, message):
    element = (IMAGES.astype(np.float32), {"digit": LABELS, "size": WEIGHTS})
    with pytest.raises(ERROR, match=message):
        trained(of_two_outputs, element, 1, loss=loss)


@pytest.mark.parametrize("num_replicas", STRATEGIES)
def test_one_hot_labels_are_their_classes(num_replicas):
    one_hot = np.eye(10, dtype=np.float32)[LABELS]
    model, metrics = trained(classifier, (IMAGES, one_hot), num_replicas)
    same, expected = trained(classifier, (IMAGES, LABELS), num_replicas)
    assert_same_weights(model, same)
    assert metrics.num_correct == expected.num_correct
    evaluator = mnist_lib.Evaluator(model, strategy=strategy_of(num_replicas))
    found = evaluator.evaluate(batches_of(IMAGES, one_hot, batch_size=13))
    expected = evaluator.evaluate(batches_of(IMAGES, LABELS))
    np.testing.assert_array_equal(found.confusion_matrix, expected.confusion_matrix)
    assert found.loss == pytest.approx(expected.loss, rel=1e-6)


def test_labels_mixed_of_two_classes_train_as_in_fit():
    mixed = RNG.dirichlet(np.ones(10), SIZE).astype(np.float32)
    model, metrics = trained(classifier, (IMAGES, mixed), 1)
    theirs = fitted(
        classifier, (IMAGES, mixed), keras.losses.CategoricalCrossentropy(from_logits=True)
    )
    assert_same_weights(model, theirs)
    assert metrics.num_correct is not None


@pytest.mark.parametrize("loss", ["hinge", "perceptron"])
def test_one_hot_labels_of_other_losses_are_refused(loss):
    with pytest.raises(ERROR, match=r"labels: have shape \[48, 10\].*argmax"):
        trained(classifier, (IMAGES, np.eye(10)[LABELS]), 1, loss=loss)


@pytest.mark.parametrize("labels", [LABELS[:, None], np.eye(7)[LABELS % 7], LABELS + 0.5])
def test_labels_that_are_neither_are_refused(labels):
    with pytest.raises(ERROR, match="labels: "):
        trained(classifier, (IMAGES, labels), 1)


@pytest.mark.parametrize("weights", [WEIGHTS[:, None], {"a": WEIGHTS}])
def test_weights_that_are_not_one_per_example_are_refused(weights):
    with pytest.raises(ERROR, match="data: has weights"):
        trained(classifier, (IMAGES, LABELS, weights), 1)


@pytest.mark.parametrize("element", [(IMAGES,), (IMAGES, LABELS, WEIGHTS, WEIGHTS)])
def test_an_element_that_is_no_batch_is_refused(element):
    with pytest.raises(ERROR, match=r"map them to \(inputs, targets\)"):
        trained(classifier, element, 1)
    with pytest.raises(ERROR, match=r"map them to \(inputs, targets\)"):
        mnist_lib.Evaluator(classifier()).evaluate(batches_of(*element))


@pytest.mark.parametrize("num_replicas", STRATEGIES)
def test_metrics_of_one_s_own_see_each_example_once(num_replicas):
    strategy = strategy_of(num_replicas)

    def surprise(labels, logits):
        return losses.cross_entropy(labels, logits) ** 2

    with strategy.scope():
        model = classifier()
        top = keras.metrics.SparseTopKCategoricalAccuracy(3, name="top_3")
        f1 = keras.metrics.F1Score(average=None, threshold=None, name="f1")
    evaluator = mnist_lib.Evaluator(
        model, metrics=["accuracy", top, surprise], strategy=strategy, replica_batch_size=10
    )
    for _ in range(2):  # the second begins anew
        found = evaluator.evaluate(batches_of(IMAGES, LABELS, batch_size=7))
    logits = model(IMAGES).numpy()
    ranked = np.argsort(-logits, axis=-1)[:, :3]
    rows = tf.nn.sparse_softmax_cross_entropy_with_logits(LABELS, logits).numpy()
    assert found.own["top_3"] == pytest.approx((ranked == LABELS[:, None]).any(-1).mean(), rel=1e-6)
    assert found.own["surprise"] == pytest.approx(float((rows**2).mean()), rel=1e-6)
    assert list(found.values()) == ["loss", "accuracy", "top_3", "surprise"]
    assert found.to_dict()["top_3"] == found.own["top_3"]

    # A metric that gets its variables when it is first used, and has a value per class.
    one_hot = np.eye(10, dtype=np.float32)[LABELS]
    evaluator = mnist_lib.Evaluator(model, metrics=[f1], strategy=strategy, replica_batch_size=10)
    found = evaluator.evaluate(batches_of(IMAGES, one_hot, batch_size=7))
    alone = keras.metrics.F1Score(average=None)
    alone.update_state(one_hot, logits)
    np.testing.assert_allclose(found.own["f1"], alone.result().numpy(), atol=1e-6)
    assert not found.has_accuracy


def test_regression_has_no_accuracy_and_its_own_metrics():
    images = IMAGES.astype(np.float32) / 255

    def build():
        inputs = keras.Input((28, 28, 1))
        return keras.Model(inputs, dense(1)(keras.layers.Flatten()(inputs)))

    squared = keras.losses.MeanSquaredError(reduction="none")
    model, metrics = trained(build, (images, WEIGHTS[:, None]), 1, loss=squared)
    assert metrics.num_correct is None
    evaluator = mnist_lib.Evaluator(
        model, loss=squared, metrics=[keras.metrics.MeanAbsoluteError("error")]
    )
    found = evaluator.evaluate(batches_of(images, WEIGHTS[:, None], batch_size=5))
    outputs = model(images).numpy()
    assert found.loss == pytest.approx(float(((outputs - WEIGHTS[:, None]) ** 2).mean()), rel=1e-5)
    assert list(found.values()) == ["loss", "error"]
    with pytest.raises(ERROR, match="no accuracy"):
        _ = found.accuracy


def test_none_means_no_accuracy():
    """Counts, say, which are integers and no classes."""
    counts = RNG.poisson(30, SIZE)
    evaluator = mnist_lib.Evaluator(
        classifier(), loss=lambda counts, outputs: tf.reduce_sum(outputs, -1), metrics=[]
    )
    assert list(evaluator.evaluate(batches_of(IMAGES, counts)).values()) == ["loss"]


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ("accuracy", "give a list of metrics"),
        (["auc"], "'auc' is not one of accuracy"),
        ([3], "3 is none"),
        ([keras.metrics.Mean("loss")], "a name of its own"),
        ([keras.metrics.Mean("a"), keras.metrics.Mean("a")], "a name of its own"),
    ],
)
def test_metrics_that_are_none_are_refused(metrics, message):
    with pytest.raises(ERROR, match=f"metrics: .*{message}"):
        mnist_lib.Evaluator(classifier(), metrics=metrics)


def test_metrics_made_outside_the_strategy_are_refused():
    strategy = strategy_of(2)
    with strategy.scope():
        model = classifier()
    with pytest.raises(ERROR, match=r"metrics: .*not made under the strategy"):
        mnist_lib.Evaluator(model, metrics=[keras.metrics.AUC()], strategy=strategy)


def test_a_metric_that_averages_is_named():
    evaluator = mnist_lib.Evaluator(classifier(), metrics=[lambda a, b: tf.reduce_mean(b)])
    with pytest.raises(ValueError, match=r"<lambda>: returned shape \(\) for"):
        evaluator.evaluate(batches_of(IMAGES, LABELS))
