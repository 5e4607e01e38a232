"""The benchmark's bookkeeping. It asserts on no time: only that all have learned."""

import ast
import dataclasses
import graphlib
import json
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest

import mnist_lib
from mnist_lib import runtime

ROOT = pathlib.Path(__file__).parent.parent
sys.path.append(str(ROOT))  # benchmarks/ is not installed

from benchmarks import (  # noqa: E402
    arrays,
    comparison,
    contenders,
    input_cost,
    ours,
    overhead,
    page,
    settings,
    settings_cost,
    startup,
    suite,
    summaries_cost,
    tables,
    tasks,
    terminal,
    time_to_accuracy,
    turns,
    workers,
)


def _skip_unless_installed(*names: str) -> None:
    _, left_out = contenders.installed(names)
    if left_out:
        pytest.skip("; ".join(f"{name}: {reason}" for name, reason in left_out.items()))


def _python(code: str, *arguments: str) -> str:
    """Returns what a new Python process prints, which finds the benchmark where it lies."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


def _turn_result(slower_by: float, loss: float = 0.1) -> dict:
    return {
        "description": "a loop",
        "milliseconds_per_step": 5 * slower_by,
        "milliseconds_range": [4.5 * slower_by, 6 * slower_by],
        "images_per_second": 25_600 / slower_by,
        "slower_by": slower_by,
        "slower_by_range": [0.9 * slower_by, 1.2 * slower_by],
        "loss": loss,
        "first_step_seconds": 0.8,
        "peak_memory_mb": 700.4,
        "others_cores": 0.04,
    }


@pytest.fixture
def report() -> dict:
    """A report as `measure` returns it, of numbers that are easy to find again."""
    setting = {
        "dataset": "mnist",
        "model": "mlp",
        "batch_size": 128,
        "num_rounds": 5,
        "steps_per_round": 150,
    }
    results = {"mirrored": _turn_result(1.0), "fit": _turn_result(2.0)}
    run = {"seconds": 30.0, "first_step_seconds": 1.0, "epochs": 3, "accuracy": 0.9912}
    return {
        "environment": {
            "date": "2026-01-02",
            "processor": "a processor",
            "num_cores": 2,
            "load_average": 0.1,
            "system": "Linux",
            "python": "3.11.0",
            "packages": {"keras": "3.15.1"},
        },
        "left_out": {"pytorch": "torch not installed; pip install torch"},
        "train": [
            {"settings": setting | {"batch_size": size}, "results": results} for size in (128, 512)
        ],
        "time_to_accuracy": {
            "dataset": "mnist",
            "target": 0.99,
            "results": {
                "mnist_lib --recipe=cnn": {
                    "seconds": 30.0,
                    "slower_by": 1.0,
                    "runs": [run | {"reached": True}],
                },
                "fit (cnn)": {
                    "seconds": None,
                    "slower_by": None,
                    "runs": [run | {"accuracy": 0.98, "reached": False}],
                },
            },
        },
        "overhead": {
            "dataset": "mnist",
            "model": "cnn",
            "epochs": [
                {
                    "train_seconds": 50.0,
                    "validation": 1.5,
                    "checkpoints": 0.25,
                    "summaries": 0.1,
                    "other": 0.15,
                    "overhead": 0.04,
                }
            ],
        },
        "summaries": [
            {
                "dataset": "mnist",
                "recipe": "cnn",
                "epochs": 2,
                "num_rounds": 4,
                "levels": {
                    "none": {
                        "loop_seconds": 50.0,
                        "slower_by": 1.0,
                        "end_seconds": 0.2,
                        "event_bytes": 0,
                    },
                    "default": {
                        "loop_seconds": 50.6,
                        "slower_by": 1.012,
                        "end_seconds": 4.0,
                        "event_bytes": 3_210_000,
                    },
                },
            }
        ],
        "startup": {
            "import_tensorflow": {"seconds": 4.0, "peak_memory_mb": 300.0},
            "help": {"seconds": 0.2, "peak_memory_mb": 40.0},
            "runs": {
                "mlp": {
                    "seconds": 25.0,
                    "peak_memory_mb": 900.0,
                    "train_seconds": 16.0,
                    "outside_seconds": 9.0,
                }
            },
        },
        "settings": [{"settings": setting, "results": {"as it is": _turn_result(1.0)}}],
        "input": {
            "dataset": "mnist",
            "load_seconds": 0.1,
            "first_batch_seconds": 0.3,
            "peak_memory_mb": 500.0,
            "index_batch_microseconds": {"60000": 20.0, "6000000": 30.0},
        },
    }


@pytest.fixture(scope="module")
def arrays_path(small_dataset, tmp_path_factory) -> str:
    """The small data set in the file that contenders read."""
    path = str(tmp_path_factory.mktemp("arrays") / "arrays.npz")
    np.savez(
        path,
        train_images=small_dataset.train.images,
        train_labels=small_dataset.train.labels,
        validation_images=small_dataset.validation.images,
        validation_labels=small_dataset.validation.labels,
    )
    return path


@pytest.mark.parametrize(
    "name",
    [
        "mirrored",
        *(
            pytest.param(n, marks=pytest.mark.slow)
            for n in ("fit", "orbit", "pytorch", "pytorch_compiled", "jax")
        ),
    ],
)
def test_a_contender_learns_in_a_process_of_its_own(name, arrays_path, tmp_path, monkeypatch):
    _skip_unless_installed(name)
    (tmp_path / "benchmarks.py").write_text("raise ImportError('not this one')")
    monkeypatch.chdir(tmp_path)  # where it is started from does not matter
    task = tasks.Task(name, "linear", 100, arrays_path)
    with workers.running({name: task}) as running:
        first = running[name].train(1)
        last = [running[name].train(6) for _ in range(20)][-1]
        accuracy = running[name].evaluate()
    assert 1.5 < first["loss"] < 4
    assert last["loss"] < 0.75 * first["loss"]
    assert last["peak_memory_mb"] > 100
    assert accuracy > 0.9


def test_pytorch_networks_are_the_library_s():
    _skip_unless_installed("pytorch")
    # In a process of its own: two libraries with threads of their own do not mix well.
    code = (
        "import json; from benchmarks.pytorch_loop import build_network;"
        "print(json.dumps({name: sum(p.numel() for p in build_network(name).parameters())"
        " for name in ('linear', 'mlp', 'lenet5', 'cnn')}))"
    )
    counts = json.loads(_python(code))
    assert counts == {
        name: mnist_lib.build_model(name).count_params() for name in contenders.NETWORKS
    }


def test_jax_networks_are_the_library_s():
    _skip_unless_installed("jax")
    code = (
        "import json, jax, jax.numpy as jnp; from benchmarks.jax_loop import Network;"
        "weights = lambda name: Network(name).init("
        "jax.random.key(0), jnp.zeros([1, 28, 28, 1]), training=False);"
        "print(json.dumps({name: sum(one.size for one in jax.tree.leaves(weights(name)))"
        " for name in ('linear', 'mlp', 'lenet5', 'cnn')}))"
    )
    assert json.loads(_python(code)) == {
        name: mnist_lib.build_model(name).count_params() for name in contenders.NETWORKS
    }


@pytest.mark.slow
def test_contenders_are_compared_and_have_learned(prepared_data):
    options = {"name": prepared_data.name, "data_dir": str(prepared_data.data_dir)}
    names, _ = contenders.installed(contenders.DEFAULT_CONTENDERS)
    compared = comparison.compare(
        names, model="linear", num_rounds=3, steps_per_round=100, data_options=options
    )
    assert compared["settings"]["num_rounds"] == 3
    assert list(compared["results"]) == names
    assert compared["results"]["mirrored"]["slower_by"] == 1
    for result in compared["results"].values():
        assert result["slower_by_range"][0] <= result["slower_by"] <= result["slower_by_range"][1]
        assert result["images_per_second"] == pytest.approx(
            128e3 / result["milliseconds_per_step"], rel=1e-6
        )
        assert result["loss"] < 1.15


@pytest.mark.parametrize("model", contenders.NETWORKS)
def test_ours_is_trained_as_its_peers_are(model):
    """Whatever the recipe of a network says."""
    config = ours.configuration(tasks.Task("mirrored", model, 100, "arrays.npz"))
    assert (config.optimizer, config.learning_rate, config.lr_schedule) == (
        "adam",
        1e-3,
        "constant",
    )
    assert (config.loss, config.label_smoothing, config.augmentation) == (
        "cross_entropy",
        0,
        "none",
    )
    assert (config.beta_1, config.beta_2, config.clip_norm, config.ema_momentum) == (None,) * 4
    assert (config.model, config.batch_size, config.strategy) == (model, 100, "mirrored")


@pytest.mark.slow
def test_settings_are_timed_in_turn(prepared_data, monkeypatch):
    options = {"name": prepared_data.name, "data_dir": str(prepared_data.data_dir)}
    chosen = {name: settings.VARIANTS[name] for name in list(settings.VARIANTS)[:2]}
    monkeypatch.setattr(settings, "VARIANTS", chosen)
    measured = settings_cost.measure_settings(
        model="linear", num_rounds=1, steps_per_round=20, data_options=options
    )
    assert list(measured["results"]) == list(chosen)
    assert measured["results"]["as the scripts set it"]["slower_by"] == 1


@pytest.mark.slow
def test_input_is_measured(prepared_data):
    options = {"name": prepared_data.name, "data_dir": str(prepared_data.data_dir)}
    measured = input_cost.measure_input(options, num_batches=10)
    assert measured["dataset"] == prepared_data.name
    assert 0 < measured["load_seconds"] < measured["first_batch_seconds"]
    assert set(measured["index_batch_microseconds"]) == {"60000", "6000000"}


@pytest.mark.slow
def test_recipes_train_until_they_are_accurate(prepared_data):
    options = {"name": prepared_data.name, "data_dir": str(prepared_data.data_dir)}
    measured = time_to_accuracy.measure_time_to_accuracy(
        ["linear"], [], target=0.8, data_options=options
    )
    (result,) = measured["results"].values()
    (run,) = result["runs"]
    assert run["reached"]
    assert run["accuracy"] >= 0.8
    assert 0 < run["first_step_seconds"] < run["seconds"] == result["seconds"]


@pytest.mark.slow
def test_overhead_is_measured_in_a_whole_run(prepared_data):
    options = {"name": prepared_data.name, "data_dir": str(prepared_data.data_dir)}
    measured = overhead.measure_overhead("linear", options)
    assert len(measured["epochs"]) == 2
    for epoch in measured["epochs"]:
        assert min(epoch.values()) >= 0
        assert epoch["validation"] > 0
        assert epoch["checkpoints"] > 0


@pytest.mark.slow
def test_each_level_of_summaries_has_its_turn(prepared_data):
    options = {"name": prepared_data.name, "data_dir": str(prepared_data.data_dir)}
    measured = summaries_cost.measure_summaries(
        "linear", epochs=1, num_rounds=1, data_options=options
    )
    levels = measured["levels"]
    assert list(levels) == ["none", "scalars", "default"]
    assert levels["none"]["slower_by"] == 1
    assert all(level["loop_seconds"] > 0 < level["end_seconds"] for level in levels.values())
    sizes = [level["event_bytes"] for level in levels.values()]
    assert 0 == sizes[0] < sizes[1] < sizes[2] / 2


def test_unknown_contenders_are_refused():
    with pytest.raises(
        mnist_lib.errors.ConfigError, match="contenders: 'theano' is not one of mirrored"
    ):
        comparison.compare(["mirrored", "theano"])
    with pytest.raises(mnist_lib.errors.ConfigError, match="name at least one of mirrored"):
        comparison.compare([])


@pytest.fixture
def absent(monkeypatch) -> contenders.Contender:
    """A contender that needs a package which nobody has."""
    contender = contenders.Contender("?", "ours", ("no_such_package",), "pip install no-such")
    monkeypatch.setitem(contenders.CONTENDERS, "absent", contender)
    return contender


def test_what_is_not_installed_is_left_out_with_a_reason(absent):
    present, left_out = contenders.installed(["fit", "absent"])
    assert present == ["fit"]
    assert left_out == {"absent": "no_such_package not installed; pip install no-such"}


def test_what_is_named_must_be_installed(absent):
    message = "contenders: absent: no_such_package not installed; pip install no-such"
    with pytest.raises(mnist_lib.errors.ConfigError, match=message):
        comparison.compare(["mirrored", "absent"])


def test_more_steps_than_an_epoch_are_refused():
    with pytest.raises(
        mnist_lib.errors.ConfigError, match="steps_per_round: 500 of 128 images are more"
    ):
        comparison.compare(["mirrored"], steps_per_round=500)


def test_what_cannot_be_timed_is_refused_whatever_the_number_of_steps():
    for measure in (
        lambda **options: comparison.compare(["mirrored"], **options),
        settings_cost.measure_settings,
    ):
        with pytest.raises(mnist_lib.errors.ConfigError, match="model: 'fast_cnn' is not one of"):
            measure(model="fast_cnn", steps_per_round=5)
        with pytest.raises(mnist_lib.errors.ConfigError, match="batch_size: 0 must be at least 1"):
            measure(batch_size=0, steps_per_round=5)


def test_unknown_recipes_are_refused():
    for measure in (
        lambda names: time_to_accuracy.measure_time_to_accuracy(names, []),
        lambda names: startup.measure_startup([], names),
    ):
        with pytest.raises(mnist_lib.errors.ConfigError, match="recipes: 'slow' is not one of"):
            measure(["cnn", "slow"])


def test_who_has_not_learned_is_named():
    comparison.check_learned({"mirrored": 0.2, "fit": 0.3})
    comparison.check_learned({"mirrored": 0.2, "fit": 0.01})
    with pytest.raises(
        mnist_lib.errors.MnistLibError, match="fit has not learned: its training loss is "
    ):
        comparison.check_learned({"mirrored": 0.2, "fit": 0.4})
    with pytest.raises(mnist_lib.errors.MnistLibError, match="mirrored has not learned"):
        comparison.check_learned({"mirrored": 2.3, "fit": 2.3})
    with pytest.raises(mnist_lib.errors.MnistLibError, match="fit has not learned"):
        comparison.check_learned({"mirrored": 0.2, "fit": float("nan")})


def test_a_worker_that_fails_shows_its_messages(tmp_path):
    task = tasks.Task("fit", "linear", 100, str(tmp_path / "missing.npz"))
    with (
        pytest.raises(
            mnist_lib.errors.MnistLibError, match=r"(?s)fit ended with exit code 1.*missing.npz"
        ),
        workers.running({"fit": task}),
    ):
        pass


class _Crashes:
    """Stands for what is measured: the process of `contender` is killed the first `times` times."""

    def __init__(self, contender: str, times: int, arrays_path):
        self._task = tasks.Task(contender, "linear", 100, str(arrays_path))
        self._times = times
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        with workers.running({"it": self._task}) as running:
            if self.calls <= self._times:
                running["it"]._process.send_signal(signal.SIGSEGV)
                running["it"].train(1)
        return "measured"


@pytest.mark.slow
def test_a_comparison_is_made_again_if_a_peer_crashes(arrays_path, caplog):
    """Keras `fit` under MirroredStrategy does, seldom (docs/benchmark_notes.md)."""
    once = _Crashes("fit", 1, arrays_path)
    with caplog.at_level("WARNING", logger="mnist_lib.benchmarks"):
        assert workers.again_if_a_peer_crashes(once) == "measured"
    assert once.calls == 2
    assert "it was ended by Segmentation fault" in caplog.text


def test_what_always_crashes_and_what_is_ours_are_errors(arrays_path, monkeypatch):
    monkeypatch.setattr(workers, "_command", lambda *_: [sys.executable, "-c", "input()"])
    monkeypatch.setattr(workers.Worker, "wait_until_ready", lambda self: None)
    always = _Crashes("fit", 99, arrays_path)
    with pytest.raises(workers.PeerCrashError, match="it was ended by Segmentation fault"):
        workers.again_if_a_peer_crashes(always)
    assert always.calls == 3
    ours_once = _Crashes("mirrored", 1, arrays_path)
    with pytest.raises(mnist_lib.errors.MnistLibError, match="it was ended by Segmentation fault"):
        workers.again_if_a_peer_crashes(ours_once)
    assert ours_once.calls == 1


def test_ratios_are_taken_within_rounds_and_the_quietest_are_chosen():
    def turn(seconds, others):
        return {"seconds": seconds, "others_cores": others}

    rounds = [
        {"a": turn(1.0, 0.0), "b": turn(2.0, 0.1)},
        {"a": turn(1.0, 0.9), "b": turn(9.0, 0.0)},
        {"a": turn(3.0, 0.0), "b": turn(12.0, 0.0)},
    ]
    chosen = turns.quietest(rounds, 2)
    assert chosen == [rounds[2], rounds[0]]
    result = turns.summary(chosen, "b", "a", num_steps=100, batch_size=50)
    assert result["slower_by"] == 3
    assert result["slower_by_range"] == [2, 4]
    assert result["milliseconds_per_step"] == 70
    assert result["milliseconds_range"] == [20, 120]
    assert result["images_per_second"] == pytest.approx(50 / 0.07)
    assert result["others_cores"] == 0.1


def test_fit_walks_through_each_epoch(arrays_path):
    from benchmarks import keras_fit

    loop = keras_fit.start(tasks.Task("fit", "linear", 100, arrays_path))
    chosen = [loop._next_images(num_steps) for num_steps in (1, 5, 4, 4)]
    assert chosen == [slice(0, 100), slice(100, 600), slice(0, 400), slice(0, 400)]
    loop._batch_size = 128  # the fifth batch of 600 images is smaller
    chosen = [loop._next_images(num_steps) for num_steps in (5, 1, 4)]
    assert chosen == [slice(0, 640), slice(0, 128), slice(128, 640)]


def test_epochs_end_where_the_recipe_ends(arrays_path):
    plans = time_to_accuracy.make_plans(
        ["cnn"], ["fit"], arrays_path, num_train=600, max_epochs=2, seed=3
    )
    ours, fit = plans["mnist_lib --recipe=cnn"], plans["fit (cnn)"]
    assert ours.epoch_ends == [5, 10, 15, 20, 24]  # 5 epochs of 600 are 23.4 steps of 128
    assert fit.epoch_ends == [5, 10]
    assert (ours.task.seed, ours.task.recipe) == (3, "cnn")


def test_time_between_the_parts_counts_as_overhead():
    calls = [
        ("train", 0, 4),
        ("summaries", 4, 5),
        ("train", 5, 9),
        ("validation", 9, 10),
        ("checkpoints", 10, 12),
        ("train", 13, 17),
        ("train", 17, 21),
        ("validation", 21, 23),
        ("checkpoints", 23, 24),
        ("validation", 24, 30),  # the test
        ("summaries", 30, 31),
    ]
    first, second = overhead.divide_into_epochs(calls)
    assert first == {
        "train_seconds": 8,
        "validation": 1,
        "checkpoints": 2,
        "summaries": 1,
        "other": 1,
        "overhead": 5 / 8,
    }
    assert second["train_seconds"] == 8
    assert second["overhead"] == pytest.approx(3 / 8)
    assert second["other"] == 0


def test_settings_are_applied_and_recorded():
    variants = [name for name in settings.VARIANTS if "deterministic" not in name]
    code = (
        "import json, sys; from mnist_lib import runtime; from benchmarks import settings;"
        "settings.apply(json.loads(sys.argv[1])); import tensorflow;"
        "print(json.dumps(runtime.applied_settings()))"
    )
    combined = {key: value for name in variants for key, value in settings.VARIANTS[name].items()}
    combined |= {"malloc": ["M_TOP_PAD"]}
    applied = json.loads(_python(code, json.dumps(combined)))
    assert applied["malloc"] == {"M_TOP_PAD": 64 << 20}
    assert applied["environment"]["TF_ENABLE_ONEDNN_OPTS"] == "0"
    assert applied["intra_op_threads"] == applied["inter_op_threads"] == 1
    assert applied["deterministic"] is False


def test_the_library_s_own_settings_are_recorded(monkeypatch):
    for name in ("TF_CPP_MIN_LOG_LEVEL", "TF_FORCE_GPU_ALLOW_GROWTH"):
        monkeypatch.setenv(name, "0")
    runtime.configure_before_tensorflow()
    applied = runtime.applied_settings()
    assert applied["malloc"]["M_TOP_PAD"] == 64 << 20
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"  # what the user said stays
    assert applied["environment"]["TF_FORCE_GPU_ALLOW_GROWTH"] == "0"
    assert "TF_CPP_MIN_LOG_LEVEL" not in applied["environment"]  # changes no number
    assert applied["deterministic"] is True  # as conftest.py has made it
    assert os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] == "0"
    assert isinstance(applied["tensor_float_32"], bool)
    json.dumps(applied)


def test_every_part_of_a_report_has_a_table(report):
    titles = [table.title for table in tables.tables(report)]
    assert titles == [
        "mlp, batch 128 (mnist)",
        "mlp, batch 512 (mnist)",
        "Training until 99% of the validation images (mnist)",
        "Overhead in train_and_evaluate: cnn (mnist), all defaults",
        "Cost of summaries: --recipe=cnn --epochs=2 (mnist)",
        "Whole commands",
        "Settings of the process: mlp, batch 128 (mnist)",
        "Input (mnist)",
    ]
    assert tables.tables({}) == []
    for table in tables.tables(report):
        assert {len(row) for row in table.rows} == {len(table.headings)}


def test_tables_hold_the_numbers(report, capsys):
    report["settings"][0]["results"]["as it is"]["others_cores"] = 0.7
    terminal.print_report(report)
    comparison_table, *_ = tables.tables(report)
    row = ("fit", "10.00", "12,800", "2.00 (1.80 to 2.40)", "0.8", "700", "0.100")
    assert comparison_table.rows[1] == row
    quiet_note, *_, busy_note, _ = (table.note for table in tables.tables(report))
    assert "at most 0.0 cores busy" in quiet_note
    assert "not to be trusted" not in quiet_note
    assert "not to be trusted" in busy_note
    assert "not reached" in capsys.readouterr().out


def test_the_page_says_who_ran_where_and_who_did_not(report):
    text = page.markdown(report, "python scripts/benchmark.py", chart="images/speed.png")
    assert "Made by `python scripts/benchmark.py`. 2026-01-02" in text
    of_all = page.markdown(report, "python scripts/benchmark.py --suite")
    assert "--suite`; `make bench` makes it again. 2026-01-02" in of_all
    assert "2026-01-02, 2 cores of a processor, Linux, Python 3.11.0, keras 3.15.1." in text
    assert "![Time per step of each contender](images/speed.png)" in text
    assert "- `pytorch` is left out: torch not installed; pip install torch" in text
    assert "| fit | 10.00 | 12,800 | 2.00 (1.80 to 2.40) | 0.8 | 700 | 0.100 |" in text
    assert "| 1 | 50.0 | 1.50 | 0.25 | 0.10 | 0.15 | 4.0% |" in text
    assert "| --summaries=default | 50.60 | 1.012 | 4.0 | 3.21 |" in text


def test_notes_written_by_hand_survive(report):
    """They stand on the page as they are, and on the published one."""
    notes = (ROOT / "docs" / "benchmark_notes.md").read_text()
    published = (ROOT / "docs" / "benchmark.md").read_text()
    for text in (published, page.markdown(report, "a command", notes=notes)):
        assert f"\n\n{notes}\nEach contender trains" in text
    assert "\n\nEach contender trains" in page.markdown(report, "a command")
    assert "--notes=docs/benchmark_notes.md" in (ROOT / "Makefile").read_text()


def test_the_chart_is_a_picture(report, tmp_path):
    pytest.importorskip("matplotlib")
    page.write_chart(report, tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_a_request_replaces_the_recipes_of_all_that_trains_recipes():
    request = suite.Request().with_recipes(["lenet5"])
    assert request.time_recipes == request.startup_recipes == ["lenet5"]
    assert dataclasses.replace(request, time_recipes=["cnn"]).startup_recipes == ["lenet5"]


def test_arrays_are_read_as_written(arrays_path, small_dataset):
    data = arrays.read(arrays_path)
    np.testing.assert_array_equal(data.train_images, small_dataset.train.images)
    np.testing.assert_array_equal(data.validation_labels, small_dataset.validation.labels)


_SHOW_FLAGS = (
    "import json, sys; from benchmarks import flags; flags.define(); flags.FLAGS(sys.argv);"
    "print(json.dumps(flags.shown()))"
)


@pytest.mark.parametrize(
    "given",
    [
        ["--manual_dir=/home/me"],
        ["-manual_dir=/home/me"],
        ["--manual_dir", "/home/me"],
        ["-manual_dir", "/home/me"],
        ["--output=/home/me", "-markdown", "/home/me", "--notes", "/home/me", "--chart=/home/me"],
        ["--flagfile=FLAGFILE"],
    ],
    ids=" ".join,
)
def test_the_page_shows_no_path_however_it_was_given(given, tmp_path):
    flagfile = tmp_path / "home"
    flagfile.write_text("--data_dir=/home/me\n")
    given = [argument.replace("FLAGFILE", str(flagfile)) for argument in given]
    shown = json.loads(_python(_SHOW_FLAGS, *given, "-model", "mlp,cnn", "--suite", "--nodownload"))
    assert shown == ["--suite", "--model=mlp,cnn", "--nodownload"]


def test_every_flag_is_shown_or_a_path():
    code = (
        "import json; from benchmarks import flags; before = set(flags.FLAGS); flags.define();"
        "print(json.dumps([sorted(set(flags.FLAGS) - before),"
        " sorted({*flags.SHOWN, *flags.PATHS})]))"
    )
    defined, known = json.loads(_python(code))
    assert defined == known


@pytest.mark.parametrize("start", [["-m", "benchmarks"], [str(ROOT / "scripts" / "benchmark.py")]])
def test_the_command_is_light_and_says_what_is_wrong(start):
    python = [sys.executable, "-X", "importtime"]
    shown = subprocess.run([*python, *start, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert shown.returncode == 0
    assert shown.stdout.startswith("Times the training loop against Keras fit")
    assert "--steps_per_round" in shown.stdout
    imported = {line.split("|")[-1].strip() for line in shown.stderr.splitlines()}
    assert "benchmarks.suite" in imported
    assert not {"tensorflow", "keras", "numpy"} & imported
    for flags, message in (
        (["--measure=speed"], "--measure: 'speed' is not one of train, time_to_accuracy"),
        (["--contenders=theano"], "--contenders: 'theano' is not one of mirrored"),
        (["--measure=startup", "--recipes=slow"], "--recipes: 'slow' is not one of fast"),
        (["--model=vgg"], "--model: 'vgg' is not one of linear"),
        (["--notes=x.md"], "--notes: go into the page of --markdown"),
        (["--notes=x.md", "--markdown=y.md"], "--notes: x.md: No such file"),
    ):
        failed = subprocess.run(
            [sys.executable, *start, *flags], cwd=ROOT, capture_output=True, text=True
        )
        assert failed.returncode == os.EX_USAGE
        assert failed.stderr.splitlines()[-1].startswith(f"error: {message}")


def _imports(sources: dict[str, str]) -> dict[str, set[str]]:
    """Returns which modules of the package each one imports, inside functions too."""
    edges: dict[str, set[str]] = {name: set() for name in sources}
    for module, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                origin = "benchmarks." * bool(node.level) + (node.module or "")
                names = [f"{origin.rstrip('.')}.{alias.name}" for alias in node.names]
            for name in names:
                package, _, rest = name.partition(".")
                if package == "benchmarks":
                    inner = rest.split(".")[0]
                    edges[module].add(inner if inner in sources else "__init__")
    return edges


def _circle(edges: dict[str, set[str]]) -> list[str]:
    try:
        graphlib.TopologicalSorter(edges).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def test_imports_form_no_circle():
    sources = {path.stem: path.read_text() for path in (ROOT / "benchmarks").glob("*.py")}
    edges = _imports(sources)
    # A process imports its contender by name, and processes are started by that of `child`.
    edges["child"] |= {contender.module for contender in contenders.CONTENDERS.values()}
    assert {"flags", "page", "suite"} <= edges["command"]
    assert _circle(edges) == []
    assert "child" not in set().union(*edges.values())
    assert edges["__init__"] == set()


@pytest.mark.parametrize(
    "planted",
    [
        "from benchmarks import b",
        "def f():\n    import benchmarks.b",
        "def f():\n    from benchmarks.b import g",
        "from . import b",
        "from .b import g",
        "import benchmarks",
    ],
)
def test_a_planted_circle_is_found(planted):
    sources = {
        "__init__": "from benchmarks.b import g",
        "a": planted,
        "b": "from benchmarks import a",
    }
    assert set(_circle(_imports(sources))) >= {"a", "b"}
