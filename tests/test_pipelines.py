import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import mnist_lib
from mnist_lib.datasets import pipelines


def _numbered_split(num_examples: int) -> mnist_lib.Split:
    """The first two pixels and the label hold the number of the image."""
    numbers = np.arange(num_examples)
    images = np.zeros((num_examples, 28, 28, 1), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 1, 0] = numbers % 256, numbers // 256
    return mnist_lib.Split("train", images, numbers.astype(np.int32))


def _labels(batches: tf.data.Dataset) -> np.ndarray:
    return np.concatenate([labels for _, labels in batches.as_numpy_iterator()])


def test_an_epoch_uses_every_image_once_and_batches_span_epochs():
    labels = _labels(mnist_lib.train_batches(_numbered_split(50), 8, seed=3, num_steps=25))
    assert len(labels) == 200
    epochs = labels.reshape(4, 50)
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(50))
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_images_belong_to_their_labels():
    images, labels = next(iter(mnist_lib.train_batches(_numbered_split(600), 32)))
    assert images.shape == (32, 28, 28, 1)
    assert (images.dtype, labels.dtype) == (tf.uint8, tf.int32)
    pixels = images.numpy().astype(int)
    np.testing.assert_array_equal(pixels[:, 0, 0, 0] + 256 * pixels[:, 0, 1, 0], labels)


@pytest.mark.parametrize("start_step", [1, 6, 7, 13, 100])
def test_the_batch_at_a_step_does_not_depend_on_where_one_starts(start_step):
    split = _numbered_split(50)
    whole = _labels(mnist_lib.train_batches(split, 8, seed=1, num_steps=110)).reshape(110, 8)
    part = mnist_lib.train_batches(split, 8, seed=1, start_step=start_step, num_steps=10)
    np.testing.assert_array_equal(_labels(part).reshape(10, 8), whole[start_step : start_step + 10])


def test_seed_changes_the_order():
    split = _numbered_split(50)
    orders = {
        tuple(_labels(mnist_lib.train_batches(split, 50, seed=s, num_steps=1))) for s in range(4)
    }
    assert len(orders) == 4


def test_cardinality_is_known():
    split = _numbered_split(50)
    assert mnist_lib.train_batches(split, 8, num_steps=9).cardinality() == 9
    assert mnist_lib.train_batches(split, 8).cardinality() == tf.data.INFINITE_CARDINALITY
    assert mnist_lib.train_batches(split, 8, num_steps=9, rows=slice(2, 4)).cardinality() == 9
    assert mnist_lib.eval_batches(split, 8).cardinality() == 7
    assert pipelines.masked_eval_batches(split, 8).cardinality() == 7
    assert pipelines.masked_eval_batches(split, 10, rows=slice(5, 10)).cardinality() == 5


@pytest.mark.parametrize(("rows", "num_rows"), [(None, 8), (slice(0, 4), 4), (slice(6, 8), 2)])
def test_shapes_and_types_are_static(rows, num_rows):
    split = _numbered_split(50)
    images = tf.TensorSpec([num_rows, 28, 28, 1], tf.uint8)
    labels, mask = (tf.TensorSpec([num_rows], dtype) for dtype in (tf.int32, tf.bool))
    assert mnist_lib.train_batches(split, 8, rows=rows).element_spec == (images, labels)
    masked = pipelines.masked_eval_batches(split, 8, rows=rows)
    assert masked.element_spec == (images, labels, mask)


def test_eval_batches_hold_every_image_once_in_order():
    batches = list(mnist_lib.eval_batches(_numbered_split(50), 8).as_numpy_iterator())
    assert [len(labels) for _, labels in batches] == [8] * 6 + [2]
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in batches]), np.arange(50))


def _rows(num_parts: int, batch_size: int) -> list[slice]:
    size = batch_size // num_parts
    return [slice(part * size, (part + 1) * size) for part in range(num_parts)]


@pytest.mark.parametrize("num_parts", [1, 2, 3, 4, 12])
def test_rows_side_by_side_are_the_whole_batch(num_parts):
    split = _numbered_split(50)

    def batches(rows=None):
        return mnist_lib.train_batches(
            split, 12, seed=5, start_step=3, num_steps=9, rows=rows
        ).as_numpy_iterator()

    parts = [batches(rows) for rows in _rows(num_parts, 12)]
    for whole, *division in zip(batches(), *parts, strict=True):
        for expected, *found in zip(whole, *division, strict=True):
            assert {len(part) for part in found} == {12 // num_parts}
            np.testing.assert_array_equal(np.concatenate(found), expected)


@pytest.mark.parametrize("num_parts", [1, 2, 4])
@pytest.mark.parametrize("num_examples", [1, 7, 8, 48, 50])
def test_the_mask_counts_every_image_once(num_examples, num_parts):
    split = _numbered_split(num_examples)
    parts = [
        list(pipelines.masked_eval_batches(split, 8, rows=rows).as_numpy_iterator())
        for rows in _rows(num_parts, 8)
    ]
    batches = [
        [np.concatenate(arrays) for arrays in zip(*step, strict=True)]
        for step in zip(*parts, strict=True)
    ]
    images, labels, mask = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    assert len(batches) == -(-num_examples // 8)
    assert len(labels) == 8 * len(batches)
    np.testing.assert_array_equal(labels[mask], split.labels)
    np.testing.assert_array_equal(images[mask], split.images)
    np.testing.assert_array_equal(images[~mask], split.images[:1].repeat((~mask).sum(), 0))


@pytest.mark.parametrize("num_replicas", [1, 2, 3])
def test_replicas_divide_each_batch_in_order(num_replicas):
    strategy = mnist_lib.create_strategy("mirrored", num_replicas)
    batches = mnist_lib.train_batches(_numbered_split(50), 12, seed=5)
    expected = _labels(batches.take(9)).reshape(9, 12)
    iterator = iter(mnist_lib.distribute_batches(batches, strategy))
    for step in range(9):
        _, labels = next(iterator)
        parts = strategy.experimental_local_results(labels)
        assert [len(part) for part in parts] == [12 // num_replicas] * num_replicas
        np.testing.assert_array_equal(np.concatenate(parts), expected[step])


def test_batches_that_cannot_be_divided_are_refused():
    strategy = mnist_lib.create_strategy("mirrored", 3)
    message = "batch_size: 8 cannot be divided among 3 replicas; choose a multiple of 3, such as 6"
    with pytest.raises(mnist_lib.errors.ConfigError, match=message):
        mnist_lib.distribute_batches(mnist_lib.train_batches(_numbered_split(50), 8), strategy)
    with pytest.raises(mnist_lib.errors.ConfigError, match="batch dimension is not static"):
        mnist_lib.distribute_batches(mnist_lib.eval_batches(_numbered_split(50), 8), strategy)


@pytest.mark.parametrize("batch_size", [0, 51])
def test_a_batch_must_fit_the_split(batch_size):
    with pytest.raises(
        mnist_lib.errors.ConfigError, match=f"batch_size: {batch_size} .* 50 images"
    ):
        mnist_lib.train_batches(_numbered_split(50), batch_size)


@pytest.mark.parametrize("batches", [mnist_lib.eval_batches, pipelines.masked_eval_batches])
def test_evaluation_needs_a_batch_size(batches):
    with pytest.raises(mnist_lib.errors.ConfigError, match="batch_size: 0 must be at least 1"):
        batches(_numbered_split(50), 0)


def test_keras_fit_and_evaluate_take_the_batches(small_dataset):
    model = mnist_lib.build_model("linear")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-2), loss, metrics=["accuracy"])
    batches = mnist_lib.train_batches(small_dataset.train, 50, num_steps=60)
    model.fit(batches, epochs=1, verbose=0)
    _, accuracy = model.evaluate(mnist_lib.eval_batches(small_dataset.test, 50), verbose=0)
    ours = mnist_lib.Evaluator(model).evaluate(mnist_lib.eval_batches(small_dataset.test))
    assert accuracy == pytest.approx(ours.accuracy, abs=1e-6)
    assert accuracy > 0.9


def test_nothing_is_tuned_while_it_runs(small_dataset):
    """The tuner's thread kept an iterator from ending for up to 34 s."""
    for batches in (
        mnist_lib.train_batches(small_dataset.train, 8),
        mnist_lib.eval_batches(small_dataset.test),
        pipelines.masked_eval_batches(small_dataset.test, 8),
    ):
        assert batches.options().autotune.enabled is False


def test_batches_need_nothing_that_prepares_or_downloads():
    """Something else stands in for TensorFlow, which imports `requests` itself."""
    code = (
        "import sys; sys.modules['tensorflow'] = sys;"
        "from mnist_lib.datasets import catalog, decoded, pipelines, prepared, splits;"
        "print({'requests', 'tenacity', 'filelock', 'tensorflow_datasets'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
