"""What objects say of themselves, as text and in a notebook."""

import base64
import re

import numpy as np
import pytest
import tensorflow as tf

import mnist_lib
from mnist_lib import markup

MATRIX = np.array([[98, 2, 0], [0, 110, 0], [1, 4, 95]])
SCRIPT = "<script>alert(1)</script>"


def pictures_in(html: str) -> list[np.ndarray]:
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    return [tf.io.decode_png(base64.b64decode(text)).numpy() for text in found]


def cells_in(html: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", html)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_png_files_hold_the_pixels(shape):
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    np.testing.assert_array_equal(tf.io.decode_png(markup.png(image)).numpy().reshape(shape), image)


def test_text_in_html_is_escaped():
    html = markup.table([SCRIPT], [[SCRIPT]], caption=SCRIPT)
    html += markup.pictures(np.zeros((1, 2, 2), np.uint8), [f'" onload="x{SCRIPT}'])
    html += markup.paragraph(SCRIPT) + markup.confusion_table([SCRIPT], [[1]])
    assert "<script>" not in html
    assert '" onload' not in html


def test_a_split_says_what_it_holds(small_dataset):
    split = small_dataset.train
    counts = np.bincount(split.labels)
    assert repr(split) == (
        f"Split train: images [28, 28, 1] uint8; 600 images, per class {' '.join(map(str, counts))}"
    )
    html = split._repr_html_()
    shown = pictures_in(html)
    assert len(shown) == 10
    for image, expected in zip(shown, split.images, strict=False):
        np.testing.assert_array_equal(image, expected)
    assert cells_in(html)[-1][3].endswith(f"<br>{split.labels[3]}")


def test_splits_of_other_kinds_of_images():
    floats = np.linspace(-1, 1, 3 * 4 * 4).reshape(3, 4, 4, 1).astype(np.float32)
    split = mnist_lib.Split("mine", floats, np.arange(3), value_range=(-1.0, 1.0))
    assert "images [4, 4, 1] float32 in (-1.0, 1.0); 3 images" in repr(split)
    shown = pictures_in(split._repr_html_())
    assert (len(shown), shown[0].min(), shown[2].max()) == (3, 0, 255)
    coloured = np.full((2, 4, 4, 3), 7, np.uint8)
    split = mnist_lib.Split("mine", coloured, np.arange(2) + 30)
    assert "per class" not in repr(split)
    assert pictures_in(split._repr_html_())[1].shape == (4, 4, 3)
    empty = split.take(np.arange(0))
    assert "no images" in repr(empty)
    assert pictures_in(empty._repr_html_()) == []


def test_a_data_set_says_what_it_holds_and_reads_nothing(small_dataset):
    def read():
        raise AssertionError("the test split was read")

    data = mnist_lib.ImageDataset(
        SCRIPT, small_dataset.train, small_dataset.validation, read, stands_in_for="mnist"
    )
    lines = repr(data).splitlines()
    assert lines[0] == (
        f"ImageDataset {SCRIPT} (in place of mnist): images [28, 28, 1] uint8, 10 classes"
    )
    assert lines[1].startswith("  train: 600 images, per class ")
    assert lines[2].startswith("  validation: 101 images, per class ")
    assert lines[3] == "  test: not read yet"
    html = data._repr_html_()
    assert "<script>" not in html
    rows = cells_in(html)
    assert rows[0][:3] == ["split", "images", "0"]
    counts = np.bincount(small_dataset.train.labels)
    assert rows[1] == ["train", "600", *map(str, counts)]
    assert rows[3][:2] == ["test", "not read yet"]
    assert len(pictures_in(html)) == 10


def test_a_test_split_that_was_read_is_counted(small_dataset):
    assert "  test: 203 images" in repr(small_dataset)
    parts = small_dataset.train, small_dataset.validation, lambda: small_dataset.test
    data = mnist_lib.ImageDataset("small", *parts)
    assert len(data.test) == 203
    assert "  test: 203 images" in repr(data)
    assert ["test", "203"] in [row[:2] for row in cells_in(data._repr_html_())]


def test_a_training_says_what_it_came_to():
    metrics = mnist_lib.TrainMetrics(
        num_steps=10,
        num_examples=500,
        num_correct=490,
        loss_sum=50.0,
        objective_sum=60.0,
        gradient_norm=0.25,
        first_nonfinite_step=0,
    )
    assert repr(metrics) == (
        "TrainMetrics: 10 steps, 500 images, 490 right; loss 0.1000, accuracy 0.9800, "
        "gradient norm 0.2500"
    )
    rows = dict(cells_in(metrics._repr_html_()))
    assert (rows["loss"], rows["accuracy"], rows["images"]) == ("0.1000", "0.9800", "500")
    without = mnist_lib.TrainMetrics.of_sums(10, 500, -1, 50.0, 60.0, 0.25, 7)
    assert repr(without) == (
        "TrainMetrics: 10 steps, 500 images; loss 0.1000, gradient norm 0.2500; "
        "not finite from step 7 on"
    )
    assert "accuracy" not in without._repr_html_()


def test_an_evaluation_says_what_it_came_to_and_shades_errors():
    names = ("zero", "<one>", "two")
    metrics = mnist_lib.EvalMetrics(31.0, MATRIX, dataset="mnist", class_names=names)
    assert repr(metrics) == (
        "EvalMetrics mnist: 310 images, 303 right, 7 wrong; loss 0.1000, accuracy 0.9774"
    )
    html = metrics._repr_html_()
    assert [row[1:] for row in cells_in(html)][1:] == [
        ["98", "2", ""],
        ["", "110", ""],
        ["1", "4", "95"],
    ]
    assert "<one>" not in html
    shades = [float(text) for text in re.findall(r"rgba\(214, 69, 65, ([\d.]+)\)", html)]
    assert len(shades) == 3  # the errors that were made, the most frequent the deepest
    assert max(shades) == shades[2]
    assert "two taken for &lt;one&gt;: 4 times" in html


def test_an_evaluation_of_other_targets_and_metrics():
    metrics = mnist_lib.EvalMetrics(
        5.0, np.zeros((0, 0), np.int64), num_examples=50, own={"error": 0.5, "per_class": [1, 2]}
    )
    assert repr(metrics) == "EvalMetrics: 50 images; loss 0.1000, error 0.5000"
    assert "<p>50 images; loss 0.1000, error 0.5000</p>" in metrics._repr_html_()


def test_confusions_are_the_most_frequent_errors():
    metrics = mnist_lib.EvalMetrics(31.0, MATRIX)
    assert metrics.confusions() == [(2, 1, 4), (0, 1, 2), (2, 0, 1)]
    assert metrics.confusions(count=1) == [(2, 1, 4)]
    assert metrics.to_dict()["confusions"][0] == {"label": "2", "prediction": "1", "count": 4}
    named = mnist_lib.EvalMetrics(31.0, MATRIX, class_names=("a", "b", "c"))
    assert named.to_dict()["confusions"][1] == {"label": "a", "prediction": "b", "count": 2}
