"""Suites of `evaluate`: attacks, separation, calibration; and what is recorded of them."""

import dataclasses
import itertools
import json
import pathlib
import shutil

import keras
import numpy as np
import pytest
from PIL import Image
from scipy import special
from sklearn import metrics

import mnist_lib
from mnist_lib import choices, errors
from mnist_lib.inspection import predictions, separation, temperature
from mnist_lib.models import layers
from mnist_lib.robustness import (
    alphabets,
    attacks,
    calibrated,
    corruptions,
    records,
    report_tables,
    suites,
)
from mnist_lib.runs import run_directory

CONFIG = mnist_lib.TrainConfig(
    model="linear", batch_size=48, train_steps=30, learning_rate=3e-3, summaries="none"
)
FGSM, PGD = attacks.ATTACKS["fgsm"], attacks.ATTACKS["pgd"]


@pytest.fixture(scope="module")
def run(small_dataset, tmp_path_factory) -> pathlib.Path:
    """A short run that is right on most images."""
    path = tmp_path_factory.mktemp("robustness") / "run"
    mnist_lib.train_and_evaluate(CONFIG, path, data=small_dataset)
    return path


@pytest.fixture(scope="module")
def report(run, small_dataset) -> dict:
    return suites.evaluate_robustness(run, suite="all", seed=5, num_images=60, data=small_dataset)


def _linear(shape: tuple[int, int, int], weights: np.ndarray) -> keras.Model:
    """A model of the library's kind: scaled to [0, 1], then a matrix."""
    image, x = layers.image_input(shape)
    out = keras.layers.Dense(weights.shape[1], use_bias=False)
    model = keras.Model(image, out(keras.layers.Flatten()(x)))
    out.set_weights([weights])
    return model


def test_the_fast_gradient_sign_is_the_worst_case_of_a_linear_model():
    """Of two classes the worst change is at a corner of what is allowed: all are tried."""
    random = np.random.default_rng(0)
    weights = random.normal(size=(6, 2)).astype(np.float32)
    model = _linear((2, 3, 1), weights)
    attacker = attacks.Attacker(model)
    images = random.integers(0, 256, (20, 2, 3, 1)).astype(np.uint8)
    labels = random.integers(0, 2, 20).astype(np.int32)
    slope = (weights[:, 1] - weights[:, 0]) * np.where(labels == 0, 1, -1)[:, None]
    for epsilon in attacks.EPSILONS:
        changed = attacker.attack(images, labels, FGSM, epsilon).reshape(20, 6)
        corners = np.array(list(itertools.product((-1, 1), repeat=6))) * epsilon
        tried = np.clip(images.reshape(20, 1, 6) / 255 + corners, 0, 1)
        worst = np.einsum("ncp,np->nc", tried, slope).max(1)
        assert np.einsum("np,np->n", changed, slope) == pytest.approx(worst, abs=1e-5)
        strong = attacker.attack(images, labels, PGD, epsilon).reshape(20, 6)
        assert np.einsum("np,np->n", strong, slope) == pytest.approx(worst, abs=1e-5)


def test_attacks_stay_within_eps_and_descend_is_no_weaker(run, small_dataset):
    attacker = attacks.Attacker(mnist_lib.load_model(run))
    split = small_dataset.test
    for epsilon in (0.0, *attacks.EPSILONS):
        correct = {}
        for name, attack in attacks.ATTACKS.items():
            changed = attacker.attack(split.images, split.labels, attack, epsilon)
            assert changed.dtype == np.float32
            assert changed.min() >= 0
            assert changed.max() <= 1
            assert np.abs(changed - split.images / 255).max() <= epsilon + 1e-6
            correct[name] = int((attacker.logits(changed).argmax(-1) == split.labels).sum())
        assert correct["pgd"] <= correct["fgsm"]
    assert correct["pgd"] == 0
    clean = attacker.logits((split.images / 255).astype(np.float32)).argmax(-1)
    np.testing.assert_array_equal(clean, mnist_lib.predict(run, split.images).argmax(-1))


def test_an_image_is_attacked_alike_alone_and_among_others(run, small_dataset, monkeypatch):
    attacker = attacks.Attacker(mnist_lib.load_model(run))
    images, labels = small_dataset.test.images[:9], small_dataset.test.labels[:9]
    whole = attacker.attack(images, labels, PGD, 0.1, seed=3)
    one = attacker.attack(images[7:8], labels[7:8], PGD, 0.1, seed=3, first_index=7)
    assert one == pytest.approx(whole[7:8], abs=1e-6)
    monkeypatch.setattr(attacks, "_BATCH_SIZE", 4)
    assert attacker.attack(images, labels, PGD, 0.1, seed=3) == pytest.approx(whole, abs=1e-6)
    start = dataclasses.replace(PGD, num_steps=0)  # elsewhere for each image and seed
    offsets = attacker.attack(images, labels, start, 0.1, seed=3)
    assert np.abs(attacker.attack(images, labels, start, 0.1, seed=4) - offsets).max() > 0.1


def test_a_model_that_is_too_sure_for_its_cross_entropy_is_led_away_all_the_same():
    weights = np.zeros((4, 2), np.float32)
    weights[:, 1] = 1000
    model = _linear((2, 2, 1), weights)
    images, labels = np.full((1, 2, 2, 1), 26, np.uint8), np.array([1], np.int32)
    logits = predictions.logits_function(model)(images)
    assert special.softmax(logits)[0, 1] == 1  # the gradient of its logarithm is 0
    changed = attacks.Attacker(model).attack(images, labels, FGSM, 0.05)
    assert changed == pytest.approx(images / 255 - 0.05, abs=1e-6)


def test_a_model_of_another_scale_is_not_attacked():
    image = keras.Input((2, 2, 1), dtype="uint8")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1.0)(image))
    with pytest.raises(errors.ConfigError, match="does not begin by dividing its uint8 image"):
        attacks.Attacker(keras.Model(image, keras.layers.Dense(2)(x)))


def test_separation_is_that_of_scikit_learn():
    random = np.random.default_rng(1)
    for shift, step in ((1.5, 0.01), (0.3, 1.0), (3.0, 0.5)):  # large steps: many ties
        known = np.round(random.normal(shift, 1, 401) / step)
        unknown = np.round(random.normal(0, 1, 237) / step)
        found = separation.separate(known, unknown)
        truth = np.repeat([1, 0], [401, 237])
        scores = np.concatenate([known, unknown])
        assert found.auroc == pytest.approx(metrics.roc_auc_score(truth, scores), abs=1e-12)
        false, true, _ = metrics.roc_curve(truth, scores, drop_intermediate=False)
        assert found.false_positive_rate == false[np.argmax(true >= 0.95)]
        low, high = found.auroc_interval
        assert low < found.auroc < high


def test_19_of_20_intervals_of_the_separation_hold_the_true_one():
    random = np.random.default_rng(2)
    for shift in (0.5, 2.5):
        true = special.ndtr(shift / np.sqrt(2))
        held = 0
        for _ in range(400):
            found = separation.separate(random.normal(shift, 1, 80), random.normal(0, 1, 60))
            held += found.auroc_interval[0] <= true <= found.auroc_interval[1]
        assert 0.92 < held / 400 < 0.985
    perfect = separation.separate(np.arange(10.0) + 20, np.arange(15.0))
    assert (perfect.auroc, perfect.false_positive_rate) == (1, 0)
    assert perfect.auroc_interval == pytest.approx((10 / (10 + 1.96**2), 1), abs=1e-4)
    # One pair of 15,000 in the wrong order says no more than its images do.
    known = np.arange(100.0) + 200
    known[0] = 148.5
    nearly = separation.separate(known, np.arange(150.0))
    assert nearly.auroc == 1 - 1 / 15_000
    assert nearly.auroc_interval[0] < 1 - 2 / 250
    swapped = separation.separate(np.arange(15.0), np.arange(10.0) + 20)
    assert (swapped.auroc, swapped.false_positive_rate) == (0, 1)


def test_log_odds_order_as_probabilities_do_and_are_never_rounded_to_one():
    logits = np.random.default_rng(3).normal(0, 3, (50, 10))
    largest = special.softmax(logits, -1).max(-1)
    odds = separation.log_odds(logits)
    assert odds == pytest.approx(special.logit(largest), rel=1e-9)
    sure = np.array([[100.0, 0, 0], [200.0, 0, 0], [5.0, 5.0, -900.0]])
    assert separation.log_odds(sure) == pytest.approx([100 - np.log(2), 200 - np.log(2), 0])


def test_the_temperature_is_that_which_spoiled_the_logits():
    random = np.random.default_rng(4)
    logits = random.normal(0, 2, (20_000, 5))
    probabilities = special.softmax(logits, -1)
    labels = (probabilities.cumsum(-1) < random.random((20_000, 1))).sum(-1)
    for spoiled in (0.25, 1.0, 4.0):
        fitted = temperature.fit_temperature(logits * spoiled, labels)
        assert fitted == pytest.approx(spoiled, rel=0.03)
        best = temperature.negative_log_likelihood(logits * spoiled, labels, fitted)
        for other in (0.98, 1.02):
            assert best < temperature.negative_log_likelihood(
                logits * spoiled, labels, fitted * other
            )
        assert best == pytest.approx(
            metrics.log_loss(labels, temperature.probabilities(logits * spoiled, fitted)), rel=1e-9
        )
    right = logits.argmax(-1)
    assert temperature.fit_temperature(logits, right) == temperature.LOWEST


def test_calibration_errors_and_coverage_of_known_cases():
    """Ten images at 0.8, of which six are right, and ten at 0.6, all right: 0.2 and 0.4 off."""
    odds = np.repeat(special.logit([0.8, 0.6]), 10)
    logits = np.stack([odds, np.zeros(20)], -1)
    labels = np.array([0] * 6 + [1] * 4 + [0] * 10)
    measures = calibrated._measures(logits, labels, 1.0)
    assert measures["calibration_error_equal_width"] == pytest.approx(0.3)
    low, high = measures["calibration_error_equal_width_interval"]
    assert 0.05 < low < 0.3 < high < 0.5
    assert measures["mean_confidence"] == pytest.approx(0.7)
    half = calibrated.accuracy_at(0.5, logits, labels)
    assert (half["num_examples"], half["num_correct"]) == (10, 6)
    assert half["least_confidence"] == pytest.approx(0.8)
    assert calibrated.accuracy_at(0.55, logits, labels)["num_examples"] == 11
    assert calibrated.accuracy_at(1.0, logits, labels)["num_correct"] == 16


def test_each_count_is_that_of_the_run_s_predictions(run, report, small_dataset):
    images, labels = small_dataset.test.images[:60], small_dataset.test.labels[:60]
    part = report["corruptions"]
    assert len(part["rows"]) == 19 * 5
    for row in part["rows"][::9]:
        changed = corruptions.corrupt(images, row["corruption"], row["strength"], seed=5)
        correct = int((mnist_lib.predict(run, changed).argmax(-1) == labels).sum())
        assert (row["num_correct"], row["num_examples"]) == (correct, 60)
    mean = np.mean([row["num_correct"] / 60 for row in part["rows"]])
    assert part["mean_accuracy"] == pytest.approx(mean)
    clean = int((mnist_lib.predict(run, images).argmax(-1) == labels).sum())
    for name in ("corruptions", "adversarial"):
        assert report[name]["clean"]["num_correct"] == clean
    assert report["calibration"]["coverage"][-1]["num_correct"] == clean
    assert report["calibration"]["num_validation"] == 101
    before, after = report["calibration"]["before"], report["calibration"]["after"]
    assert after["negative_log_likelihood"] < before["negative_log_likelihood"]
    attacker = attacks.Attacker(mnist_lib.load_model(run))
    assert len(report["adversarial"]["rows"]) == 8
    for row in report["adversarial"]["rows"][1::2]:
        attack = attacks.ATTACKS[row["attack"]]
        changed = attacker.attack(images, labels, attack, row["epsilon"], seed=5)
        correct = int((attacker.logits(changed).argmax(-1) == labels).sum())
        assert (row["num_correct"], row["num_examples"]) == (correct, 60)
        assert (row["num_steps"], row["step_size"]) == (
            attack.num_steps,
            pytest.approx(attack.step * row["epsilon"]),
        )


def test_logits_do_not_depend_on_the_batch(run, small_dataset):
    model, images = mnist_lib.load_model(run), small_dataset.test.images
    by_7, by_500 = (predictions.logits_function(model, size)(images) for size in (7, 500))
    assert by_7.shape == (203, 10)
    np.testing.assert_array_equal(by_7.argmax(-1), by_500.argmax(-1))


def test_what_is_recorded(run, report, small_dataset, capsys):
    recorded = json.loads((run / records.FILE_NAME).read_text())
    assert recorded == json.loads(json.dumps(report))
    assert list(recorded) == [name for name in choices.NAMES["suite"] if name != "all"]
    for part in recorded.values():
        assert part["images_sha256"] == small_dataset.test.take(np.arange(60)).sha256
        facts = [part[name] for name in ("seed", "step", "split", "num_images")]
        assert facts == [5, 30, "test", 60]
        assert {"numpy", "scipy", "pillow", "tensorflow"} <= set(part["versions"]["packages"])
    with Image.open(records.picture_path(run)) as picture:
        assert (picture.format, picture.width) == ("PNG", 1400)
    report_tables.print_report(report)
    told = [line for line in capsys.readouterr().out.splitlines() if "not prepared in" not in line]
    assert max(map(len, told)) <= 80
    for name in corruptions.CORRUPTIONS:
        shown = name.replace("_", " ")
        rows = [line.strip().removeprefix(shown).split() for line in told if shown in line]
        assert [len(row) for row in rows if "-" not in "".join(row)] == [5 + 1]
    for row in report["alphabets"]["rows"]:
        assert f"{row['auroc']:.4f}" in "".join(told)


def test_another_suite_leaves_the_others_and_a_seed_decides(run, report, small_dataset, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    records.picture_path(copy).unlink()
    again = suites.evaluate_robustness(copy, suite="alphabets", num_images=30, data=small_dataset)
    assert list(again) == ["alphabets"]
    recorded = json.loads((copy / records.FILE_NAME).read_text())
    assert recorded["alphabets"] == json.loads(json.dumps(again["alphabets"]))
    assert recorded["corruptions"] == json.loads(json.dumps(report["corruptions"]))
    assert not records.picture_path(copy).exists()
    (copy / records.FILE_NAME).write_text("[]")
    with pytest.raises(errors.CorruptDataError, match=r"robustness\.json: cannot be used .* list"):
        suites.evaluate_robustness(copy, suite="calibration", data=small_dataset)


def test_suites_at_once_leave_each_other_s_parts(run, report, small_dataset, tmp_path, monkeypatch):
    """And each is there as soon as it is done, whatever becomes of the next."""
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    path = copy / records.FILE_NAME
    path.unlink()

    def meanwhile(*_):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"corruptions": "of another"}))
        raise errors.CorruptDataError("planted")

    calibrate = suites.SUITES["calibration"]
    monkeypatch.setattr(suites, "SUITES", {"calibration": calibrate, "alphabets": meanwhile})
    with pytest.raises(errors.CorruptDataError, match="planted"):
        suites.evaluate_robustness(copy, suite="all", num_images=30, data=small_dataset)
    assert set(json.loads(path.read_text())) == {"calibration", "corruptions"}
    monkeypatch.setattr(suites, "SUITES", {"calibration": calibrate})
    suites.evaluate_robustness(copy, suite="calibration", num_images=40, data=small_dataset)
    recorded = json.loads(path.read_text())
    assert recorded["corruptions"] == "of another"
    assert recorded["calibration"]["num_images"] == 40


def test_noise_is_what_its_name_says(small_dataset):
    images = small_dataset.test.images
    noises = alphabets.noise_images(images, seed=0)
    assert list(noises) == ["uniform_noise", "gaussian_noise", "permuted_pixels"]
    for noise in noises.values():
        assert (noise.dtype, noise.shape) == (np.uint8, images.shape)
    assert noises["uniform_noise"].mean() == pytest.approx(127.5, abs=1)
    assert noises["gaussian_noise"].std() == pytest.approx(64, abs=3)  # both ends are cut off
    permuted = noises["permuted_pixels"].reshape(203, -1)
    np.testing.assert_array_equal(np.sort(permuted), np.sort(images.reshape(203, -1)))
    assert (permuted != images.reshape(203, -1)).mean() > 0.9
    fewer = alphabets.noise_images(images[:5], seed=0)
    assert all((fewer[name] == noises[name][:5]).all() for name in noises)


def test_data_sets_without_a_class_of_the_run_are_unknown_to_it(
    run, small_dataset, prepared_data, tmp_path, monkeypatch
):
    digits = tuple("0123456789")
    assert {"kmnist", "fashion_mnist"} <= set(alphabets.unknown_datasets(digits))
    assert "mnist" not in alphabets.unknown_datasets(digits)
    assert "mnist" in alphabets.unknown_datasets(("A", "B"))
    monkeypatch.setattr(alphabets, "_DATASETS", ("kmnist", prepared_data.name))
    path = tmp_path / "run"
    shutil.copytree(run, path)
    facts = run_directory.RunDirectory(path).provenance_path
    (first,) = json.loads(facts.read_text())
    facts.write_text(json.dumps([first | {"class_names": list("abcdefghij")}]))
    found = suites.evaluate_robustness(
        path,
        suite="alphabets",
        num_images=40,
        data=small_dataset,
        data_dir=str(prepared_data.data_dir),
    )["alphabets"]
    assert found["rows"][0]["unknown"] == prepared_data.name
    assert [row["num_unknown"] for row in found["rows"]] == [40] * 4
    shards = prepared_data.data_dir / prepared_data.name
    damaged = tmp_path / "damaged"
    shutil.copytree(shards, damaged / prepared_data.name)
    for shard in damaged.rglob("*test.tfrecord*"):
        shard.write_bytes(shard.read_bytes()[:1000])
    bad = suites.evaluate_robustness(
        path, suite="alphabets", num_images=40, data=small_dataset, data_dir=str(damaged)
    )["alphabets"]
    assert len(bad["rows"]) == 3
    assert "test.tfrecord" in bad["skipped"][prepared_data.name]
    assert found["skipped"] == {
        "kmnist": f"not prepared in {prepared_data.data_dir}; prepare_data --dataset=kmnist "
        f"--data_dir={prepared_data.data_dir} does it"
    }


def test_images_of_another_shape_are_calibrated_and_attacked(tmp_path, caplog):
    def split(name, count):
        rng = np.random.default_rng(count)
        images = rng.integers(0, 256, (count, 12, 14, 3)).astype(np.uint8)
        return mnist_lib.Split(name, images, (np.arange(count) % 3).astype(np.int32))

    own = mnist_lib.ImageDataset(
        "own", split("train", 96), split("validation", 30), split("test", 33), class_names="abc"
    )
    mnist_lib.train_and_evaluate(CONFIG, tmp_path / "run", data=own)
    found = suites.evaluate_robustness(tmp_path / "run", data=own)
    assert list(found) == ["calibration", "adversarial"]
    for name in ("corruptions", "alphabets"):
        assert f"{name} is left out: images: are uint8 [33, 12, 14, 3]; uint8 [N, 28" in caplog.text


def test_what_cannot_be_tried_is_refused_or_left_out(
    run, small_dataset, tmp_path, caplog, monkeypatch
):
    def evaluate(path=run, data=small_dataset, **options):
        return suites.evaluate_robustness(path, **{"data": data, "num_images": 40} | options)

    for options, words in (
        ({"suite": "fog"}, "suite: 'fog' is not one of calibration, corruptions"),
        ({"split": "dev"}, "split: 'dev' is not one of"),
        ({"suite": "calibration", "split": "validation"}, "split: is validation; the temperature"),
        ({"num_images": 1}, r"suite_images: 1 is not in \[2, 203\], the images there are"),
        ({"num_images": 204}, r"suite_images: 204 is not in \[2, 203\]"),
        ({"seed": -1}, "suite_seed: -1 is not in"),
    ):
        with pytest.raises(errors.ConfigError, match=words):
            evaluate(**options)
    with pytest.raises(errors.DataNotFoundError, match=r"no config\.json there"):
        evaluate(tmp_path)
    with pytest.raises(TypeError, match="no option 'num_image'"):
        evaluate(num_image=9)
    order = np.argsort(small_dataset.test.labels, kind="stable")
    sorted_test = small_dataset.test.take(order)
    of_sorted = mnist_lib.ImageDataset(
        "small", small_dataset.train, small_dataset.validation, sorted_test
    )
    shutil.copytree(run, tmp_path / "copy")
    evaluate(tmp_path / "copy", of_sorted, suite="alphabets")
    assert "the first 40 of the test images have none of class 2, 3, 4, 5" in caplog.text
    empty = small_dataset.validation.take(np.arange(0))
    data = mnist_lib.ImageDataset("small", small_dataset.train, empty, small_dataset.test)
    path = tmp_path / "run"
    mnist_lib.train_and_evaluate(CONFIG, path, data=data)
    with pytest.raises(
        errors.ConfigError, match=r"suite: calibration fits .* and the run has held"
    ):
        evaluate(path, data, suite="calibration")
    # It was trained on these: another choice of images is held out of what is passed.
    with pytest.raises(errors.ConfigError, match="data: has other validation images than the run"):
        evaluate(path, suite="calibration")
    assert not (path / records.FILE_NAME).exists()
    few = {name: suites.SUITES[name] for name in ("calibration", "alphabets")}
    monkeypatch.setattr(suites, "SUITES", few)
    assert list(evaluate(path, data, suite="all")) == ["alphabets"]
    assert "calibration is left out: suite: calibration fits" in caplog.text
