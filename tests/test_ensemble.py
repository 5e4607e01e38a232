"""Ensembles: the mean of their runs' probabilities, used like a run, and never the best of them."""

import dataclasses
import itertools
import json
import pathlib
import shutil

import keras
import numpy as np
import pytest

import mnist_lib
from mnist_lib import errors
from mnist_lib.robustness import suites
from mnist_lib.runs import ensembles, overview, run_directory
from mnist_lib.serving.exports import plain_layers
from mnist_lib.studies import compare, ensemble, ensemble_sizes, study_tables

metrics = pytest.importorskip("sklearn.metrics")

CONFIG = mnist_lib.TrainConfig(
    model="linear", batch_size=48, train_steps=6, learning_rate=1e-4, summaries="none"
)


@pytest.fixture(scope="module")
def folder(small_dataset, tmp_path_factory) -> pathlib.Path:
    """Three short runs of one setting."""
    top = tmp_path_factory.mktemp("study")
    for seed in range(3):
        config = dataclasses.replace(CONFIG, seed=seed)
        mnist_lib.train_and_evaluate(config, top / f"seed-{seed}", data=small_dataset)
    return top


@pytest.fixture(scope="module")
def made(folder, small_dataset) -> ensemble.EnsembleResult:
    runs = [folder / f"seed-{seed}" for seed in range(3)]
    return ensemble.make("linear", runs, folder / "ensemble", data=small_dataset)


@pytest.fixture(scope="module")
def mean(folder, small_dataset) -> np.ndarray:
    """The mean probabilities of the test images, float64 `[203, 10]`."""
    images = small_dataset.test.images
    return np.mean(
        [mnist_lib.predict(folder / f"seed-{seed}", images).astype(float) for seed in range(3)], 0
    )


def test_it_predicts_the_mean_of_its_runs_probabilities(made, mean, small_dataset):
    images = small_dataset.test.images
    np.testing.assert_allclose(mnist_lib.predict(made.path, images), mean, atol=1e-6)
    logits = mnist_lib.load_model(made.path)(images, training=False).numpy()
    np.testing.assert_allclose(np.exp(logits), mean, atol=1e-6)


def test_it_is_tried_on_other_images_like_a_run(made, small_dataset):
    """Its own image is of whole numbers: an attack has nothing to begin with, and is left out."""
    report = suites.evaluate_robustness(made.path, suite="all", num_images=40, data=small_dataset)
    assert list(report) == ["calibration", "corruptions", "alphabets"]
    assert report["corruptions"]["step"] == CONFIG.train_steps
    clean = mnist_lib.predict(made.path, small_dataset.test.images[:40]).argmax(-1)
    expected = int((clean == small_dataset.test.labels[:40]).sum())
    assert report["corruptions"]["clean"]["num_correct"] == expected
    with pytest.raises(errors.ConfigError, match="ensemble makes no image of its input"):
        suites.evaluate_robustness(made.path, suite="adversarial", data=small_dataset)


def test_its_counts_and_loss_are_those_of_scikit_learn(made, mean, small_dataset):
    labels = small_dataset.test.labels
    assert made.accuracy == metrics.accuracy_score(labels, mean.argmax(-1))
    assert (made.num_examples, made.num_correct) == (203, sum(mean.argmax(-1) == labels))
    normed = mean / mean.sum(-1, keepdims=True)
    assert made.loss == pytest.approx(metrics.log_loss(labels, normed), rel=1e-5)


def test_it_is_used_like_a_run(made, folder, small_dataset, capsys):
    evaluated = mnist_lib.evaluate(made.path, data=small_dataset)
    assert (evaluated.num_correct, evaluated.loss) == (made.num_correct, made.loss)
    seen = overview.look_at(made.path)
    assert (seen.state, seen.dataset, seen.test_accuracy) == ("finished", "small", made.accuracy)
    results = run_directory.RunDirectory(made.path).read_results()
    assert (results["model"], results["num_parameters"]) == ("3 x linear", 3 * 7850)
    seconds = [overview.look_at(folder / f"seed-{seed}").train_seconds for seed in range(3)]
    assert results["timing"]["train_seconds"] == pytest.approx(sum(seconds))
    compared = compare.compare_runs([made.path, folder / "seed-0"], data=small_dataset)
    assert compared.runs[0].all_images.num_correct == made.num_correct
    assert [run.settings for run in compared.runs] == [
        {"seed": "0, 1, 2", "members": 3},
        {"seed": 0, "members": 1},
    ]
    study_tables.print_ensemble(made)
    assert f"{made.num_correct} of 203 test images right" in capsys.readouterr().out


def test_it_has_layers_that_keras_loads_alone(made, small_dataset, tmp_path):
    model = mnist_lib.load_model(made.path)
    plain_layers.with_plain_layers(model).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    images = small_dataset.test.images
    np.testing.assert_array_equal(loaded(images), model(images, training=False))


def test_images_are_seen_in_nine_places(folder, small_dataset, tmp_path, capsys):
    """The mean over them is that of predictions of images which NumPy moves."""
    runs = [folder / f"seed-{seed}" for seed in range(2)]
    made = ensemble.make("linear", runs, tmp_path / "moved", test_time_shift=2, data=small_dataset)
    test = small_dataset.test
    wide = np.pad(test.images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    places = list(itertools.product((0, 2, 4), repeat=2))
    said = np.array(
        [
            [mnist_lib.predict(run, wide[:, y : y + 28, x : x + 28]) for y, x in places]
            for run in runs
        ]
    )
    expected = said.astype(float).mean((0, 1))
    assert abs(expected - mnist_lib.predict(runs[0], test.images)).max() > 0.01
    np.testing.assert_allclose(mnist_lib.predict(made.path, test.images), expected, atol=1e-6)
    assert made.num_correct == sum(expected.argmax(-1) == test.labels)
    alone = [(one.mean(0).argmax(-1) == test.labels).mean() for one in said]
    assert made.alone.accuracies == pytest.approx(alone)
    assert made.sizes[0].mean == made.alone.mean == pytest.approx(np.mean(alone))
    results = run_directory.RunDirectory(made.path).read_results()
    assert results["model"] == "2 x linear, images moved by 2"
    assert results["alone"]["accuracies"] == list(made.alone.accuracies)
    study_tables.print_ensemble(made)
    assert "images moved by 2" in capsys.readouterr().out.replace("\n", " ")
    model = mnist_lib.load_model(made.path)
    assert mnist_lib.predict(made.path, test.images[:0]).shape == (0, 10)
    plain_layers.with_plain_layers(model).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_allclose(loaded(test.images), model(test.images), atol=1e-6)


@pytest.mark.parametrize("pixels", [-1, 9, 1.0, True, "1"])
def test_a_shift_that_is_none_is_refused(folder, made, small_dataset, tmp_path, pixels):
    with pytest.raises(errors.ConfigError, match=r"test_time_shift: .* from 0 to 8"):
        ensemble.make(
            "linear", [folder / "seed-0"], tmp_path, test_time_shift=pixels, data=small_dataset
        )
    with pytest.raises(errors.ConfigError, match=r"test_time_shift: 4 pixels move .* out of sight"):
        ensembles.build([mnist_lib.build_model("linear", image_shape=(4, 9, 1))], 4)
    shutil.copytree(folder, tmp_path / "copy")
    path = tmp_path / "copy" / "ensemble" / "ensemble.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"test_time_shift": pixels}))
    with pytest.raises(errors.CorruptDataError, match=r"from 0 to 8.*Make the ensemble again"):
        mnist_lib.load_model(path.parent)


class Halved(keras.Operation):
    """An operation of a user's."""

    def call(self, x):
        return x / 2

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, x.dtype)


def test_an_operation_that_is_not_keras_s_is_refused_by_name():
    image = keras.Input((28, 28, 1))
    model = keras.Model(image, Halved()(keras.layers.Flatten()(image)))
    with pytest.raises(errors.ConfigError, match="has Halved, for which Keras has nothing"):
        plain_layers.with_plain_layers(model)


def test_what_fewer_runs_give_is_the_mean_over_all_choices(made, folder, small_dataset):
    labels = small_dataset.test.labels
    said = [mnist_lib.predict(folder / f"seed-{n}", small_dataset.test.images) for n in range(3)]
    for found in made.sizes:
        accuracies = [
            metrics.accuracy_score(labels, np.sum(some, 0, dtype=float).argmax(-1))
            for some in itertools.combinations(said, found.size)
        ]
        assert (found.num_choices, found.is_complete) == (len(accuracies), True)
        assert found.mean == pytest.approx(np.mean(accuracies), rel=1e-12)
        assert found.lowest == pytest.approx(min(accuracies))
        if len(accuracies) > 1:
            assert found.standard_deviation == pytest.approx(np.std(accuracies, ddof=1))
    assert [found.size for found in made.sizes] == [1, 2, 3]
    assert made.sizes[0].mean == pytest.approx(
        np.mean([overview.look_at(folder / f"seed-{n}").test_accuracy for n in range(3)])
    )
    assert made.sizes[-1].standard_deviation is None
    assert made.sizes[-1].mean == made.accuracy


def test_of_many_choices_as_many_are_drawn_again_and_again_the_same():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 50)
    probabilities = rng.dirichlet(np.ones(10), (12, 50))
    probabilities[:, np.arange(50), labels] += 0.1
    sizes = list(ensemble_sizes.accuracies_by_size(probabilities, labels))
    assert [(one.num_choices, one.is_complete) for one in sizes] == [
        *((12, True), (66, True), (200, False), (200, False), (200, False), (200, False)),
        *((200, False), (200, False), (200, False), (66, True), (12, True), (1, True)),
    ]
    assert sizes == list(ensemble_sizes.accuracies_by_size(probabilities, labels))
    other = list(ensemble_sizes.accuracies_by_size(probabilities, labels, seed=1))
    assert other[1] == sizes[1]
    assert other[5] != sizes[5]
    assert sizes[5].mean == pytest.approx(other[5].mean, abs=0.02)


def test_a_study_is_moved_with_its_ensemble(made, folder, mean, small_dataset, tmp_path):
    shutil.copytree(folder, tmp_path / "moved")
    moved = tmp_path / "moved" / "ensemble"
    members = ensembles.read(moved).members
    assert [member.path.resolve().parent for member in members] == [tmp_path / "moved"] * 3
    found = mnist_lib.predict(moved, small_dataset.test.images)
    np.testing.assert_allclose(found, mean, atol=1e-6)


def test_what_is_no_ensemble_any_more_is_refused(made, folder, small_dataset, tmp_path):
    with pytest.raises(errors.OutputError, match=r"ensemble: holds an ensemble\. Pass another"):
        mnist_lib.train_and_evaluate(CONFIG, made.path, data=small_dataset)
    top = tmp_path / "study"
    shutil.copytree(folder, top)
    path = top / "ensemble" / "ensemble.json"
    entries = json.loads(path.read_text())["members"]
    for members, words in (
        ([{"path": "../seed-0", "step": 5}], "is at step 6, and .* is of step 5. Make the"),
        ([{"path": "../ensemble", "step": 6}], "is an ensemble, too"),
        ([], "members are no list of 1 to 1000"),
        ([{"path": 3, "step": 6}], "cannot be used"),
        ({"a": 1}, "members are no list"),
    ):
        path.write_text(json.dumps({"members": members}))
        with pytest.raises(errors.CorruptDataError, match=words):
            mnist_lib.load_model(top / "ensemble")
    path.write_text(json.dumps({"members": entries}))
    (top / "seed-1" / "results.json").unlink()
    with pytest.raises(errors.DataNotFoundError, match=r"seed-1: no results\.json of a finished"):
        mnist_lib.load_model(top / "ensemble")


def test_runs_of_different_kinds_make_no_ensemble(folder, small_dataset):
    with pytest.raises(errors.ConfigError, match="take different images or tell different"):
        ensembles.build(
            [mnist_lib.build_model("linear"), mnist_lib.build_model("linear", num_classes=7)]
        )
    splits = (small_dataset.train, small_dataset.validation, small_dataset.test)
    other = mnist_lib.ImageDataset("other", *splits)
    with pytest.raises(errors.ConfigError, match="is of small, and the others of other"):
        ensemble.make("linear", [folder / "seed-0"], folder / "none", data=other)
    assert not (folder / "none").exists()


@pytest.mark.parametrize("fact", ["class_names", "validation_sha256"])
def test_runs_on_other_data_make_no_ensemble(folder, small_dataset, tmp_path, fact):
    """Of other images held out, on which it is not known whether the first was trained."""
    names = [str(number) for number in range(10)]
    validation = small_dataset.validation
    if fact == "class_names":
        names = names[::-1]
    else:
        validation = validation.take(np.arange(50))
    other = mnist_lib.ImageDataset(
        "small", small_dataset.train, validation, small_dataset.test, class_names=tuple(names)
    )
    mnist_lib.train_and_evaluate(CONFIG, tmp_path / "other", data=other)
    with pytest.raises(errors.ConfigError, match=f"other has {fact} .*on the same data"):
        ensemble.make(
            "linear", [folder / "seed-0", tmp_path / "other"], tmp_path / "none", data=small_dataset
        )
    assert not (tmp_path / "none").exists()


def test_what_was_found_of_an_earlier_ensemble_goes_with_it(folder, small_dataset, tmp_path):
    """And a run of an older version, which says nothing of its parameters, is a member."""
    runs = [folder / "seed-0", tmp_path / "old"]
    shutil.copytree(folder / "seed-1", runs[1])
    results = json.loads((runs[1] / "results.json").read_text())
    del results["num_parameters"]
    (runs[1] / "results.json").write_text(json.dumps(results))
    place = tmp_path / "ensemble"
    ensemble.make("linear", runs[:1], place, data=small_dataset)
    suites.evaluate_robustness(place, suite="corruptions", num_images=5, data=small_dataset)
    left = [place / "robustness.json", place / "figures" / "robustness.png"]
    assert all(path.exists() for path in left)
    ensemble.make("linear", runs, place, data=small_dataset)
    assert not any(path.exists() for path in left)
    assert "num_parameters" not in run_directory.RunDirectory(place).read_results()
    assert overview.look_at(place).state == "finished"
