"""What was logged of a run is read back: from history.csv, and from event files."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

import mnist_lib
from mnist_lib.inspection import history

CONFIG = mnist_lib.TrainConfig(
    model="linear",
    batch_size=48,
    train_steps=30,
    steps_per_loop=4,
    eval_every=10,
    checkpoint_every=10,
    learning_rate=3e-3,
)
LOOPS = [4, 8, 10, 12, 16, 20, 24, 28, 30]


def _train(workdir, dataset, **options):
    config = dataclasses.replace(CONFIG, **options)
    return mnist_lib.train_and_evaluate(config, workdir, data=dataset)


@pytest.fixture(scope="module")
def finished(small_dataset, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "finished"
    return workdir, _train(workdir, small_dataset)


def _events(folder, tags, name="", cut=0):
    """Writes an event file of `{tag: {step: value}}`, and cuts bytes off its end."""
    writer = tf.summary.create_file_writer(str(folder), filename_suffix=name)
    with writer.as_default():
        tf.summary.text("config", "x", step=0)
        for tag, values in tags.items():
            tf.summary.histogram("weights", [1.0, 2.0], step=1)
            for step, value in values.items():
                tf.summary.scalar(tag, value, step=step)
    writer.close()
    (path,) = folder.glob(f"*{name}")
    path.write_bytes(path.read_bytes()[: -cut or None])


def test_a_run_is_read_back(finished):
    workdir, results = finished
    found = history.read_history(workdir)
    assert list(found) == ["train", "validation", "test"]
    for tag in ("loss", "accuracy", "objective", "learning_rate", "gradient_norm"):
        steps, values = found["train"][tag]
        assert steps.tolist() == LOOPS
        assert (steps.dtype, values.dtype) == (np.int64, np.float64)
        assert np.isfinite(values).all()
    assert found["validation"].keys() == found["test"].keys() == {"loss", "accuracy"}
    assert found["validation"]["loss"][0].tolist() == [10, 20, 30]
    assert found["validation"]["loss"][1][-1] == results["validation"]["loss"]
    assert found["test"]["accuracy"][1].tolist() == [results["test"]["accuracy"]]


def test_the_csv_has_a_row_per_step_and_split(finished):
    lines = (finished[0] / "history.csv").read_text().splitlines()
    assert lines[0] == "step,split,loss,accuracy,objective,learning_rate,gradient_norm"
    rows = [line.split(",") for line in lines[1:]]
    assert [(int(row[0]), row[1]) for row in rows][2:5] == [
        (10, "train"),
        (10, "validation"),
        (12, "train"),
    ]
    assert len(rows) == len(LOOPS) + 3 + 1
    assert rows[3][4:] == ["", "", ""]
    assert rows[-1][:2] == ["30", "test"]


def test_results_hold_the_curves_in_brief(finished):
    workdir, results = finished
    brief = results["history"]
    assert json.loads((workdir / "results.json").read_text())["history"] == brief
    assert [step for step, _ in brief["train"]["loss"]] == [10, 20, 30]
    assert brief["train"].keys() == {"loss", "accuracy"}
    for split in ("train", "validation"):  # the last ones are those of the results
        assert brief[split]["loss"][-1] == [30, pytest.approx(results[split]["loss"])]
    assert brief["test"]["accuracy"] == [[30, results["test"]["accuracy"]]]


def test_of_many_points_some_are_kept_and_the_last():
    steps = np.arange(1, 1001)
    curve = {"loss": (steps, 1.0 / steps), "learning_rate": (steps, 1.0 / steps)}
    brief = history.in_brief({"train": curve, "validation": curve}, steps.tolist())
    for split in ("train", "validation"):
        kept = [step for step, _ in brief[split]["loss"]]
        assert (len(kept), kept[0], kept[-1]) == (50, 20, 1000)
    assert "learning_rate" not in brief["train"]


def test_training_in_brief_is_the_mean_since_the_validation_before():
    curve = {"loss": (np.array([4, 8, 10, 20]), np.array([4.0, 3.0, 2.0, 1.0]))}
    brief = history.in_brief({"train": curve}, [10, 20])
    assert brief["train"]["loss"] == [[10, (4 * 4 + 3 * 4 + 2 * 2) / 10], [20, 1.0]]


@pytest.mark.parametrize("step", [10, 20])
def test_a_run_killed_after_a_save_ends_with_the_same_file(finished, small_dataset, tmp_path, step):
    workdir, results = finished
    killed = tmp_path / "killed"
    shutil.copytree(workdir, killed)
    (killed / "results.json").unlink()
    for path in killed.glob("checkpoints/ckpt-*"):
        if int(path.stem.partition("-")[2]) > step:
            path.unlink()
    resumed = _train(killed, small_dataset)
    assert resumed["history"] == results["history"]
    assert (killed / "history.csv").read_bytes() == (workdir / "history.csv").read_bytes()


def test_a_run_that_was_not_tested_ends_with_the_same_file(finished, small_dataset, tmp_path):
    workdir, results = finished
    killed = tmp_path / "killed"
    shutil.copytree(workdir, killed)
    (killed / "results.json").unlink()
    lines = (killed / "history.csv").read_text().splitlines(keepends=True)
    (killed / "history.csv").write_text("".join(lines[:-1]))
    assert _train(killed, small_dataset)["history"] == results["history"]
    assert (killed / "history.csv").read_bytes() == (workdir / "history.csv").read_bytes()


def test_what_was_written_before_a_kill_is_there(finished, small_dataset, tmp_path):
    """After each validation the file has all up to it."""
    seen = {}

    def look(progress):
        steps, _ = history.read_history(tmp_path / "run")["train"]["loss"]
        seen[progress.step] = steps.tolist()

    mnist_lib.train_and_evaluate(CONFIG, tmp_path / "run", data=small_dataset, callbacks=[look])
    assert seen == {step: [loop for loop in LOOPS if loop <= step] for step in (10, 20, 30)}


def test_without_event_files_there_is_a_history(finished, small_dataset, tmp_path):
    _train(tmp_path / "run", small_dataset, summaries="none")
    assert not list(tmp_path.rglob("events.*"))
    expected = (finished[0] / "history.csv").read_bytes()
    assert (tmp_path / "run" / "history.csv").read_bytes() == expected


def test_without_a_validation_split_training_has_its_points(small_dataset, tmp_path):
    nobody = small_dataset.validation.take(np.arange(0))
    data = mnist_lib.ImageDataset("small", small_dataset.train, nobody, small_dataset.test)
    brief = _train(tmp_path / "run", data, validation_size=0)["history"]
    assert [step for step, _ in brief["train"]["loss"]] == [10, 20, 30]
    assert brief["validation"] == {}


def test_a_run_of_an_older_version_is_read_from_its_event_files(finished, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(finished[0], workdir)
    (workdir / "history.csv").unlink()
    found, expected = history.read_history(workdir), history.read_history(finished[0])
    for split, curves in expected.items():
        for tag, (steps, values) in curves.items():
            np.testing.assert_array_equal(found[split][tag][0], steps)
            np.testing.assert_array_equal(found[split][tag][1], values.astype(np.float32))


def test_a_run_of_an_older_version_that_goes_on_keeps_what_it_had(
    finished, small_dataset, tmp_path
):
    killed = tmp_path / "killed"
    shutil.copytree(finished[0], killed)
    for name in ("history.csv", "results.json"):
        (killed / name).unlink()
    _train(killed, small_dataset)
    assert history.read_history(killed)["train"]["loss"][0].tolist() == LOOPS


def test_groups_are_stripped_and_later_files_and_whole_records_count(tmp_path):
    tags = {
        "metrics/loss": {1: 1.0, 2: 0.5},
        "optimizer/learning_rate": {1: 0.25},
        "optimizer/update_ratio/dense/kernel": {1: 0.5},  # of single variables and classes
        "class/accuracy/3": {1: 0.5},
    }
    _events(tmp_path / "train", tags, name=".1")
    _events(tmp_path / "train", {"metrics/loss": {2: 0.75, 3: 0.125, 4: 9.0}}, name=".2", cut=5)
    found = history.read_history(tmp_path)
    assert {tag: [part.tolist() for part in found["train"][tag]] for tag in found["train"]} == {
        "loss": [[1, 2, 3], [1.0, 0.75, 0.125]],
        "learning_rate": [[1], [0.25]],
    }
    assert found["validation"] == found["test"] == {}


def test_metrics_of_ones_own_have_their_columns_and_floats_come_back_as_they_were(tmp_path):
    log = history.HistoryLog(tmp_path, 0)
    log.add("validation", 10, {"loss": 0.1 + 0.2, "top, of 3": np.float32(0.1)})
    log.add("train", 10, {"loss": float("nan")})
    log.write()
    found = history.read_history(tmp_path)
    assert found["validation"]["loss"][1].tolist() == [0.1 + 0.2]
    assert found["validation"]["top, of 3"][1].tolist() == [float(np.float32(0.1))]
    assert np.isnan(found["train"]["loss"][1]).all()


def test_what_was_written_of_later_steps_and_of_the_test_is_taken_out(tmp_path):
    log = history.HistoryLog(tmp_path, 0)
    for split, step in (("train", 4), ("validation", 4), ("train", 8), ("test", 4)):
        log.add(split, step, {"loss": 1.0})
    log.write()
    resumed = history.HistoryLog(tmp_path, 4)
    assert {
        split: curves["loss"][0].tolist() for split, curves in resumed.curves().items() if curves
    } == {"train": [4], "validation": [4]}
    resumed.write()
    assert "8,train" not in (tmp_path / "history.csv").read_text()
    assert history.HistoryLog(tmp_path, 0).curves()["train"] == {}


def test_one_of_several_workers_writes(tmp_path):
    log = history.HistoryLog(tmp_path, 0, is_writing=False)
    log.add("train", 10, {"loss": 1.0})
    log.write()
    assert list(tmp_path.iterdir()) == []
    assert log.curves()["train"]["loss"][0].tolist() == [10]


def test_folders_without_a_run_and_damaged_files_are_named(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(mnist_lib.errors.DataNotFoundError, match=f"{folder}: neither"):
            history.read_history(folder)
    (tmp_path / "config.json").write_text("{}")
    assert history.read_history(tmp_path) == {"train": {}, "validation": {}, "test": {}}
    for text in ("step,split,loss\n1,train,x\n", "a,b\n1,2\n", "step,split\n1,train,3\n", "\xff"):
        (tmp_path / "history.csv").write_text(text, encoding="latin-1")
        with pytest.raises(mnist_lib.errors.CorruptDataError, match=r"history\.csv: cannot be"):
            history.read_history(tmp_path)
