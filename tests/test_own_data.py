"""Anyone's images and labels: right, or refused with what makes them right."""

import dataclasses
import json
import logging
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import mnist_lib
from mnist_lib.runs import run_directory

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 28, 28, 1)).astype(np.uint8)
LABELS = np.array([0, 1, 2, 3, 4, 5])


def _split(images=PIXELS, labels=LABELS, name="train", **options):
    return mnist_lib.Split(name, images, labels, **options)


def _refused(message: str):
    return pytest.raises(mnist_lib.errors.ConfigError, match=message)


UNIT = (PIXELS / 255).astype(np.float32)
HAS_NAN = UNIT.copy()
HAS_NAN[4, 3, 2] = np.nan


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (UNIT, r"train images: float32 from 0 to 1, .* multiply by 255 and cast to uint8: np.rint"),
        (UNIT.astype(np.float64), "float64 from 0 to 1, .* multiply by 255 and cast to uint8"),
        (UNIT * 2 - 1, "float32 from -1 to 1, .* scale to 0 to 255 and cast to uint8"),
        (PIXELS.astype(np.float32), r"cast to uint8: images.astype\(np.uint8\); for a model of"),
        (PIXELS.astype(np.int64), r"int64 from 0 to 255, .*; cast to uint8: images.astype"),
        (PIXELS.astype(np.int16) * 2, "int16 from 0 to 510, .* scale to 0 to 255"),
        (PIXELS.astype(np.int8), "int8 from -128 to 127, .* scale to 0 to 255"),
        (PIXELS > 128, r"bool; multiply by 255 and cast to uint8"),
        (HAS_NAN, "float32 with a NaN or an infinite value"),
        (PIXELS.reshape(6, 784), r"shape \[6, 784\] is not .* reshape rows of pixels"),
        (PIXELS[0, :, :, 0], r"shape \[28, 28\] is not .* give one image as image\[np.newaxis\]"),
        (PIXELS[0], r"shape \[28, 28, 1\] .*6 labels|28 images and 6 labels"),
        (PIXELS[..., np.newaxis], r"shape \[6, 28, 28, 1, 1\] is not .* leave no dimension"),
        (PIXELS[:, :0], r"shape \[6, 0, 28, 1\] is not"),
        (np.moveaxis(PIXELS, -1, 1), r"channels first; put them last with np.moveaxis"),
        ([PIXELS[0].tobytes()] * 6, r"shape \[6\] is not .* np.stack"),
        (np.full((6, 28, 28), "a"), "dtype <U1 is none of pixels"),
    ],
)
def test_images_that_would_be_taken_for_others_are_refused(images, message):
    with _refused(message):
        _split(images)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS + 0.7, "train labels: float64, such as .*0.7.* labels.astype"),
        (LABELS.astype(np.float32), "train labels: float32, .* labels.astype"),
        (np.eye(6, dtype=np.int32), r"shape \[6, 6\] is not \[N\]; .* labels.argmax\(-1\)"),
        (np.eye(6), r"shape \[6, 6\] is not \[N\]; .* labels.argmax\(-1\)"),
        (LABELS - 1, "label -1 at index 0 is no class; count classes from 0"),
        (LABELS + 2**32, "label 4294967296 at index 0 is no class"),
        (LABELS[:5], "train: 6 images and 5 labels"),
        (LABELS.astype(str), "train labels: <U"),
        (LABELS > 2, "train labels: bool"),
        (3, r"shape \[\] is not \[N\]"),
        (np.zeros((6, 1, 1), np.int32), r"shape \[6, 1, 1\] is not \[N\]"),
    ],
)
def test_labels_that_are_no_numbers_of_classes_are_refused(labels, message):
    with _refused(message):
        _split(labels=labels)


def test_what_is_right_and_written_otherwise_is_taken():
    expected = _split()
    assert (expected.images.shape, expected.labels.dtype) == ((6, 28, 28, 1), np.int32)
    for images, labels in (
        (PIXELS[..., 0], LABELS.astype(np.uint8)),
        (tf.constant(PIXELS), tf.constant(LABELS[:, np.newaxis])),
        (PIXELS, LABELS.tolist()),
        (np.asfortranarray(PIXELS), LABELS.astype(">i8")),
    ):
        found = _split(images, labels)
        assert found.sha256 == expected.sha256
        assert (found.image_shape, found.images.dtype) == ((28, 28, 1), np.uint8)


def test_float_images_say_their_range():
    split = _split(UNIT, value_range=(0, 1))
    images, _ = next(iter(mnist_lib.eval_batches(split)))
    assert images.dtype == tf.float32
    np.testing.assert_array_equal(images, UNIT)
    swapped = _split(UNIT.astype(">f4"), value_range=(0, 1))
    np.testing.assert_array_equal(next(iter(mnist_lib.eval_batches(swapped)))[0], UNIT)
    with _refused(r"values from 0 to 1 are not in the value_range \(0, 0.5\)"):
        _split(UNIT, value_range=(0, 0.5))
    with _refused("train images: image 4 holds nan"):
        _split(HAS_NAN, value_range=(0, 1))
    with _refused(r"value_range \(0, 1\) is for float images"):
        _split(value_range=(0, 1))
    assert split.subset(6).value_range == (0, 1)


def test_masks_of_zeros_and_ones_are_called_black(caplog):
    with caplog.at_level(logging.WARNING):
        _split((PIXELS > 128).astype(np.uint8))
    assert "train images: no value is above 1, of 0 to 255" in caplog.text
    assert "multiply them by 255" in caplog.text


def test_checking_copies_nothing(tmp_path):
    path = tmp_path / "images.npy"
    np.save(path, np.full((60_000, 28, 28), 7, np.uint8))
    labels = np.zeros(60_000, np.int32)
    images = np.load(path, mmap_mode="r")
    split = mnist_lib.Split("train", images, labels)
    assert np.shares_memory(split.images, images)
    assert np.shares_memory(split.labels, labels)


def test_splits_of_a_data_set_fit_together():
    splits = {name: _split(name=name) for name in ("train", "validation", "test")}
    assert mnist_lib.ImageDataset("own", **splits).test is splits["test"]
    wide = _split(np.zeros((6, 28, 32, 1), np.uint8) + PIXELS[:, :, :1], name="test")
    for part, message in (
        (
            {"test": wide},
            r"test images: are \[28, 32, 1\] uint8, those of train \[28, 28, 1\] uint8",
        ),
        (
            {"validation": _split(UNIT, name="validation", value_range=(0, 1))},
            r"float32 in \(0, 1\)",
        ),
        ({"train": (PIXELS, LABELS)}, r"data: own has a tuple .* give mnist_lib.Split\("),
        ({"train": _split(PIXELS[:0], LABELS[:0])}, "train: own has no images to train on"),
        ({"class_names": "abcde"}, r"label 5 at index 5 is not in \[0, 4\]; there are 5 classes"),
    ):
        with _refused(message):
            mnist_lib.ImageDataset("own", **(splits | part))
    late = mnist_lib.ImageDataset("own", **(splits | {"test": lambda: wide}))
    with _refused("test images: are"):
        late.test  # noqa: B018


def test_image_numbers_go_with_the_images():
    split = _split(numbers=np.arange(10, 16))
    np.testing.assert_array_equal(split.subset(6).numbers, split.numbers)
    taken = split.take(np.array([4, 1]), "validation")
    assert (taken.name, taken.numbers.tolist(), taken.labels.tolist()) == (
        "validation",
        [14, 11],
        [4, 1],
    )
    assert _split().subset(2).numbers is None
    with _refused("train: 6 images and 5 numbers"):
        _split(numbers=np.arange(5))
    assert dataclasses.replace(split, name="test").numbers is split.numbers


def _model(shape=(28, 28, 1), dtype="uint8", num_classes=6):
    inputs = keras.Input(shape, dtype=dtype)
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    return keras.Model(inputs, keras.layers.Dense(num_classes)(x), name="own")


def _batches(images=PIXELS, labels=LABELS, size=4):
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(size)


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        ({}, _batches(UNIT), "images: are float32, and own takes uint8 .* multiply .* by 255"),
        ({}, _batches(UNIT.astype(np.float16)), "images: are float16, and own takes uint8"),
        ({"dtype": "int32"}, _batches(UNIT), "images: are float32, and own takes int32"),
        (
            {"shape": (32, 32, 3)},
            _batches(),
            r"shape \[28, 28, 1\] do not fit own, .* \[32, 32, 3\]",
        ),
        ({"shape": (784,)}, _batches(), r"shape \[28, 28, 1\] do not fit own, which takes \[784\]"),
        ({}, _batches(labels=LABELS[:, np.newaxis]), r"labels: have shape .* labels\[:, 0\]"),
        ({}, _batches(labels=np.eye(7)[:6]), r"labels: have shape \[None, 7\], .* tf.argmax"),
        ({}, _batches(labels=LABELS + 0.7), r"labels: are float64; .* tf.cast\(labels, tf.int32\)"),
        ({}, _batches().unbatch(), r"images: of shape .* do not fit|labels: have shape \(\), not"),
        (
            {},
            _batches().map(lambda x, y: {"x": x, "y": y}),
            r"data: has elements .* \(inputs, targets\)",
        ),
        ({"num_classes": 5}, _batches(), r"labels: 1 are not in \[0, 4\], the classes of own"),
        ({}, _batches(labels=LABELS - 2), r"labels: 2 are not in \[0, 5\]"),
        ({}, _batches(labels=LABELS.astype(np.uint8) + 3), r"labels: 3 are not in \[0, 5\]"),
        ({"num_classes": 5}, _split(), r"labels: 1 are not in \[0, 4\], the classes of own"),
        ({}, _split(UNIT, value_range=(0, 1)), "images: are float32, and own takes uint8"),
        ({"shape": (32, 32, 3)}, _split(), r"shape \[28, 28, 1\] do not fit own"),
    ],
)
@pytest.mark.parametrize("loss", ["cross_entropy", "hinge"])
def test_an_evaluation_that_would_count_nonsense_is_refused(model, data, message, loss):
    with _refused(message):
        mnist_lib.Evaluator(_model(**model), loss=loss).evaluate(data)


@pytest.mark.parametrize(
    ("model", "images", "options"),
    [
        ({}, PIXELS, {}),
        ({"shape": (28, 28)}, PIXELS, {}),
        ({"shape": (None, None, 1), "num_classes": 47}, None, {}),
        ({"dtype": "float32"}, PIXELS, {}),
        ({"dtype": "float32"}, UNIT, {"value_range": (0, 1)}),
        ({"dtype": "float16"}, UNIT, {"value_range": (0, 1)}),
        ({"dtype": "float32"}, UNIT.astype(np.float64), {"value_range": (0, 1)}),
    ],
)
def test_an_evaluation_counts_own_images(model, images, options):
    if images is None:
        model, images = {"shape": (28, 28, 1), "num_classes": 47}, PIXELS[..., 0]
    own = _model(**model)
    split = _split(images, **options)
    logits = own(tf.constant(split.images), training=False).numpy()
    expected = int((logits.argmax(-1) == LABELS).sum())
    bytes_as_labels = _batches(split.images, LABELS.astype(np.uint8))
    for data in (split, mnist_lib.eval_batches(split, 4), bytes_as_labels):
        metrics = mnist_lib.Evaluator(own).evaluate(data)
        assert (metrics.num_examples, metrics.num_correct) == (6, expected)


CONFIG = mnist_lib.TrainConfig(
    model="linear", batch_size=40, epochs=4, learning_rate=0.01, summaries="none", seed=3
)


def _seven_classes(name: str = "seven", first: int = 0, **options) -> mnist_lib.ImageDataset:
    """Class k is a bright row in one of seven places."""

    def split(part: str, size: int, start: int) -> mnist_lib.Split:
        labels = (np.arange(size) + start) % 7
        rng = np.random.default_rng(start + first)
        images = rng.integers(0, 90, (size, 28, 28)).astype(np.uint8)
        images[np.arange(size), labels * 4] = 255
        return mnist_lib.Split(part, images, labels)

    parts = {"train": 560, "validation": 70, "test": 105}
    splits = {part: split(part, size, 1000 * size) for part, size in parts.items()}
    names = ("mo", "tu", "we", "th", "fr", "sa", "su")
    return mnist_lib.ImageDataset(name, **(splits | {"class_names": names} | options))


@pytest.fixture(scope="module")
def seven(tmp_path_factory):
    """A finished run on seven classes: its folder, its data, its results."""
    workdir, data = tmp_path_factory.mktemp("runs") / "seven", _seven_classes()
    return workdir, data, mnist_lib.train_and_evaluate(CONFIG, workdir, data=data)


def test_a_run_on_seven_classes_is_used_like_any_other(seven):
    workdir, data, results = seven
    assert results["test"]["accuracy"] > 0.9
    assert results["class_names"] == list(data.class_names)
    assert np.shape(results["test"]["confusion_matrix"]) == (7, 7)
    for checkpoint in ("last", "best"):
        assert mnist_lib.load_model(workdir, checkpoint).output_shape == (None, 7)
        probabilities = mnist_lib.predict(workdir, data.test.images, checkpoint=checkpoint)
        metrics = mnist_lib.evaluate(workdir, data=data, checkpoint=checkpoint)
        assert probabilities.shape == (105, 7)
        assert (probabilities.argmax(-1) == data.test.labels).sum() == metrics.num_correct
        assert metrics.class_names == data.class_names
    assert mnist_lib.evaluate(workdir, data=data).num_correct == results["test"]["num_correct"]
    assert mnist_lib.predict(workdir, data.test.images[:0]).shape == (0, 7)
    (facts,) = json.loads((workdir / "run.json").read_text())
    assert facts["class_names"] == list(data.class_names)
    assert (facts["image_shape"], facts["own_data"], facts["num_train"]) == ([28, 28, 1], True, 560)
    config = mnist_lib.load_config(workdir)
    assert config == dataclasses.replace(CONFIG, validation_size=70)
    assert mnist_lib.train_and_evaluate(config, workdir, data=data) == results


def test_a_run_on_own_data_is_not_taken_for_another(seven):
    workdir, data, _ = seven
    others = {part: getattr(_seven_classes(first=1), part) for part in ("train", "test")}
    for other, message in (
        (_seven_classes(train=others["train"]), "dataset: its train images .* are not those"),
        (_seven_classes(test=others["test"]), "dataset: its test images .* are not those"),
        (_seven_classes(test=lambda: others["test"]), "dataset: its test images .* are not those"),
        (_seven_classes(class_names="abcdefg"), r"dataset: has the class_names \['a', .*'mo', "),
        (
            None,
            "data: the run in .* was trained on seven, which was passed as data=; pass it again",
        ),
    ):
        with _refused(message):
            mnist_lib.train_and_evaluate(CONFIG, workdir, data=other)
    with _refused("data: the run was trained on seven, which the catalogue lacks; pass data="):
        mnist_lib.evaluate(workdir)
    with _refused("data: seven has 8 classes, and the run in .* was trained on 7"):
        mnist_lib.evaluate(workdir, data=_seven_classes(class_names="abcdefgh"))
    with _refused(r"images: uint8 \[105, 28, 27, 1\]; expected uint8 \[N, 28, 28\] or"):
        mnist_lib.predict(workdir, data.test.images[:, :, :27])


@pytest.mark.parametrize(
    ("options", "data", "message"),
    [
        ({"train_size": 561}, {}, r"train_size: 561 is not in \[1, 560\]"),
        ({"batch_size": 561}, {}, "batch_size: 561 is larger than the 560 training images"),
        ({"train_size": 30}, {}, "batch_size: 40 is larger than the 30 training images"),
        ({"warmup_steps": 56}, {}, "warmup_steps: 56 must be less than the 56 steps"),
        ({"validation_size": 60}, {}, "validation_size: is 60, and data= has 70 validation"),
        ({"validation_size": 0}, {}, "validation_size: is 0, and data= has 70 validation"),
        ({"dataset": "kmnist"}, {}, "dataset: is kmnist, and data= is seven; leave one"),
        ({}, {"test": _split(PIXELS[:0], LABELS[:0], "test")}, "seven has no images to test on"),
    ],
)
def test_what_does_not_fit_own_data_is_said_before_training(tmp_path, options, data, message):
    config = dataclasses.replace(CONFIG, **options)
    with _refused(message):
        mnist_lib.train_and_evaluate(config, tmp_path / "run", data=_seven_classes(**data))
    assert list(tmp_path.iterdir()) == []


def test_the_limits_are_those_of_the_data(tmp_path):
    """MNIST's counts are no limit to larger data, and hold before MNIST is looked for."""
    repeated = np.arange(60_001) % 6
    large = _split(PIXELS[:, ::14, ::14][repeated], LABELS[repeated])
    config = dataclasses.replace(CONFIG, batch_size=60_001, train_size=60_001, epochs=1)
    results = mnist_lib.train_and_evaluate(
        config, tmp_path / "run", data=mnist_lib.ImageDataset("own", large, large, large)
    )
    assert results["step"] == 1
    shutil.rmtree(tmp_path / "run")
    with _refused("train_size: 60001 is more than the 55000 images"):
        mnist_lib.train_and_evaluate(dataclasses.replace(config, data_dir=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_train_size_chooses_of_own_data(tmp_path):
    data = _seven_classes("own / data")
    config = dataclasses.replace(CONFIG, train_size=280, epochs=1)
    mnist_lib.train_and_evaluate(config, tmp_path / "run", data=data)
    (facts,) = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (facts["num_train"], len(data.train)) == (280, 560)
    assert facts["train_sha256"] == data.train.subset(280).sha256
    assert mnist_lib.load_config(tmp_path / "run").train_size == 280
    folder = run_directory.new_workdir(data.name, "linear", tmp_path)
    assert folder.parent == tmp_path
    assert folder.name.endswith("-own_data-linear")


@pytest.mark.parametrize(
    "num_classes", [26, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 47))]
)
def test_any_number_of_classes(tmp_path, num_classes):
    labels = np.arange(188) % num_classes
    images = np.zeros((188, 28, 28), np.uint8)
    images[np.arange(188), labels // 28, labels % 28] = 255
    split = mnist_lib.Split("train", images, labels)
    names = [f"class {number}" for number in range(num_classes)]
    data = mnist_lib.ImageDataset("many", split, split, split, names)
    config = dataclasses.replace(CONFIG, epochs=60, batch_size=188, learning_rate=0.1)
    results = mnist_lib.train_and_evaluate(config, tmp_path / "run", data=data)
    assert results["test"]["accuracy"] == 1
    assert mnist_lib.predict(tmp_path / "run", images, checkpoint="best").shape == (
        188,
        num_classes,
    )


def test_named_models_say_what_they_take(tmp_path):
    names = ("train", "validation", "test")
    splits = {name: _split(UNIT, value_range=(0, 1)) for name in names}
    with _refused("model: linear takes images in uint8, and own has float32; give a model of"):
        mnist_lib.train_and_evaluate(
            dataclasses.replace(CONFIG, batch_size=6),
            tmp_path / "run",
            data=mnist_lib.ImageDataset("own", **splits),
        )
