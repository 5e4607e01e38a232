"""Figures against the numbers behind them; files that open again; errors; the command."""

import ast
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import xml.etree.ElementTree

import keras
import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

import mnist_lib
from mnist_lib import choices, errors
from mnist_lib.commands import figure_sources, visualize
from mnist_lib.inspection import calibration, figures, history, statistics
from mnist_lib.inspection.figures import (
    functions,
    layer_outputs,
    networks,
    representations,
    saliency,
    style,
)
from mnist_lib.inspection.precision_recall import precision_recall
from mnist_lib.inspection.predictions import DISPUTED_TEST_IMAGES, Predictions, predict_split
from mnist_lib.training import augmentation

NAMES = tuple("0123456789")


@pytest.fixture(scope="module")
def predictions(small_dataset) -> Predictions:
    """Made up, of the small data set, its numbers such that some are disputed."""
    test, random = small_dataset.test, np.random.default_rng(0)
    numbers = np.concatenate([sorted(DISPUTED_TEST_IMAGES), np.arange(len(test) - 15)])
    logits = random.normal(size=(len(test), 10)) + 3 * np.eye(10)[test.labels]
    weights = np.exp(logits)
    split = mnist_lib.Split("test", test.images, test.labels, numbers)
    probabilities = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    return Predictions(split, probabilities, NAMES, "mnist")


@pytest.fixture(scope="module")
def models() -> dict[str, keras.Model]:
    return {name: mnist_lib.build_model(name) for name in choices.NAMES["model"]}


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def caption(figure: Figure) -> str:
    return "" if figure._supxlabel is None else figure._supxlabel.get_text()


# --- data ---------------------------------------------------------------------------------


def test_samples_are_the_first_images_of_the_original_files(prepared_mnist_dir):
    data = mnist_lib.load_dataset("mnist", data_dir=prepared_mnist_dir, validation_size=0)
    figure = figures.draw_samples(data.train, caption="mnist train")
    labels = (5, 0, 4, 1, 9, 2, 1, 3, 1, 4, 3, 5, 3, 6, 1)
    assert texts(figure) == [f"Label: {label}" for label in labels]
    (images, _), _ = mnist_lib.load_arrays("mnist", data_dir=prepared_mnist_dir)
    drawn = [image.get_array() for image in figure.axes[0].images]
    np.testing.assert_array_equal(drawn, images[:15])
    assert caption(figure) == "mnist train"

    counts = figures.draw_labels({"training": data.train.labels, "test": data.test.labels})
    heights = [patch.get_height() for patch in counts.axes[0].patches]
    assert heights == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert texts(counts)[:2] == ["5,923", "6,742"]
    assert sum(patch.get_height() for patch in counts.axes[1].patches) == 10_000


def test_augmentation_shows_one_row_per_label_with_its_original_first(small_dataset):
    split = small_dataset.train
    augment = augmentation.named_augmentation("affine", seed=0)
    figure = figures.draw_augmentation(split, augment, name="affine", num_variants=3)
    drawn = [image.get_array() for image in figure.axes[0].images]
    assert len(drawn) == 10 * 4
    first = split.images[split.labels == 7][0]
    np.testing.assert_array_equal(drawn[7 * 4], first[..., 0])
    assert not np.array_equal(drawn[7 * 4], drawn[7 * 4 + 1])
    assert texts(figure)[:10] == list(NAMES)
    assert "augmented: affine" in texts(figure)
    with pytest.raises(errors.ConfigError, match="augmentation: none changes nothing"):
        figures.draw_augmentation(split, augmentation.named_augmentation("none", seed=0))


def test_noise_counts_the_images_there_are():
    figure = figures.draw_noise()
    assert r"256^{784} \approx 1.15 \times 10^{1888}" in caption(figure)
    assert len(str(256**784)) == 1889
    assert str(256**784)[:3] == "114"  # 1.147, rounded 1.15
    values = np.concatenate([image.get_array().ravel() for image in figure.axes[0].images])
    assert (values.min(), values.max()) == (0, 255)
    assert abs(values.mean() - 127.5) < 2


# --- units --------------------------------------------------------------------------------


def test_activations_and_their_derivatives():
    x = np.array([-2, -0.5, 0.5, 2], np.float32)
    elu = np.where(x > 0, x, np.exp(x) - 1)
    sigmoid = 1 / (1 + np.exp(-x))
    expected = {
        "sigmoid": (sigmoid, sigmoid * (1 - sigmoid)),
        "tanh": (np.tanh(x), 1 - np.tanh(x) ** 2),
        "relu": (np.maximum(x, 0), x > 0),
        "leaky_relu": (np.where(x > 0, x, 0.1 * x), np.where(x > 0, 1, 0.1)),
        "elu": (elu, np.where(x > 0, 1, np.exp(x))),
        "maxout": (np.maximum(x, -x / 2 - 1), np.where(x > -x / 2 - 1, 1, -0.5)),
    }
    assert set(expected) == set(choices.NAMES["activation"])
    for name, (values, slopes) in expected.items():
        found = functions.activation_values(name, x)
        np.testing.assert_allclose(found, (values, slopes), rtol=1e-5, atol=1e-6, err_msg=name)
    figure = figures.draw_activations()
    assert len(figure.axes) == 6
    value, slope = figure.axes[0].lines[-2:]
    np.testing.assert_allclose(value.get_ydata()[200], 0.5)
    np.testing.assert_allclose(slope.get_ydata()[200], 0.25)


def test_a_perceptron_separates_and_and_or_and_not_xor():
    inputs = np.column_stack([np.ones(4), functions.CORNERS])
    for gate, targets in functions.GATES.items():
        weights, passes = functions.train_perceptron(np.array(targets))
        assert (passes is None) == (gate == "XOR")
        if passes is not None:
            np.testing.assert_array_equal(inputs @ weights > 0, targets)
            assert np.all(inputs @ weights != 0)
    figure = figures.draw_separability()
    lines = [[line for line in axes.lines if line.get_color() == "black"] for axes in figure.axes]
    assert [len(drawn) for drawn in lines] == [1, 1, 0]
    weights, _ = functions.train_perceptron(np.array(functions.GATES["AND"]))
    for x, y in lines[0][0].get_xydata():
        assert weights @ (1, x, y) == pytest.approx(0)
    assert "no line separates" in figure.axes[2].get_title()


# --- predictions --------------------------------------------------------------------------


def test_confusion_has_the_counts_in_its_cells(predictions):
    figure = figures.draw_confusion(predictions, caption="run x")
    axes, matrix = figure.axes[0], predictions.confusion_matrix()
    assert [int(text) for text in texts(figure)[:100]] == matrix.ravel().tolist()
    cell = axes.texts[3 * 10 + 8]
    assert cell.get_position() == (8, 3)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("prediction", "label")
    row = matrix[3]
    assert f"{row[3] / row.sum():.2%} of {row.sum()}" in texts(figure)
    coloured = axes.images[0].get_array()
    np.testing.assert_array_equal(coloured.mask, (matrix == 0) | np.eye(10, dtype=bool))
    wrong = np.sum(predictions.predicted != predictions.split.labels)
    assert axes.get_title().startswith(f"{wrong} of 203 images wrong")


def test_mistakes_are_captioned_and_disputed_ones_framed(predictions):
    figure = figures.draw_mistakes(predictions, caption="run x, step 3, mnist test")
    wrong, split = predictions.mistakes()[:40], predictions.split
    assert 15 < len(wrong) <= 40
    for text, index in zip(texts(figure), wrong, strict=True):
        pair, rest = text.split("\n")
        assert pair == f"{split.labels[index]} → {predictions.predicted[index]}"
        probability, number = rest.split("  #")
        assert float(probability) == pytest.approx(predictions.confidence[index], abs=1e-3)
        assert int(number) == split.numbers[index]
    confidences = [float(text.split("\n")[1][:5]) for text in texts(figure)]
    assert confidences == sorted(confidences, reverse=True)
    disputed = [index for index in wrong if split.numbers[index] in DISPUTED_TEST_IMAGES]
    assert 0 < len(disputed) < len(wrong)
    frames = figure.axes[0].collections[1].get_segments()
    assert len(frames) == len(disputed)
    place = list(wrong).index(disputed[0])
    left, right, bottom, top = figure.axes[0].images[place].get_extent()
    np.testing.assert_allclose([frames[0].min(0), frames[0].max(0)], [(left, top), (right, bottom)])
    assert caption(figure) == "run x, step 3, mnist test"


def test_without_a_mistake_the_figure_says_so(predictions):
    split = predictions.split
    perfect = Predictions(split, np.eye(10, dtype=np.float32)[split.labels], NAMES, "mnist")
    assert figures.draw_mistakes(perfect).axes[0].get_title() == "No mistakes"
    assert "0 of 203" in figures.draw_confusion(perfect).axes[0].get_title()
    for draw in (figures.draw_reliability, figures.draw_precision_recall):
        draw(perfect)


def test_calibration_by_hand():
    confidence = np.array([0.5, 0.5, 0.9, 0.9, 0.9, 1.0])
    is_correct = np.array([True, False, True, True, False, True])
    bins = calibration.equal_width_bins(confidence, is_correct, num_bins=10)
    # (0.4, 0.5], (0.8, 0.9] and (0.9, 1].
    assert bins.counts.tolist() == [0, 0, 0, 0, 2, 0, 0, 0, 3, 1]
    assert bins.num_correct.tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 2, 1]
    assert bins.accuracy[[4, 8, 9]] == pytest.approx([0.5, 2 / 3, 1])
    assert bins.error == pytest.approx((0 + 3 * (0.9 - 2 / 3) + 0) / 6)
    assert np.isnan(bins.accuracy[0])
    mass = calibration.equal_mass_bins(confidence, is_correct, num_bins=3)
    assert mass.counts.sum() == 6
    assert mass.counts.min() > 0
    same = calibration.equal_mass_bins(np.ones(5), np.array([1, 1, 1, 0, 1], bool))
    assert same.counts.tolist() == [5]
    assert same.error == pytest.approx(0.2)


def test_the_least_confident_fill_a_bin_of_their_own_if_they_are_all_alike():
    confidence = np.repeat([0.1, 1.0], 500)
    bins = calibration.equal_mass_bins(confidence, confidence < 0.5)
    assert bins.counts.tolist() == [500, 500]
    assert bins.error == pytest.approx(0.95)
    low, high = bins.error_interval()
    assert 0.9 < low <= high == pytest.approx(0.95)  # these confidences allow no more


def test_equal_mass_bins_hold_as_many_each():
    confidence = np.random.default_rng(0).random(1500)
    bins = calibration.equal_mass_bins(confidence, confidence > 0.5)
    assert bins.counts.min() >= 99
    assert bins.counts.max() <= 101
    assert np.all(np.diff(bins.mean_confidence) > 0)


@pytest.mark.slow
def test_the_interval_of_the_calibration_error_holds_the_true_error():
    """Probabilities that are 0.1 too high, 40 times."""
    random = np.random.default_rng(0)
    held = 0
    for seed in range(40):
        confidence = random.uniform(0.6, 1, 1000)
        bins = calibration.equal_width_bins(confidence, random.random(1000) < confidence - 0.1)
        low, high = bins.error_interval(seed=seed)
        held += low <= 0.1 <= high
        assert (low, high) == bins.error_interval(seed=seed)
    assert 34 <= held <= 40


@pytest.mark.parametrize("bins_of", [calibration.equal_width_bins, calibration.equal_mass_bins])
def test_a_calibrated_model_is_not_said_to_be_off(bins_of):
    """The true error is 0, and every measured one is above that."""
    random = np.random.default_rng(0)
    held = 0
    for seed in range(40):
        confidence = 1 / (1 + np.exp(-random.normal(5, 2.5, 1000)))
        bins = bins_of(confidence, random.random(1000) < confidence)
        low, high = bins.error_interval(seed=seed)
        held += low == 0 < high
    assert 35 <= held <= 40


def test_the_interval_of_bins_that_are_exact_reaches_what_chance_would_show():
    confidence = np.repeat([0.5, 0.7, 0.9], 10_000)
    bins = calibration.equal_width_bins(confidence, np.tile(np.arange(10), 3000) < 10 * confidence)
    assert 0 <= bins.error < 1e-9
    low, high = bins.error_interval()
    assert low == 0
    assert 0.004 < high < 0.009  # sums of three deviations of 0.005, 0.0046 and 0.003, over 3


def _sure(random, size):
    return 1 - 0.5 * random.beta(0.05, 2, size)  # as networks are of digits: 98.8 % on average


@pytest.mark.parametrize("bins_of", [calibration.equal_width_bins, calibration.equal_mass_bins])
@pytest.mark.parametrize(
    "accuracy_of",
    [lambda sure: sure - 0.002, lambda sure: (3 * sure - 1) / 2, lambda sure: (1 + sure) / 2],
    ids=["a little too sure", "too sure", "not sure enough"],
)
def test_the_interval_holds_a_small_error_of_a_sure_model(bins_of, accuracy_of):
    random = np.random.default_rng(0)
    confidence = _sure(random, 1_000_000)
    true = float(np.abs(accuracy_of(confidence) - confidence).mean())  # of one sign
    held = 0
    for seed in range(60):
        confidence = _sure(random, 10_000)
        bins = bins_of(confidence, random.random(10_000) < accuracy_of(confidence))
        low, high = bins.error_interval(seed=seed, num_draws=500)
        held += low <= true <= high
    assert held >= 53  # a bootstrap's intervals: 49 to 52, in one case 55


def test_reliability_draws_the_bins(predictions):
    figure = figures.draw_reliability(predictions)
    left, right, below = figure.axes
    bins = calibration.equal_width_bins(predictions.confidence, predictions.is_correct)
    filled = bins.counts > 0
    x, y = left.lines[1].get_data()
    np.testing.assert_allclose(x, bins.mean_confidence[filled])
    np.testing.assert_allclose(y, bins.accuracy[filled])
    low, high = left.collections[0].get_segments()[0][:, 1]
    first = np.flatnonzero(filled)[0]
    counts = int(bins.num_correct[first]), int(bins.counts[first])
    assert (low, high) == pytest.approx(statistics.accuracy_interval(*counts))
    assert f"ECE {bins.error:.4f}, 95 % interval " in left.get_title()
    assert "equal mass" in right.get_title()
    assert below.patches[0].get_data().values.tolist() == bins.counts.tolist()


def test_precision_and_recall_by_hand():
    found = precision_recall(
        np.array([0.9, 0.8, 0.8, 0.3, 0.1]), np.array([True, True, False, False, True])
    )
    assert found.thresholds.tolist() == [0.9, 0.8, 0.3, 0.1]
    assert found.precision == pytest.approx([1, 2 / 3, 2 / 4, 3 / 5])
    assert found.recall == pytest.approx([1 / 3, 2 / 3, 2 / 3, 1])
    assert found.average_precision == pytest.approx(1 / 3 + 1 / 3 * 2 / 3 + 1 / 3 * 3 / 5)
    perfect = precision_recall(np.array([0.9, 0.1]), np.array([True, False]))
    assert perfect.average_precision == 1
    assert np.isnan(precision_recall(np.ones(3), np.zeros(3, bool)).average_precision)


def test_precision_recall_draws_each_class_that_there_is(predictions):
    figure = figures.draw_precision_recall(predictions)
    lines = figure.axes[0].lines
    assert len(lines) == 10
    curve = precision_recall(predictions.probabilities[:, 4], predictions.split.labels == 4)
    np.testing.assert_allclose(lines[4].get_xdata()[1:], curve.recall)
    np.testing.assert_allclose(lines[4].get_ydata()[1:], curve.precision)
    assert lines[4].get_label() == f"4: {curve.average_precision:.4f}"
    looks = {(line.get_color(), line.get_linestyle()) for line in lines}
    assert len(looks) == 10
    kept = np.flatnonzero(predictions.split.labels != 4)
    without = Predictions(
        predictions.split.take(kept), predictions.probabilities[kept], NAMES, "mnist"
    )
    assert len(figures.draw_precision_recall(without).axes[0].lines) == 9


# --- curves -------------------------------------------------------------------------------


def _history(shift: float = 0.0) -> history.History:
    steps = np.array([10, 20, 30])
    return {
        "train": {
            "loss": (steps, np.array([1.0, 0.5, 0.25]) + shift),
            "accuracy": (steps, np.array([0.7, 0.8, 0.9]) - shift),
            "learning_rate": (steps, np.array([0.1, 0.1, 0.1])),
        },
        "validation": {"loss": (steps[1:], np.array([0.4, 0.3]))},
        "test": {"accuracy": (steps[2:], np.array([0.88]))},
    }


def test_curves_are_those_of_the_history():
    figure = figures.draw_curves({"first": _history()}, caption="run first")
    loss, accuracy = figure.axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in loss.lines}
    assert drawn == {
        "train": [[10, 1.0], [20, 0.5], [30, 0.25]],
        "validation": [[20, 0.4], [30, 0.3]],
    }
    assert [line.get_label() for line in accuracy.lines] == ["train", "test"]
    assert loss.get_xlabel() == accuracy.get_xlabel() == "optimizer step"

    figure = figures.draw_curves({"first": _history(), "second": _history(0.1)})
    labels = [line.get_label() for line in figure.axes[0].lines]
    assert labels == [f"{run}: {split}" for run in ("first", "second") for split in drawn]
    colours = [line.get_color() for line in figure.axes[0].lines]
    assert colours[0] == colours[1] != colours[2] == colours[3]


def test_a_run_that_has_logged_nothing_is_named():
    with pytest.raises(errors.ConfigError, match="quiet: has no loss and no accuracy"):
        figures.draw_curves({"quiet": {"train": {}, "validation": {}, "test": {}}})


# --- networks -----------------------------------------------------------------------------


def test_filters_are_the_weights_of_the_first_layer(models):
    for name, (count, size) in {"cnn": (32, 3), "lenet5": (6, 5), "fast_cnn": (16, 4)}.items():
        figure = figures.draw_filters(models[name])
        drawn = [image.get_array() for image in figure.axes[0].images]
        kernel = next(layer for layer in models[name].layers if hasattr(layer, "kernel")).kernel
        np.testing.assert_array_equal(drawn, kernel.numpy()[:, :, 0].transpose(2, 0, 1))
        assert np.shape(drawn) == (count, size, size)
        low, high = figure.axes[0].images[0].get_clim()
        assert -low == high == np.abs(kernel.numpy()).max()
    linear = figures.draw_filters(models["linear"], NAMES)
    assert texts(linear) == list(NAMES)
    weights = models["linear"].layers[-1].kernel.numpy()
    np.testing.assert_array_equal(
        linear.axes[0].images[3].get_array(), weights[:, 3].reshape(28, 28)
    )
    mlp = figures.draw_filters(models["mlp"])
    assert len(mlp.axes[0].images) == 64
    assert "64 of 512 kernels of 28x28" in mlp.axes[0].get_title()


def test_what_cannot_be_drawn_of_a_model_is_said():
    words = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)])
    for draw in (networks.first_kernels, lambda model: figures.draw_feature_maps(model, None)):
        with pytest.raises(errors.ConfigError, match="not a functional model of images"):
            draw(words)
    flat = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten()])
    with pytest.raises(errors.ConfigError, match="has no layer with a kernel"):
        figures.draw_filters(flat)


def test_feature_maps_are_what_each_layer_makes_of_the_image(models, small_dataset):
    model, image = models["cnn"], small_dataset.test.images[0]
    before = [variable.numpy() for variable in model.variables]
    steps = layer_outputs.through_layers(model, image)
    titles = [step.title for step in steps]
    assert titles[1].startswith("Conv2D k = 3, stride 1\n26x26x32")
    assert titles[5].startswith("MaxPooling2D k = 2, stride 2\n12x12x64")
    assert titles[6].startswith("Dropout rate 0.25")
    np.testing.assert_array_equal(steps[0].values, image)
    np.testing.assert_allclose(
        steps[-1].values, model(image[None], training=False).numpy()[0], rtol=1e-4, atol=1e-5
    )
    pooled, dropout, flat = steps[5:8]
    kept = ~dropout.dropped
    assert 0.15 < dropout.dropped.mean() < 0.35
    np.testing.assert_allclose(dropout.values[kept], pooled.values[kept] / 0.75, rtol=1e-5)
    assert not dropout.values[dropout.dropped].any()
    np.testing.assert_array_equal(flat.values, pooled.values.ravel())
    for variable, value in zip(model.variables, before, strict=True):  # masks' state, too
        np.testing.assert_array_equal(variable.numpy(), value)
    figure = figures.draw_feature_maps(model, image, NAMES)
    assert len(figure.axes) == 2 * len(steps)
    assert [label.get_text() for label in figure.axes[-1].get_xticklabels()] == list(NAMES)


def test_a_model_is_boxes_and_arrows(models):
    figure = figures.draw_model(models["lenet5"])
    assert figure.axes[0].get_title() == "lenet5: 61,706 parameters"
    assert "N x 28 x 28 x 6, 156 parameters" in texts(figure)
    layers = models["lenet5"].layers
    assert layer_outputs.connections(models["lenet5"]) == [
        (first.name, second.name) for first, second in itertools.pairwise(layers)
    ]
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Conv2D(1, 3, padding="same", name="convolution")(image)
    both = keras.Model(image, keras.layers.Add(name="sum")([image, x]))
    assert layer_outputs.connections(both) == [
        ("image", "convolution"),
        ("image", "sum"),
        ("convolution", "sum"),
    ]
    figures.draw_model(both)


def test_principal_components_of_points_on_a_line_and_a_little_off():
    random = np.random.default_rng(0)
    along, across = random.normal(0, 3, 500), random.normal(0, 1, 500)
    points = np.column_stack([along, along, across]) + 7
    found = representations.principal_components(points)
    variances = 2 * along.var(), across.var()
    assert found.explained == pytest.approx(np.array(variances) / sum(variances), rel=0.01)
    assert abs(np.corrcoef(found.coordinates[:, 0], along)[0, 1]) > 0.999
    assert found.coordinates.mean(0) == pytest.approx([0, 0], abs=1e-9)
    assert representations.principal_components(np.ones((4, 3))).explained.tolist() == [0, 0]
    large = random.normal(size=(300, 100)) * np.linspace(3, 0.1, 100)
    found = representations.principal_components(large)
    left, sizes, _ = np.linalg.svd(large - large.mean(0), full_matrices=False)
    np.testing.assert_allclose(
        np.abs(found.coordinates), np.abs(left[:, :2] * sizes[:2]), rtol=1e-5, atol=1e-7
    )
    assert found.explained == pytest.approx(sizes[:2] ** 2 / np.sum(sizes**2))


def test_colours_other_channels_and_many_classes():
    """Images of a user's own: in colours, as floats; of another number of channels."""
    random = np.random.default_rng(0)
    for channels, shape in ((3, (20, 24, 3)), (4, (20, 24))):
        images = random.uniform(-1, 1, (12, 20, 24, channels)).astype(np.float32)
        split = mnist_lib.Split("test", images, np.arange(12) % 10, value_range=(-1, 1))
        figure = figures.draw_samples(split)
        drawn = figure.axes[0].images[5].get_array()
        assert drawn.shape == shape
        expected = (images[5] + 1) / 2 if channels == 3 else images[5].mean(-1)
        np.testing.assert_allclose(drawn, expected, atol=1e-6)
        wrong = Predictions(split, np.eye(10, dtype=np.float32)[split.labels - 1], NAMES, "own")
        assert texts(figures.draw_mistakes(wrong))[1] == "1 → 0\n1.000"
        inputs = keras.Input((20, 24, channels))
        x = keras.layers.Conv2D(10, 3)(inputs)
        model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))
        assert len(figures.draw_filters(model).axes[0].images) == 10
        for draw in (figures.draw_saliency, figures.draw_embedding):
            assert draw(model, split).axes
    names = tuple(map(str, range(50)))
    many = Predictions(split, np.full((12, 50), 0.02, np.float32), names, "own")
    with pytest.raises(errors.ConfigError, match="50 classes are too many"):
        figures.draw_confusion(many)
    flat = keras.layers.Flatten()(inputs)
    both = keras.Model(inputs, keras.layers.Add(name="sum")([flat, flat]), name="both")
    with pytest.raises(errors.ConfigError, match="sum of both has several inputs"):
        figures.penultimate_features(both, images)


def test_embedding_is_a_stratified_choice_of_the_images(models, small_dataset):
    figure = figures.draw_embedding(models["mlp"], small_dataset.test, num_images=100)
    axes = figure.axes[0]
    assert sum(len(line.get_xdata()) for line in axes.lines) == 100
    assert texts(figure) == list(NAMES)
    assert "% of the variance)" in axes.get_xlabel()
    chosen = small_dataset.test.subset(100)
    features = figures.penultimate_features(models["mlp"], chosen.images)
    given = figures.draw_embedding(models["mlp"], chosen, features=features).axes[0]
    np.testing.assert_allclose(given.lines[0].get_xydata(), axes.lines[0].get_xydata(), atol=1e-4)
    with pytest.raises(errors.ConfigError, match="a single input"):
        figures.draw_embedding(models["mlp"], chosen, features=features[:, :1])


def test_t_sne_keeps_neighbours(models, small_dataset):
    pytest.importorskip("sklearn.manifold", reason="scikit-learn is not installed")
    threadpoolctl = pytest.importorskip("threadpoolctl")  # which scikit-learn needs
    chosen = small_dataset.test.subset(120)
    features = np.eye(40, dtype=np.float32)[chosen.labels] * 5
    features += np.random.default_rng(0).normal(size=features.shape) / 4
    # Threads that wait for each other in a loop take minutes on a machine that has other work.
    with threadpoolctl.threadpool_limits(1):
        drawn = [
            figures.draw_embedding(models["mlp"], chosen, features=features, projection="tsne")
            for _ in range(2)
        ]
    points = [line.get_xydata() for line in drawn[0].axes[0].lines]
    again = [line.get_xydata() for line in drawn[1].axes[0].lines]
    np.testing.assert_array_equal(np.concatenate(points), np.concatenate(again))
    classes = np.repeat(np.arange(len(points)), [len(one) for one in points])
    points = np.concatenate(points)
    distances = np.square(points[:, None] - points).sum(-1) + np.diag(np.full(120, np.inf))
    assert np.mean(classes[distances.argmin(1)] == classes) > 0.97


def test_t_sne_without_scikit_learn_says_what_to_install(models, small_dataset, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(errors.ConfigError, match=r"pip install 'mnist_lib\[tsne\]'"):
        figures.draw_embedding(models["mlp"], small_dataset.test, projection="tsne")
    with pytest.raises(errors.ConfigError, match="projection: 'umap' is not one of pca, tsne"):
        figures.draw_embedding(models["mlp"], small_dataset.test, projection="umap")


def test_input_gradients_are_those_of_the_predicted_logit(models, small_dataset):
    """Of the linear model they are its weights, of others the slopes of differences."""
    images = small_dataset.test.images[:4]
    gradients, predicted = saliency.input_gradients(models["linear"], images)
    weights = models["linear"].layers[-1].kernel.numpy()
    np.testing.assert_allclose(gradients.reshape(4, -1), weights[:, predicted].T, rtol=1e-5)
    gradients, predicted = saliency.input_gradients(models["lenet5"], images)
    logits = models["lenet5"](images, training=False).numpy()
    assert predicted.tolist() == logits.argmax(-1).tolist()
    place = np.unravel_index(np.abs(gradients[0]).argmax(), gradients[0].shape)
    changed = images[:1].copy()
    changed[0][place] += 1  # one of 255
    after = models["lenet5"](changed, training=False).numpy()[0, predicted[0]]
    slope = (after - logits[0, predicted[0]]) * 255
    assert gradients[0][place] == pytest.approx(slope, rel=0.1)
    layers = [keras.layers.Flatten(), keras.layers.Dense(10)]
    floats = keras.Sequential([keras.Input((28, 28, 1)), *layers])
    gradients, predicted = saliency.input_gradients(floats, images / np.float32(255))
    weights = floats.layers[-1].kernel.numpy()
    np.testing.assert_allclose(gradients.reshape(4, -1), weights[:, predicted].T, rtol=1e-5)
    figure = figures.draw_saliency(models["lenet5"], small_dataset.test)
    assert len(figure.axes[0].images) == 20
    assert texts(figure)[::2] == [f"label {name}" for name in NAMES]


# --- files --------------------------------------------------------------------------------


def test_files_open_again_and_are_the_same_each_time(predictions, tmp_path):
    starts = {"png": b"\x89PNG\r\n\x1a\n", "svg": b"<?xml", "pdf": b"%PDF"}
    for name, start in starts.items():
        contents = []
        for folder in ("a", "b"):
            figure = figures.draw_confusion(predictions)
            path = figures.save(figure, tmp_path / folder / "new" / f"confusion.{name}")
            contents.append(path.read_bytes())
        assert contents[0].startswith(start)
        assert contents[0] == contents[1]
    written = {file.suffix[1:] for file in (tmp_path / "a" / "new").iterdir()}
    assert written == set(starts)  # and nothing temporary
    root = xml.etree.ElementTree.parse(tmp_path / "a" / "new" / "confusion.svg").getroot()
    assert root.tag.endswith("}svg")
    png = (tmp_path / "a" / "new" / "confusion.png").read_bytes()
    size = [int.from_bytes(png[first : first + 4]) for first in (16, 20)]
    assert size == pytest.approx(figure.get_size_inches() * 100)


def test_a_file_that_cannot_be_written_is_an_output_error(tmp_path):
    figure = figures.draw_noise(rows=1, columns=1)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(errors.OutputError, match=r"file/x\.png: cannot be written"):
        figures.save(figure, tmp_path / "file" / "x.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(errors.OutputError, match="Pass another --output"):
        figures.save(figure, tmp_path / "folder.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"]
    with pytest.raises(errors.ConfigError, match="format: 'bmp' is not one of png, svg, pdf"):
        figures.save(figure, tmp_path / "x.bmp")


def test_settings_of_matplotlib_are_left_as_they_are(predictions, tmp_path):
    with matplotlib.rc_context({"font.size": 23, "figure.autolayout": True}):
        before = dict(matplotlib.rcParams)
        figure = figures.draw_confusion(predictions)
        engine = figure.get_layout_engine()
        figures.save(figure, tmp_path / "x.png")
        assert dict(matplotlib.rcParams) == before
        assert figure.get_layout_engine() is engine
    for path in pathlib.Path(figures.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in getattr(node, "names", ())]
            assert not [name for name in names if "pyplot" in name], path


def test_what_a_figure_is_of():
    assert style.describe_source(run="runs/x", step=0, data="mnist test") == (
        "run runs/x, step 0, mnist test"
    )
    assert style.describe_source(data="mnist") == "mnist"
    styles = style.class_styles(26)
    assert len({(one["color"], one["linestyle"]) for one in styles}) == 26


def test_draw_run_writes_what_can_be_drawn(predictions, models, tmp_path, caplog):
    caplog.set_level("INFO", logger="mnist_lib")
    real = predict_split(models["linear"], predictions.split, NAMES, "mnist")
    arguments = {"predictions": real, "model": models["linear"], "run": "x", "step": 3}
    paths = figures.draw_run(tmp_path / "figures", history=_history(), **arguments)
    names = ["curves", "confusion", "mistakes", "reliability", "precision_recall"]
    names += ["filters", "embedding"]
    assert [path.name for path in paths] == [f"{name}.png" for name in names]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    assert not [record for record in caplog.records if record.name.startswith("mnist_lib")]
    nothing = {"train": {}, "validation": {}, "test": {}}
    paths = figures.draw_run(tmp_path / "b", history=nothing, format="svg", **arguments)
    assert [path.name for path in paths] == [f"{name}.svg" for name in names[1:]]
    assert "figure curves is left out: history: x: has no loss" in caplog.text


# --- the command --------------------------------------------------------------------------


def run_command(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "mnist_lib", "visualize", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        check=False,
    )


def test_formats_of_the_command_are_those_of_save():
    assert visualize.FORMATS == style.FORMATS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "figure: none is named; name one of samples, "),
        (["confusio"], "figure: 'confusio' is not one of samples, labels, "),
        (["confusion"], "--workdir: confusion is of a run; name its directory"),
        (["confusion", "--workdir=a", "--workdir=b"], "--workdir: confusion is of one run, and 2"),
        (["noise", "--format=bmp"], "--format: 'bmp' is not one of png, svg, pdf"),
        (["noise", "--output=x.txt"], "--output: x.txt ends in none of .png, .svg, .pdf"),
        (
            ["--output=x.png", "noise", "--format=svg"],
            "--format: is svg, and --output ends in .png",
        ),
        (["augmentation", "--augmentation=none"], "--augmentation: 'none' is not one of affine"),
        (["noise", "mistakes"], "figure: 2 names are given"),
    ],
)
def test_wrong_arguments_of_the_command_end_with_64(arguments, message, tmp_path):
    done = run_command(*arguments)
    assert (done.returncode, done.stdout) == (os.EX_USAGE, "")
    assert message in done.stderr.splitlines()[-1]


@pytest.fixture(scope="module")
def run(prepared_data, tmp_path_factory) -> pathlib.Path:
    """A short run, finished."""
    config = mnist_lib.recipe(
        "linear",
        dataset=prepared_data.name,
        data_dir=str(prepared_data.data_dir),
        train_steps=20,
        steps_per_loop=10,
        eval_every=10,
        progress=False,
    )
    workdir = tmp_path_factory.mktemp("runs") / "run"
    mnist_lib.train_and_evaluate(config, workdir)
    return workdir


def _sources(*workdirs: pathlib.Path, split: str = "test", **fields):
    return figure_sources.FigureSources(
        tuple(map(str, workdirs)),
        fields,
        split=split,
        checkpoint="last",
        augmentation="full",
        projection="pca",
    )


def test_the_command_draws_a_run(run, prepared_data, tmp_path):
    done = run_command("confusion", f"--workdir={run}", f"--output={tmp_path}/figures/x.svg")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path}/figures/x.svg\n"
    results = json.loads((run / "results.json").read_text())["test"]
    text = (tmp_path / "figures" / "x.svg").read_text()
    wrong = results["num_examples"] - results["num_correct"]
    assert f"<!-- {wrong} of {results['num_examples']:,} images wrong" in text
    assert f"<!-- run {run}, step 20, {prepared_data.name} test -->" in text


def test_each_kind_is_drawn_of_a_run_and_says_of_which(run, prepared_data):
    sources = _sources(run)
    assert set(figure_sources.DRAW) == set(choices.NAMES["figure"])
    of_data = f"{prepared_data.name} test"
    for kind, draw in figure_sources.DRAW.items():
        figure = draw(sources)
        if kind in visualize.OF_NO_RUN:
            assert f"run {run}" not in caption(figure)
        elif kind in ("curves", "filters", "model"):
            assert caption(figure).startswith(f"run {run}")
        else:
            assert caption(figure) == f"run {run}, step 20, {of_data}"
    steps = figure_sources.DRAW["curves"](sources).axes[0].lines[0].get_xdata()
    assert steps.tolist() == [10, 20]


def test_curves_of_runs_of_one_name_are_told_apart(run, tmp_path):
    other = tmp_path / "run"
    shutil.copytree(run, other)
    assert list(_sources(run, other).histories) == [str(run), str(other)]
    third = tmp_path / "third"
    shutil.copytree(run, third)
    assert list(_sources(run, third).histories) == ["run", "third"]


def test_data_that_is_not_there_or_another_is_refused(run, prepared_data):
    with pytest.raises(errors.ConfigError, match="are not those that the run"):
        figure_sources.DRAW["mistakes"](_sources(run, validation_size=0))
    given = {"validation_size": 0, "dataset": prepared_data.name}
    with pytest.raises(errors.ConfigError, match="has no validation images"):
        figure_sources.DRAW["mistakes"](_sources(run, split="validation", **given))


def test_some_kinds_need_no_run(tmp_path, prepared_data):
    data = {"dataset": prepared_data.name, "data_dir": str(prepared_data.data_dir)}
    for name in visualize.OF_NO_RUN:
        figure_sources.DRAW[name](_sources(**data))
    done = run_command("noise", f"--output={tmp_path}/x.png")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}/x.png\n"), done.stderr
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_all_seeds_of_each_setting_are_drawn_with_their_mean():
    accuracies, interval = (0.9912, 0.9905, 0.9921), (0.9893, 0.9932)
    rows = [(accuracies, interval), ([0.99], None)]
    figure = figures.draw_seeds(["a", "b$_x$"], {"test": rows, "validation": rows}, caption="c")
    for axes, split in zip(figure.axes, ("test", "validation"), strict=True):
        assert axes.get_xlabel() == f"{split} accuracy, %"
        drawn: dict[str, list] = {}
        for line in axes.get_lines():
            drawn.setdefault(line.get_label(), []).append(np.asarray(line.get_xdata()) / 100)
        first_seeds, second_seeds = drawn.pop("a seed")
        assert (list(first_seeds), list(second_seeds)) == (pytest.approx(accuracies), [0.99])
        assert np.ravel(drawn.pop("mean")) == pytest.approx([np.mean(accuracies), 0.99])
        (ends,) = drawn.pop("95 % interval of the mean")
        assert tuple(ends) == pytest.approx(interval)
        assert not drawn
    names = figure.axes[0].get_yticklabels()
    assert [label.get_text() for label in names] == ["a", "b$_x$"]
    with pytest.raises(errors.ConfigError, match="2 given; give each split as many rows"):
        figures.draw_seeds(["a", "b"], {"test": rows[:1]})
