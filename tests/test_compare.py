"""Runs side by side: counts, loss and tests are those of their own predictions, and as told."""

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from script_runs import script_command
from sklearn import metrics

import mnist_lib
from mnist_lib import errors
from mnist_lib.inspection import statistics
from mnist_lib.runs import run_directory
from mnist_lib.studies import compare, result_tables

CONFIG = mnist_lib.TrainConfig(
    model="linear", batch_size=48, train_steps=6, learning_rate=1e-4, summaries="none"
)


@pytest.fixture(scope="module")
def folder(small_dataset, tmp_path_factory) -> pathlib.Path:
    """Three short runs, good enough to be right on some images and wrong on others."""
    top = tmp_path_factory.mktemp("compared")
    for name, fields in {
        "a": {},
        "b": {"seed": 1},
        "c": {"optimizer": "sgd", "train_steps": 9},
    }.items():
        config = dataclasses.replace(CONFIG, **fields)
        mnist_lib.train_and_evaluate(config, top / name, data=small_dataset)
    return top


def _write_facts(run: pathlib.Path, **facts) -> None:
    """Changes what a run says of the data that it was started with."""
    path = run_directory.RunDirectory(run).provenance_path
    first, *others = json.loads(path.read_text())
    path.write_text(json.dumps([first | facts, *others]))


def test_counts_loss_and_calibration_are_those_of_the_run(folder, small_dataset):
    compared = compare.compare_runs([folder / "a", folder / "b"], data=small_dataset)
    assert (compared.dataset, compared.split) == ("small", "test")
    labels = small_dataset.test.labels
    for run in compared.runs:
        results = json.loads(pathlib.Path(run.path, "results.json").read_text())
        assert run.all_images.num_correct == results["test"]["num_correct"]
        assert run.all_images.num_examples == 203
        assert run.all_images.accuracy == results["test"]["accuracy"]
        assert run.all_images.interval == statistics.accuracy_interval(
            results["test"]["num_correct"], 203
        )
        assert run.loss == pytest.approx(results["test"]["loss"], rel=1e-5)
        probabilities = mnist_lib.predict(run.path, small_dataset.test.images).astype(np.float64)
        probabilities /= probabilities.sum(1, keepdims=True)
        assert run.loss == pytest.approx(metrics.log_loss(labels, probabilities), rel=1e-5)
        bins = np.minimum((probabilities.max(1) * 15).astype(int), 14)  # of equal width
        gaps = (probabilities.argmax(1) == labels) - probabilities.max(1)
        error = np.abs(np.bincount(bins, gaps)).sum() / 203
        assert run.calibration_error == pytest.approx(error, rel=1e-5)
        assert run.train_seconds == results["timing"]["train_seconds"]
        assert run.num_parameters == 7850
        assert run.undisputed is None
    assert compared.runs[0].all_images != compared.runs[1].all_images


def test_pairs_are_counted_image_by_image_and_corrected_together(folder, small_dataset):
    compared = compare.compare_runs([folder / name for name in "abc"], data=small_dataset)
    right = {
        name: mnist_lib.predict(folder / name, small_dataset.test.images).argmax(-1)
        == small_dataset.test.labels
        for name in "abc"
    }
    assert [(pair.first, pair.second) for pair in compared.pairs] == [
        *(("a", "b"), ("a", "c"), ("b", "c"))
    ]
    for pair in compared.pairs:
        first, second = right[pair.first], right[pair.second]
        assert pair.num_only_first == sum(first > second)
        assert pair.num_only_second == sum(second > first)
        assert pair.num_only_first + pair.num_only_second > 0
        assert pair.difference == pytest.approx(first.mean() - second.mean())
        assert pair.p_value == statistics.mcnemar_p_value(pair.num_only_first, pair.num_only_second)
    corrected = [pair.corrected_p_value for pair in compared.pairs]
    assert corrected == statistics.holm([pair.p_value for pair in compared.pairs])
    fewer = compare.compare_runs(
        [folder / name for name in "abc"], data=small_dataset, against_first=True
    )
    assert [(pair.first, pair.second) for pair in fewer.pairs] == [("a", "b"), ("a", "c")]
    assert [pair.p_value for pair in fewer.pairs] == [pair.p_value for pair in compared.pairs][:2]


def test_only_what_differs_in_the_configurations_is_told(folder, small_dataset):
    compared = compare.compare_runs([folder / name for name in "abc"], data=small_dataset)
    assert [run.settings for run in compared.runs] == [
        {"optimizer": "adam", "train_steps": 6, "seed": 0},
        {"optimizer": "adam", "train_steps": 6, "seed": 1},
        {"optimizer": "sgd", "train_steps": 9, "seed": 0},
    ]


def test_disputed_test_images_of_mnist_are_left_out_of_a_second_count(folder, small_dataset):
    numbers = np.arange(900, 1103)  # 947 is disputed
    test = dataclasses.replace(small_dataset.test, numbers=numbers)
    data = mnist_lib.ImageDataset("mnist", small_dataset.train, small_dataset.validation, test)
    runs = [folder / "a", folder / "b"]
    for run in compare.compare_runs(runs, data=data).runs:
        predicted = mnist_lib.predict(run.path, test.images).argmax(-1)
        is_right = bool(predicted[47] == test.labels[47])
        assert run.undisputed.num_examples == 202
        assert run.undisputed.num_correct == run.all_images.num_correct - is_right
        assert run.num_disputes == (not is_right)
    other = mnist_lib.ImageDataset("kmnist", small_dataset.train, small_dataset.validation, test)
    assert compare.compare_runs(runs, data=other).runs[0].undisputed is None


def test_runs_that_end_alike_are_told_apart_by_their_paths(folder, small_dataset, tmp_path):
    shutil.copytree(folder / "b", tmp_path / "a")
    compared = compare.compare_runs([folder / "a", tmp_path / "a"], data=small_dataset)
    assert [run.name for run in compared.runs] == [str(folder / "a"), str(tmp_path / "a")]


def test_what_cannot_be_compared_is_refused(folder, small_dataset, tmp_path):
    a, b = folder / "a", tmp_path / "b"
    for given, words in (([], "none given"), ([a], "1 given"), ([a, f"{a}/"], "given twice")):
        with pytest.raises(errors.ConfigError, match=words):
            compare.compare_runs(given, data=small_dataset)
    with pytest.raises(errors.DataNotFoundError, match=r"no config\.json there"):
        compare.compare_runs([a, b], data=small_dataset)
    with pytest.raises(errors.ConfigError, match="split: 'dev' is not one of"):
        compare.compare_runs([a, folder / "b"], split="dev", data=small_dataset)
    with pytest.raises(errors.ConfigError, match="trained on small, which the catalogue lacks"):
        compare.compare_runs([a, folder / "b"])
    shutil.copytree(folder / "b", b)
    for facts, words in (
        ({"dataset": "kmnist"}, f"{b} is of kmnist, and {a} of small"),
        ({"class_names": ["0", "1"]}, f"{b} tells 2 classes apart, and small has 10"),
        ({"image_shape": [14, 14, 1]}, r"takes images \[14, 14, 1\], and small has \[28"),
    ):
        _write_facts(b, **facts)
        with pytest.raises(errors.ConfigError, match=words):
            compare.compare_runs([a, b], data=None if "dataset" in facts else small_dataset)
        shutil.copy(folder / "b" / "run.json", b)
    (b / "results.json").unlink()
    with pytest.raises(
        errors.DataNotFoundError, match=r"b: no results\.json there, the run is not"
    ):
        compare.compare_runs([a, b], data=small_dataset)


@pytest.fixture(scope="module")
def prepared_runs(prepared_data, tmp_path_factory) -> list[pathlib.Path]:
    """Two short runs of a prepared data set, whose validation images are not the same."""
    top = tmp_path_factory.mktemp("prepared")
    base = {"dataset": prepared_data.name, "data_dir": str(prepared_data.data_dir)}
    for name, size in (("long-name-of-a-run", 600), ("b", 500)):
        config = dataclasses.replace(CONFIG, **base, train_size=700, validation_size=size)
        mnist_lib.train_and_evaluate(config, top / name)
    return [top / "long-name-of-a-run", top / "b"]


def test_runs_need_the_same_images_and_not_the_same_training(prepared_runs):
    compared = compare.compare_runs(prepared_runs)
    assert [run.settings for run in compared.runs] == [
        {"validation_size": 600},
        {"validation_size": 500},
    ]
    is_mnist = compared.dataset == "mnist"
    for run in compared.runs:
        counts = [part and part.num_examples for part in (run.all_images, run.undisputed)]
        assert counts == ([10_000, 9985] if is_mnist else [counts[0], None])
    with pytest.raises(errors.ConfigError, match="b has other validation images than the first"):
        compare.compare_runs(prepared_runs, split="validation")


def test_the_command_prints_tables_of_80_columns_or_json(prepared_runs, capsys):
    compared = compare.compare_runs(prepared_runs)
    result_tables.print_comparison(compared)
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= 80
    for run in compared.runs:
        (line,) = [line for line in told.splitlines() if f"{run.loss:.4f}" in line]
        assert f"{run.all_images.accuracy:.4f}" in line
        assert run.undisputed is None or f"{run.undisputed.accuracy:.4f}" in line
    assert ["validation_size", "600", "500"] in [line.split() for line in told.splitlines()]
    command = script_command("scripts/compare.py", *map(str, prepared_runs), "--json")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    told, expected = json.loads(done.stdout), json.loads(json.dumps(compared.to_dict()))
    assert told["pairs"] == expected["pairs"]
    for one, other in zip(told["runs"], expected["runs"], strict=True):
        for measure in ("loss", "calibration_error"):  # another process may round otherwise
            assert one.pop(measure) == pytest.approx(other.pop(measure), rel=1e-4)
        assert one == other


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], os.EX_USAGE, "run: none given; name the directories of two runs or more"),
        (["a"], os.EX_USAGE, "run: 1 given; name the directories of two runs or more"),
        (["a", "b", "--split=dev"], os.EX_USAGE, "--split: 'dev' is not one of train, "),
    ],
)
def test_bad_flags_are_refused_before_tensorflow_starts(arguments, code, words):
    command = [sys.executable, "-X", "importtime", "-m", "mnist_lib", "compare", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert words in done.stderr.splitlines()[-1]
    assert "tensorflow" not in done.stderr
