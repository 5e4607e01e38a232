"""Whole runs on small data: files, results, exact resume."""

import contextlib
import dataclasses
import gc
import json
import logging
import pathlib
import shutil
import warnings

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import config as framework_config
from test_summaries import TRAIN_TAGS, read_events

import mnist_lib
from mnist_lib.runs import checkpoints, configured, interruption, run_directory

CONFIG = mnist_lib.TrainConfig(
    model="mlp",
    batch_size=48,
    train_steps=30,
    steps_per_loop=4,
    eval_every=10,
    checkpoint_every=10,
    lr_schedule="one_cycle",
    learning_rate=3e-3,
)


def _train(workdir, dataset, **options):
    config = dataclasses.replace(CONFIG, **options)
    return mnist_lib.train_and_evaluate(config, workdir, data=dataset)


def _contents(folder: pathlib.Path) -> dict:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _values(prefix: pathlib.Path) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(str(prefix))
    names = set(reader.get_variable_to_shape_map()) - {"_CHECKPOINTABLE_OBJECT_GRAPH"}
    return {name: reader.get_tensor(name) for name in names if "train_seconds" not in name}


@pytest.fixture(scope="module")
def finished(small_dataset, tmp_path_factory):
    """The folder and the results of an uninterrupted run."""
    workdir = tmp_path_factory.mktemp("runs") / "finished"
    return workdir, _train(workdir, small_dataset)


def test_results(finished):
    workdir, results = finished
    assert json.loads((workdir / "results.json").read_text()) == results
    assert (results["dataset"], results["model"], results["seed"]) == ("small", "mlp", 0)
    assert (results["step"], results["num_replicas"]) == (30, 1)
    for split, num_examples in (("validation", 101), ("test", 203)):
        metrics = results[split]
        assert metrics["num_examples"] == num_examples
        assert metrics["accuracy"] == metrics["num_correct"] / num_examples
        assert metrics["accuracy"] > 0.95
    assert results["train"]["loss"] < 0.7
    assert results["timing"]["images_per_second"] == pytest.approx(
        30 * 48 / results["timing"]["train_seconds"]
    )
    assert results["timing"]["startup_seconds"] > 0


def test_files(finished):
    workdir, _ = finished
    assert mnist_lib.load_config(workdir) == dataclasses.replace(CONFIG, validation_size=101)
    (run,) = json.loads((workdir / "run.json").read_text())
    assert (run["num_replicas"], run["num_train"], run["num_validation"]) == (1, 600, 101)
    assert len(run["train_sha256"]) == 64
    assert run["packages"]["tensorflow"].startswith("2.21")
    steps = [int(path.stem.removeprefix("ckpt-")) for path in workdir.glob("checkpoints/*.index")]
    assert sorted(steps) == [10, 20, 30]
    assert len(list(workdir.glob("best/*.index"))) == 1


def test_tensorboard_tags_and_steps(finished):
    workdir, _ = finished
    train = read_events(workdir / "train")
    loops = [4, 8, 10, 12, 16, 20, 24, 28, 30]
    for tag in TRAIN_TAGS:
        assert train[tag] == loops, tag
    for tag in ("run", "graph", "keras", "input/samples"):
        assert train[tag] == [0], tag
    # Of 30 steps, 600 images and batches of 48: the epochs end at 13 and 26, where nothing stops.
    assert train["weights/dense1/kernel"] == [30]
    validation, test = (read_events(workdir / split) for split in ("validation", "test"))
    for tag in ("metrics/loss", "metrics/accuracy", "class/accuracy/0"):
        assert (validation[tag], test[tag]) == ([10, 20, 30], [30]), tag
    curve = "class/precision_recall/7/pr_curves"
    for tag in ("errors/confusion_matrix", "errors/most_confident", curve):
        assert test[tag] == [30], tag
    figures = {path.stem for path in (workdir / "figures").glob("*.png")}
    assert figures >= {"curves", "confusion", "mistakes", "reliability", "precision_recall"}


@pytest.mark.parametrize("step", [10, 20])
def test_a_run_killed_after_a_save_ends_bitwise_as_if_it_had_not_been(
    finished, small_dataset, tmp_path, step
):
    """The folder as SIGKILL leaves it: a checkpoint, later events, no results."""
    workdir, results = finished
    killed = tmp_path / "killed"
    for name in ("checkpoints", "train", "validation"):
        shutil.copytree(workdir / name, killed / name)
    shutil.copy(workdir / "config.json", killed)
    for path in killed.glob("checkpoints/ckpt-*"):
        if int(path.stem.partition("-")[2]) > step:
            path.unlink()
    resumed = _train(killed, small_dataset)
    for key in ("train", "validation", "test", "step"):
        assert resumed[key] == results[key]
    expected, found = (_values(folder / "checkpoints" / "ckpt-30") for folder in (workdir, killed))
    assert expected.keys() == found.keys()
    # 6 weights and 2 dropout states; 2 Adam moments each and the step; 6 of the run.
    assert len(found) == 8 + 13 + 6
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    assert read_events(killed / "train") == read_events(workdir / "train")
    assert read_events(killed / "validation") == read_events(workdir / "validation")


def test_a_run_killed_before_its_results_ends_the_same(finished, small_dataset, tmp_path):
    """Killed after the last save, in or after the test."""
    workdir, results = finished
    killed = tmp_path / "killed"
    shutil.copytree(workdir, killed)
    (killed / "results.json").unlink()
    resumed = _train(killed, small_dataset)
    for key in ("train", "validation", "test", "step"):
        assert resumed[key] == results[key]
    for split in ("train", "validation", "test"):
        assert read_events(killed / split) == read_events(workdir / split)


@pytest.mark.parametrize("is_whole", [False, True])
def test_a_run_killed_in_its_first_save_begins_anew(
    finished, small_dataset, tmp_path, caplog, is_whole
):
    """Before anything was whole; the second time before the index was moved, as the last file."""
    workdir, results = finished
    killed = tmp_path / "killed"
    saving = killed / "checkpoints" / ".saving"
    (saving / "ckpt-0_temp").mkdir(parents=True)
    if is_whole:
        shutil.copy(workdir / "checkpoints" / "ckpt-10.index", saving / "ckpt-0.index")
        data = "ckpt-10.data-00000-of-00001"
        shutil.copy(workdir / "checkpoints" / data, saving.parent / data.replace("10", "0", 1))
    shutil.copy(workdir / "config.json", killed)
    resumed = _train(killed, small_dataset)
    for key in ("train", "validation", "test", "step"):
        assert resumed[key] == results[key]
    assert read_events(killed / "train") == read_events(workdir / "train")
    assert "the save of step 0 was cut off, and is left out" in caplog.text
    names = {path.name.partition(".")[0] for path in (killed / "checkpoints").iterdir()}
    assert names == {"ckpt-10", "ckpt-20", "ckpt-30", "checkpoint"}


@pytest.mark.parametrize("left", [("checkpoint",), ("run.json",), ("best", "train", "run.json")])
def test_a_run_whose_checkpoints_are_gone_stops(finished, small_dataset, tmp_path, left):
    workdir = tmp_path / "run"
    shutil.copytree(finished[0], workdir)
    (workdir / "results.json").unlink()
    for path in workdir.glob("checkpoints/ckpt-*"):
        path.unlink()
    for path in [*workdir.iterdir(), *workdir.glob("checkpoints/*")]:
        if path.name not in (*left, "config.json", "checkpoints", ".lock"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = _contents(workdir)
    with pytest.raises(mnist_lib.errors.CheckpointError, match="Restore them from a copy") as told:
        _train(workdir, small_dataset)
    assert told.value.exit_code == 65
    assert _contents(workdir) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 5}, r"seed: is 5, but the run in --workdir was saved in .*ckpt-30 0"),
        ({"learning_rate": 0.5}, "learning_rate: is 0.5"),
        ({"optimizer": "adamw"}, "optimizer: is adamw"),
    ],
)
def test_a_configuration_that_was_edited_is_refused(
    finished, small_dataset, tmp_path, changes, message
):
    """As is a checkpoint of another run: what is in it says of which configuration it is."""
    workdir = tmp_path / "run"
    shutil.copytree(finished[0], workdir)
    (workdir / "results.json").unlink()
    edited = dataclasses.replace(mnist_lib.load_config(workdir), **changes)
    (workdir / "config.json").write_text(edited.to_json())
    with pytest.raises(mnist_lib.errors.ConfigError, match=message):
        mnist_lib.train_and_evaluate(edited, workdir, data=small_dataset)


def test_a_checkpoint_of_a_run_on_other_images_is_refused(finished, small_dataset, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(finished[0], workdir)
    for name in ("results.json", "run.json"):
        (workdir / name).unlink()
    other = mnist_lib.Split("train", 255 - small_dataset.train.images, small_dataset.train.labels)
    data = mnist_lib.ImageDataset("small", other, small_dataset.validation, small_dataset.test)
    with pytest.raises(mnist_lib.errors.CheckpointError, match="ckpt-30 is of a run on other im"):
        _train(workdir, data)


def test_other_data_is_refused(finished, small_dataset, tmp_path):
    killed = tmp_path / "killed"
    shutil.copytree(finished[0], killed)
    (killed / "results.json").unlink()
    other = mnist_lib.Split("train", 255 - small_dataset.train.images, small_dataset.train.labels)
    data = mnist_lib.ImageDataset("small", other, small_dataset.validation, small_dataset.test)
    with pytest.raises(
        mnist_lib.errors.ConfigError, match=r"dataset: its train images .* are not those"
    ):
        _train(killed, data)
    with pytest.raises(mnist_lib.errors.ConfigError, match=r"data: the run was trained on small"):
        mnist_lib.evaluate(finished[0])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b'{"model": "mlp"'),
        ("config.json", b"\xff\xfe"),
        ("config.json", b'{"learning_rate": "abc"}'),
        ("config.json", b'{"batch_size": 0}'),
        ("results.json", b'{"step": '),
        ("results.json", b"[]"),
    ],
)
def test_damaged_files_of_a_run_are_named(finished, small_dataset, tmp_path, name, content):
    workdir = tmp_path / "run"
    shutil.copytree(finished[0], workdir)
    (workdir / name).write_bytes(content)
    with pytest.raises(
        mnist_lib.errors.CorruptDataError, match=f"{workdir / name}: cannot be used"
    ):
        _train(workdir, small_dataset)


def test_a_run_that_another_process_finished_meanwhile_is_not_overwritten(
    finished, small_dataset, tmp_path, monkeypatch
):
    """The other process finishes between the first check and the lock."""
    workdir = tmp_path / "run"

    @contextlib.contextmanager
    def lock(self):
        shutil.copytree(finished[0], workdir)
        yield

    monkeypatch.setattr(run_directory.RunDirectory, "lock", lock)
    with pytest.raises(
        mnist_lib.errors.ConfigError, match="seed: is 1, but the run in --workdir was"
    ):
        _train(workdir, small_dataset, seed=1)
    assert json.loads((workdir / "results.json").read_text()) == finished[1]


def test_a_substitute_for_mnist_is_named_at_the_end_and_in_a_resume(
    small_dataset, tmp_path, monkeypatch, caplog
):
    splits = [
        dataclasses.replace(split, numbers=np.arange(len(split)))  # as what is loaded has
        for split in (small_dataset.train, small_dataset.validation, small_dataset.test)
    ]
    data = mnist_lib.ImageDataset("synthetic_digits", *splits, stands_in_for="mnist")
    monkeypatch.setattr(configured, "load_dataset", lambda config: data)
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.WARNING):
        results = mnist_lib.train_and_evaluate(CONFIG)
    assert "THIS IS NOT MNIST" in caplog.text.splitlines()[-3]
    assert results["dataset"] == "synthetic_digits"
    (workdir,) = (tmp_path / "runs").iterdir()
    assert workdir.name.endswith("-synthetic_digits-mlp")
    config = mnist_lib.load_config(workdir)
    assert config.dataset == "synthetic_digits"
    # A resume asks for the set by its own name; it says all the same what it stands for.
    (workdir / "results.json").unlink()
    data = mnist_lib.ImageDataset("synthetic_digits", *splits)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        mnist_lib.train_and_evaluate(config, workdir)
    assert caplog.text.count("THIS IS NOT MNIST") == 2


def test_a_finished_run_is_left_alone(finished, small_dataset):
    workdir, results = finished
    before = _contents(workdir)
    assert _train(workdir, small_dataset) == results
    assert _contents(workdir) == before


def test_steps_per_loop_changes_no_result(finished, small_dataset, tmp_path):
    results = _train(tmp_path / "run", small_dataset, steps_per_loop=7, checkpoint_every=30)
    for split in ("validation", "test"):
        assert results[split] == finished[1][split]


def test_another_configuration_is_refused_and_nothing_changes(finished, small_dataset):
    workdir, _ = finished
    before = _contents(workdir)
    with pytest.raises(
        mnist_lib.errors.ConfigError, match="seed: is 1, but the run in --workdir was"
    ):
        _train(workdir, small_dataset, seed=1)
    assert _contents(workdir) == before


def test_best_is_kept_apart_and_not_overwritten_by_worse(small_dataset, tmp_path, monkeypatch):
    """Validation accuracies are dictated: the second is the best."""
    accuracies = iter([50, 90, 70])

    def validate(self, batches):
        num_correct = next(accuracies, 0)
        return mnist_lib.EvalMetrics(1.0, np.array([[num_correct, 100 - num_correct], [0, 0]]))

    monkeypatch.setattr(mnist_lib.Evaluator, "evaluate", validate)
    _train(tmp_path / "run", small_dataset)
    assert [path.stem for path in (tmp_path / "run" / "best").glob("*.index")] == ["ckpt-20"]


def test_without_validation_images_there_is_no_best(small_dataset, tmp_path):
    nobody = mnist_lib.Split(
        "validation", small_dataset.validation.images[:0], small_dataset.validation.labels[:0]
    )
    data = mnist_lib.ImageDataset("small", small_dataset.train, nobody, small_dataset.test)
    results = _train(tmp_path / "run", data, validation_size=0)
    empty = {"num_examples": 0, "num_correct": 0, "accuracy": None, "loss": None}
    assert results["validation"] == empty
    assert results["test"]["num_examples"] == 203
    assert not (tmp_path / "run" / "best").exists()


def test_a_run_that_diverges_names_the_step_and_keeps_the_last_good_checkpoint(
    small_dataset, tmp_path
):
    with pytest.raises(mnist_lib.errors.DivergedError, match=r"not finite at step \d+") as caught:
        _train(
            tmp_path / "run",
            small_dataset,
            optimizer="sgd",
            learning_rate=1e38,
            lr_schedule="constant",
            checkpoint_every=1,
            steps_per_loop=1,
        )
    assert caught.value.exit_code == 70
    for prefix in (tmp_path / "run" / "checkpoints").glob("*.index"):
        for name, value in _values(prefix.with_suffix("")).items():
            assert isinstance(value, bytes) or np.isfinite(value).all(), name


def test_the_run_directory_is_checked(small_dataset, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    for path in (tmp_path / "file", tmp_path / "file" / "in" / "it"):
        with pytest.raises(mnist_lib.errors.OutputError, match=f"{tmp_path}/file: is not a w") as e:
            _train(path, small_dataset)
        assert e.value.exit_code == 73
    (tmp_path / "thesis.txt").write_text("three years of work")
    with pytest.raises(mnist_lib.errors.OutputError, match=r"holds no config.json of a run .*file"):
        _train(tmp_path, small_dataset)


def test_what_a_process_killed_in_its_first_write_left_is_no_obstacle(small_dataset, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / f".config.json.{'0' * 16}").write_text('{"mod')
    assert _train(tmp_path / "run", small_dataset, train_steps=5)["step"] == 5


def test_two_trainers_do_not_share_a_folder(small_dataset, tmp_path):
    run = run_directory.RunDirectory(tmp_path / "run")
    with run.lock(), pytest.raises(mnist_lib.errors.OutputError, match=r"in use by pid \d+"):
        _train(tmp_path / "run", small_dataset)


def test_two_replicas_give_the_result_of_one(finished, small_dataset, tmp_path):
    results = _train(tmp_path / "run", small_dataset, num_replicas=2)
    assert results["num_replicas"] == 2
    for split in ("train", "validation", "test"):
        assert results[split]["loss"] == pytest.approx(finished[1][split]["loss"], rel=1e-3)
    assert results["test"]["num_examples"] == 203


def test_a_run_may_go_on_with_other_replicas_only_when_told_so(finished, small_dataset, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(finished[0], workdir)
    (workdir / "results.json").unlink()
    for path in workdir.glob("checkpoints/ckpt-30*"):
        path.unlink()
    config = dataclasses.replace(CONFIG, num_replicas=2)
    with pytest.raises(mnist_lib.errors.ConfigError, match="pass --allow_other_replicas"):
        mnist_lib.train_and_evaluate(config, workdir, data=small_dataset)
    results = mnist_lib.train_and_evaluate(
        config, workdir, data=small_dataset, allow_other_replicas=True
    )
    assert results["num_replicas"] == 2
    assert results["test"]["loss"] == pytest.approx(finished[1]["test"]["loss"], rel=1e-2)


@pytest.mark.parametrize(
    "options",
    [
        {"mixed_precision": "bfloat16"},
        {"jit_compile": True, "num_replicas": 2},
        {"strategy": "default"},
        {"strategy": "one_device"},
        {"optimizer": "adamw", "warmup_steps": 5},
        {"optimizer": "rmsprop", "loss": "hinge", "summaries": "full"},
        {"model": "lenet5", "pooling": "average", "activation": "maxout"},
    ],
    ids=str,
)
def test_options_train(small_dataset, tmp_path, options):
    unlike = {"lr_schedule": "constant", "summaries": "none"}
    results = _train(tmp_path / "run", small_dataset, **unlike | options)
    assert results["test"]["accuracy"] > 0.9


def test_several_workers_need_a_workdir(small_dataset):
    config = dataclasses.replace(CONFIG, strategy="multi_worker_mirrored")
    with pytest.raises(mnist_lib.errors.ConfigError, match="workdir: several workers need one"):
        mnist_lib.train_and_evaluate(config, data=small_dataset)


def test_xla_with_convolutions_on_a_cpu_is_refused(small_dataset, tmp_path):
    with pytest.raises(mnist_lib.errors.ConfigError, match="jit_compile: XLA makes convolutions"):
        _train(tmp_path / "run", small_dataset, model="cnn", jit_compile=True)


def test_evaluate_agrees_with_the_results_and_predict_with_evaluate(finished, small_dataset):
    workdir, results = finished
    metrics = mnist_lib.evaluate(workdir, data=small_dataset)
    assert metrics.num_correct == results["test"]["num_correct"]
    assert metrics.loss == pytest.approx(results["test"]["loss"], rel=1e-6)
    probabilities = mnist_lib.predict(workdir, small_dataset.test.images[..., 0])
    assert probabilities.shape == (203, 10)
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-5)
    num_correct = int((probabilities.argmax(-1) == small_dataset.test.labels).sum())
    assert num_correct == metrics.num_correct
    best = mnist_lib.evaluate(workdir, split="validation", checkpoint="best", data=small_dataset)
    assert best.accuracy >= results["validation"]["accuracy"]


def test_wrong_use_of_a_run_is_refused(finished, tmp_path):
    workdir, _ = finished
    with pytest.raises(mnist_lib.errors.DataNotFoundError, match=r"no config.json there"):
        mnist_lib.load_model(tmp_path)
    with pytest.raises(
        mnist_lib.errors.ConfigError, match="checkpoint: 'newest' is not one of last, best"
    ):
        mnist_lib.load_model(workdir, "newest")
    with pytest.raises(
        mnist_lib.errors.ConfigError, match=r"images: float64 \[2, 28, 28\]; expected uint8"
    ):
        mnist_lib.predict(workdir, np.zeros((2, 28, 28)))
    with pytest.raises(mnist_lib.errors.ConfigError, match="split: 'all' is not one of"):
        mnist_lib.evaluate(workdir, split="all")


def test_xla_is_refused_by_the_convolutions_a_model_has(small_dataset, tmp_path):
    """`fast_cnn` has no pooling option, and convolutions all the same."""
    with pytest.raises(mnist_lib.errors.ConfigError, match=r"jit_compile: .*conv1.* slower"):
        _train(tmp_path / "run", small_dataset, model="fast_cnn", jit_compile=True)


def test_deterministic_is_in_force_from_python_and_put_back(small_dataset, tmp_path, monkeypatch):
    seen = []
    right = mnist_lib.Evaluator.evaluate

    def evaluate(self, data):
        seen.append(framework_config.is_op_determinism_enabled())
        return right(self, data)

    monkeypatch.setattr(mnist_lib.Evaluator, "evaluate", evaluate)
    before = framework_config.is_op_determinism_enabled()
    for wanted in (True, False):
        seen.clear()
        _train(tmp_path / str(wanted), small_dataset, train_steps=10, deterministic=wanted)
        assert seen
        assert set(seen) == {wanted}
        assert framework_config.is_op_determinism_enabled() == before


def test_run_json_has_an_entry_per_process_and_differences_are_said(
    finished, small_dataset, tmp_path, caplog
):
    workdir = tmp_path / "run"
    shutil.copytree(finished[0], workdir)
    (workdir / "results.json").unlink()
    (first,) = json.loads((workdir / "run.json").read_text())
    first["packages"]["tensorflow"] = "2.20.0"
    (workdir / "run.json").write_text(json.dumps([first]))
    _train(workdir, small_dataset)
    entries = json.loads((workdir / "run.json").read_text())
    assert len(entries) == 2
    assert entries[0] == first
    assert "packages tensorflow was 2.20.0, is 2.21" in caplog.text


def test_a_checkpoint_that_was_renamed_is_refused(finished, small_dataset, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(finished[0], workdir)
    (workdir / "results.json").unlink()
    for path in workdir.glob("checkpoints/ckpt-*"):
        number, _, rest = path.name.removeprefix("ckpt-").partition(".")
        if number == "30":
            path.unlink()
        elif number == "20":
            path.rename(path.with_name(f"ckpt-25.{rest}"))
    with pytest.raises(mnist_lib.errors.CheckpointError, match="ckpt-25 holds step 20"):
        _train(workdir, small_dataset)


def test_best_is_asked_of_the_folder(finished, small_dataset, tmp_path):
    assert mnist_lib.load_model(finished[0], "best").count_params() > 0
    workdir = tmp_path / "run"
    shutil.copytree(finished[0], workdir)
    shutil.rmtree(workdir / "best")
    with pytest.raises(mnist_lib.errors.ConfigError, match=r"checkpoint: .* has no best"):
        mnist_lib.load_model(workdir, "best")


def test_a_run_leaves_no_socket_open(small_dataset, tmp_path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with interruption.stop_on_signal():
            pass
        gc.collect()
    assert [w for w in caught if issubclass(w.category, ResourceWarning)] == []


def test_a_folder_that_cannot_be_made_during_a_save_is_named(small_dataset, tmp_path):
    model = mnist_lib.build_model("linear")
    optimizer = mnist_lib.build_optimizer("sgd", 0.1)
    optimizer.build(model.trainable_variables)
    checkpoint = checkpoints.checkpoint_of(model, optimizer, tf.Module())
    (tmp_path / "file").write_text("")
    folder = checkpoints.CheckpointDirectory(tmp_path / "file" / "checkpoints", checkpoint)
    with pytest.raises(mnist_lib.errors.StorageError, match="could not be written") as caught:
        folder.save(1)
    assert caught.value.exit_code == 74


def test_the_best_stays_until_it_is_beaten(small_dataset, tmp_path, monkeypatch):
    """Killed after its best validation, and resumed from before it: what was best is kept."""
    workdir = tmp_path / "run"
    dictated: list[int] = []
    best_is_as_before: list[bool] = []
    best: dict = {}

    def evaluate(self, split):
        best_is_as_before.append(_contents(workdir / "best") == best)
        correct = dictated.pop(0) if dictated else 0  # the test comes last
        return mnist_lib.EvalMetrics(1.0, np.array([[correct, 100 - correct], [0, 0]]))

    monkeypatch.setattr(mnist_lib.Evaluator, "evaluate", evaluate)
    dictated += [50, 90, 70]
    _train(workdir, small_dataset)
    best = _contents(workdir / "best")
    assert "ckpt-20.index" in {path.name for path in best}
    (workdir / "results.json").unlink()
    for path in workdir.glob("checkpoints/ckpt-[23]0*"):
        path.unlink()
    best_is_as_before.clear()
    dictated += [60, 70]
    _train(workdir, small_dataset)
    assert best_is_as_before == [True] * 3
    assert _contents(workdir / "best") == best
