"""Studies: their plan, their statistics, and processes that are stopped, fail and go on."""

import contextlib
import json
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import time

import held_runs
import numpy as np
import pytest
from script_runs import data_flags, newest_step, results_of

import mnist_lib
from mnist_lib import errors, locks
from mnist_lib.runs import run_directory
from mnist_lib.studies import (
    plan,
    process_starter,
    requests,
    run_processes,
    shares,
    study,
    study_results,
)

FIRST = (0.9912, 0.9905, 0.9921, 0.9917, 0.9909)
SECOND = (0.9899, 0.9901, 0.9913, 0.9907, 0.9906)


def _request(**options) -> requests.StudyRequest:
    given = {
        "recipe_name": "linear",
        "fields": {"dataset": "mnist"},
        "vary": {"optimizer": ["adam", "sgd"]},
        "seeds": [0, 1],
        "command": "study ...",
    }
    return requests.StudyRequest(**given | options)


def _plan(top, **options) -> list[plan.PlannedRun]:
    return plan.plan_runs(top, _request(**options))


def _results(validation, test) -> dict:
    """What `results.json` of a run holds that a study reads."""
    return {
        "step": 1,
        "num_parameters": 7850,
        "validation": {"accuracy": validation},
        "test": {"accuracy": test},
        "timing": {"startup_seconds": 1.5, "train_seconds": 2.5},
    }


@pytest.mark.parametrize(
    ("text", "seeds"), [("0:3", [0, 1, 2]), ("7:8", [7]), ("5", [5]), ("3,5,8", [3, 5, 8])]
)
def test_seeds_are_read(text, seeds):
    assert plan.read_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "3:3", "4:2", "a", "1,1", "1,", "0:2:1", "-1", "1.5"])
def test_what_is_no_seeds_is_refused(text):
    with pytest.raises(errors.ConfigError, match=r"^seeds: "):
        plan.read_seeds(text)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("optimizer=adam,sgd", ("optimizer", ["adam", "sgd"])),
        ("learning_rate=1e-3,3e-3", ("learning_rate", [0.001, 0.003])),
        ("batch_size=64,128", ("batch_size", [64, 128])),
        ("jit_compile=true,false", ("jit_compile", [True, False])),
        ("ema_momentum=none,0.99", ("ema_momentum", [None, 0.99])),
        ("augmentation=none,affine", ("augmentation", ["none", "affine"])),
    ],
)
def test_fields_to_vary_are_read_by_their_kind(text, read):
    assert plan.read_vary(text) == read


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("optimiser=adam", "'optimiser' is not one of"),
        ("optimizer", "has no values"),
        ("batch_size=64,1.5", "batch_size=1.5 is not of the kind int"),
        ("jit_compile=yes", "jit_compile=yes is not true or false"),
        ("learning_rate=0.1,1e-1", "has a value twice"),
    ],
)
def test_what_cannot_be_varied_is_refused(text, words):
    with pytest.raises(errors.ConfigError, match=rf"^vary: .*{words}"):
        plan.read_vary(text)


def test_each_setting_is_planned_with_each_seed_in_its_own_folder(tmp_path):
    planned = _plan(tmp_path, vary={"optimizer": ["adam", "sgd"], "learning_rate": [0.1, 0.2]})
    assert len(planned) == 8
    first = planned[0]
    assert first.path == tmp_path / "optimizer=adam,learning_rate=0.1" / "seed-0"
    assert first.config == mnist_lib.recipe(
        "linear", dataset="mnist", optimizer="adam", learning_rate=0.1, seed=0
    )
    assert [run.config.seed for run in planned] == [0] * 4 + [1] * 4
    assert len({run.path for run in planned}) == 8
    (alone,) = _plan(tmp_path, vary={}, seeds=[3])
    assert alone.path == tmp_path / "linear" / "seed-3"
    of_models = _plan(tmp_path, recipe_name=None, vary={"model": ["linear", "lenet5"]})
    assert [run.config.epochs for run in of_models[:2]] == [20, 10]  # each by its own recipe
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_planned_is_refused(tmp_path):
    for options, words in (
        ({"fields": {"optimizer": "adam"}}, "vary: optimizer is given, too"),
        ({"vary": {"seed": [1, 2]}}, "vary: seed is not varied: name seeds by seeds"),
        ({"vary": {"data_dir": ["a", "b"]}}, "vary: data_dir is not varied: no result depends"),
        ({"vary": {"optimizer": ["adam", "adagrad"]}}, "optimizer: 'adagrad' is not one of"),
        ({"vary": {"init_from": ["a b", "a/b"]}}, "vary: two settings would have one folder"),
        ({"seeds": range(6000)}, "seeds: more than 10000 runs"),
        ({"fields": {}, "vary": {"dataset": ["mnist", "kmnist"]}}, "vary: dataset .* a study of"),
        ({"fields": {"train_steps": 9}, "vary": {"epochs": [1, 5]}}, "vary: epochs and train_"),
        ({"fields": {"epochs": 3, "train_steps": 9}}, "train_steps: epochs and train_steps both"),
        ({"vary": {"label_smoothing": [0.0, -0.0]}}, "vary: .*=0.0 and .*=-0.0 are the same"),
    ):
        with pytest.raises(errors.ConfigError, match=words):
            _plan(tmp_path, **options)


def test_a_folder_of_another_study_is_refused_and_more_seeds_are_not(tmp_path):
    run = _plan(tmp_path)[0]
    run.path.mkdir(parents=True)
    run_directory.RunDirectory(run.path).write_config(run.config)
    assert len(_plan(tmp_path, seeds=range(5))) == 10
    assert _plan(tmp_path, fields={})[0].path == run.path  # auto is what it was
    with pytest.raises(errors.ConfigError, match="with batch_size 128, and 64 is asked for"):
        _plan(tmp_path, fields={"dataset": "mnist", "batch_size": 64})


def test_a_study_is_not_mixed_with_another_in_its_folder(tmp_path):
    requests.write_request(tmp_path, _request())
    other = {"recipe_name": "lenet5"}
    _plan(tmp_path, **other)  # nothing was begun
    run = _plan(tmp_path)[0]
    run.path.mkdir(parents=True)
    run_directory.RunDirectory(run.path).write_config(run.config)
    for options, words in (
        (other, r"a study of recipe linear \(study \.\.\.\)"),
        ({"vary": {}}, "a study of vary optimizer "),
        ({"fields": {"batch_size": 64}, "seeds": [7]}, "a study of no batch_size named"),
    ):
        with pytest.raises(errors.ConfigError, match=f"workdir: .* holds {words}"):
            _plan(tmp_path, **options)
    goes_on = {"vary": {"optimizer": ["sgd", "rmsprop"]}, "seeds": [7], "fields": {}}
    assert len(_plan(tmp_path, **goes_on, recipe_name="linear")) == 2
    (tmp_path / "plan.json").write_text("{")
    assert len(_plan(tmp_path)) == 4


def test_seeds_are_added_to_those_there_are():
    asked = _request(seeds=[0, 1], command="mnist-lib study --seeds=0:2 --vary=optimizer=adam,sgd")
    more = asked.with_more_seeds([1, 2])
    assert more.seeds == [0, 1, 2]
    assert more.command == "mnist-lib study --seeds=0:3 --vary=optimizer=adam,sgd"
    assert "--seeds=0,1,9 " in asked.with_more_seeds([9]).command
    assert asked.with_more_seeds([0]) == asked


def test_what_a_study_is_asked_for_is_kept_for_the_next_command(tmp_path):
    assert requests.read_request(tmp_path) is None
    asked = _request(vary={"learning_rate": [0.001, 0.003], "ema_momentum": [None, 0.99]})
    requests.write_request(tmp_path, asked)
    assert requests.read_request(tmp_path) == asked
    kept = json.loads((tmp_path / "plan.json").read_text())
    for changes, words in (
        ({"seeds": []}, "its seeds cannot be"),
        ({"seeds": [True]}, "its seeds cannot be"),
        ({"vary": {"dropout": 0.5}}, "its dropout cannot be"),
        ({"fields": []}, "its fields cannot be"),
        ({"recipe_name": 3}, "its recipe_name cannot be"),
        ({"more": 1}, "unexpected keyword argument 'more'"),
    ):
        (tmp_path / "plan.json").write_text(json.dumps(kept | changes))
        with pytest.raises(errors.CorruptDataError, match=rf"plan\.json: .*{words}"):
            requests.read_request(tmp_path)


def test_mean_deviation_and_interval_are_those_of_statsmodels():
    """`DescrStatsW` of statsmodels 0.15.0: mean, n - 1, `tconfint_mean(0.05)`."""
    found = study_results.sample(FIRST)
    assert found.mean == pytest.approx(0.99128, rel=1e-12)
    assert found.standard_deviation == pytest.approx(0.0006340346993658789, rel=1e-9)
    assert found.interval == pytest.approx((0.9904927419401853, 0.9920672580598145), rel=1e-12)
    alone = study_results.sample([0.99])
    assert (alone.mean, alone.standard_deviation, alone.interval) == (0.99, None, None)


def test_differences_are_those_of_statsmodels_over_the_same_seeds():
    """`DescrStatsW` of the differences in statsmodels 0.15.0: `tconfint_mean`, `ttest_mean`."""
    (found,) = study_results.paired_differences("test", {"a": FIRST, "b": SECOND})
    assert (found.split, found.first, found.second) == ("test", "a", "b")
    assert found.difference == pytest.approx(0.00076, rel=1e-9)
    assert found.interval == pytest.approx(
        (0.00024355135704768075, 0.0012764486429523295), rel=1e-9
    )
    assert found.p_value == pytest.approx(0.01502694572414304, rel=1e-9)
    assert found.corrected_p_value == found.p_value
    three = study_results.paired_differences("test", {"a": FIRST, "b": SECOND, "c": FIRST})
    assert [one.p_value for one in three] == [
        found.p_value,
        None,  # the same at all seeds
        pytest.approx(found.p_value),
    ]
    assert [one.corrected_p_value for one in three] == pytest.approx(
        [3 * found.p_value, None, 3 * found.p_value]  # the one without a test counts
    )
    assert study_results.paired_differences("test", {"a": [0.5], "b": [0.6]}) == []


def test_seeds_are_summed_up_as_the_statsmodels_that_is_installed_does():
    weightstats = pytest.importorskip("statsmodels.stats.weightstats")
    random = np.random.default_rng(0)
    for size in (2, 3, 10, 30):
        first, second = random.normal(0.99, 0.001, (2, size))
        described = weightstats.DescrStatsW(first)
        found = study_results.sample(first.tolist())
        deviation = described.std * (size / (size - 1)) ** 0.5  # its own divides by n
        assert (found.mean, found.standard_deviation) == pytest.approx((described.mean, deviation))
        assert found.interval == pytest.approx(described.tconfint_mean(0.05))
        described = weightstats.DescrStatsW(first - second)
        (pair,) = study_results.paired_differences("test", {"a": first, "b": second})
        assert pair.interval == pytest.approx(described.tconfint_mean(0.05))
        assert pair.p_value == pytest.approx(described.ttest_mean(0)[1])


def _work(run) -> None:
    """What a run's process does here: as `behaviour` in its study says, or what a run leaves."""
    folder = run.path
    assert (folder / "config.json").exists()
    with (folder / "begun").open("a") as stream:
        stream.write(os.environ.get("CUDA_VISIBLE_DEVICES", "x"))
    told = json.loads((folder.parents[1] / "behaviour").read_text())
    behaviour = told.get(run.name, "finish")
    if behaviour == "stop":
        sys.exit(75)
    if behaviour == "fail":
        print("error: planted")
        sys.exit(70)
    if behaviour == "stop the study":  # once those that wait are at it
        num_waiting = [*told.values()].count("wait")
        deadline = time.monotonic() + 60
        while len([*folder.parents[1].glob("*/*/waits")]) < num_waiting:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(told["study"], signal.SIGTERM)
    if behaviour in ("wait", "stop the study"):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
        (folder / "waits").touch()
        time.sleep(600)
    accuracy = 0.9 + 0.01 * run.config.seed + 0.001 * len(run.setting)
    results = _results(accuracy, accuracy + 0.002 * run.config.seed)
    (folder / "results.json").write_text(json.dumps(results))


def _how(top, behaviours=(), **options) -> process_starter.ProcessPlan:
    told = dict(behaviours) | {"study": os.getpid()}
    (top / "behaviour").write_text(json.dumps(told))
    return process_starter.ProcessPlan(_work, preload=[__name__], **options)


def _num_begun(run) -> int:
    begun = run.path / "begun"
    return len(begun.read_text()) if begun.exists() else 0


def test_all_runs_are_finished_and_finished_ones_are_not_repeated(tmp_path):
    planned = _plan(tmp_path)
    assert study.forecast(planned, 1) == (
        "4 runs: 0 finished, 0 stopped, 4 to do\n"
        "How long is not known until one of them is finished."
    )
    results = study.finish(planned, tmp_path, _how(tmp_path, jobs=3), _request())
    assert [_num_begun(run) for run in planned] == [1] * 4
    assert json.loads((tmp_path / "study.json").read_text()) == json.loads(
        json.dumps(results.to_dict())
    )
    assert (results.command, results.dataset) == ("study ...", "mnist")
    adam, sgd = results.settings
    assert (adam.setting, adam.seeds, adam.train_seconds) == ("optimizer=adam", (0, 1), 2.5)
    assert adam.folders == ("optimizer=adam/seed-0", "optimizer=adam/seed-1")
    assert (adam.model, adam.num_parameters, adam.num_train) == ("linear", 7850, 55_000)
    assert adam.validation.accuracies == pytest.approx((0.914, 0.924))
    assert sgd.test.accuracies == pytest.approx((0.913, 0.925))
    assert sgd.test.lowest == pytest.approx(0.913)
    assert [one.split for one in results.differences] == ["validation", "test"]
    more = _plan(tmp_path, seeds=[0, 1, 2])
    assert study.forecast(more, 2) == (
        "6 runs: 4 finished, 0 stopped, 2 to do\n"
        "About 4 s: 4.0 s of start-up and training each, as in the finished ones, 2 at a time"
    )
    study.finish(more, tmp_path, _how(tmp_path), _request())
    assert [_num_begun(run) for run in more] == [1] * 6
    assert study.forecast(more, 2).endswith("\nNothing is left to train.")


def test_a_study_is_of_one_data_set_whichever_auto_has_meant(tmp_path, caplog):
    """Where MNIST is not at hand, synthetic digits stand in; later it may be."""
    digits = "synthetic_digits"
    of_digits = _plan(tmp_path, fields={"dataset": digits})
    study.finish(of_digits, tmp_path, _how(tmp_path), _request(fields={"dataset": digits}))
    auto = _request(fields={}, seeds=[2, 3])
    with caplog.at_level("WARNING", logger="mnist_lib"):
        results = study.finish(plan.plan_runs(tmp_path, auto), tmp_path, _how(tmp_path), auto)
    assert results.dataset == digits
    assert caplog.text.count("THIS IS NOT MNIST") == 1
    planned = plan.plan_runs(tmp_path, auto)
    assert {run.config.dataset for run in study.on_one_data_set(planned, tmp_path)} == {digits}
    of_mnist = _plan(tmp_path, seeds=[4])
    with pytest.raises(errors.ConfigError, match=r"^workdir: .*seed-0 is of synthetic_digits, and"):
        study.finish(of_mnist, tmp_path, _how(tmp_path), _request(seeds=[4]))
    assert not any(run.path.exists() for run in of_mnist)
    # Two tasks of an array may begin at once, each with what it finds.
    run_processes.run_all(of_mnist, tmp_path, _how(tmp_path), _request(seeds=[4]))
    with pytest.raises(errors.ConfigError, match=r"is of synthetic_digits, and .* of mnist"):
        study_results.collect([*of_digits, *of_mnist])
    with pytest.raises(errors.ConfigError, match="and this study of"):
        study.on_one_data_set(_plan(tmp_path, fields={}), tmp_path)
    damaged = _plan(tmp_path / "other", vary={"optimizer": ["adamw"]})[0].path
    damaged.mkdir(parents=True)
    (damaged / "config.json").write_text("{")  # of a setting that nobody asks for now
    found = study.on_one_data_set(_plan(tmp_path / "other"), tmp_path / "other")
    assert {run.config.dataset for run in found} == {"mnist"}


def test_tasks_of_an_array_do_their_shares_and_the_last_one_makes_the_table(tmp_path):
    planned = _plan(tmp_path, seeds=[0, 1, 2])
    for index in (1, 0):
        share = shares.RunShare(index, 2)
        results = study.finish(planned, tmp_path, _how(tmp_path, share=share, jobs=3), _request())
        assert (results is None) == (not (tmp_path / "study.json").exists()) == (index == 1)
        done = [_num_begun(run) for run in planned]
        assert done == ([0, 1] * 3 if index else [1] * 6)
    assert len(results.settings[0].test.accuracies) == 3


def test_each_process_at_once_has_a_gpu_of_its_own(tmp_path):
    """Names only: what is under test is which process is told which of them."""
    planned = _plan(tmp_path)
    waiting = {run.name: "wait" for run in planned}
    waiting[planned[2].name] = "stop the study"
    with pytest.raises(errors.RunInterruptedError):
        study.finish(
            planned, tmp_path, _how(tmp_path, waiting, jobs=4, gpus=["A", "B", "C"]), _request()
        )
    given = [(run.path / "begun").read_text() for run in planned]
    assert given == ["A", "B", "C", "A"]
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_a_run_that_fails_is_named_after_the_others_are_finished(tmp_path):
    planned = _plan(tmp_path)
    bad = planned[0]
    with pytest.raises(errors.StudyError) as caught:
        study.finish(planned, tmp_path, _how(tmp_path, {bad.name: "fail"}), _request())
    assert f"{bad.name} ended with exit code 70 (error: planted). " in str(caught.value)
    assert [run.is_finished for run in planned] == [False, True, True, True]
    assert not (tmp_path / "study.json").exists()
    study.finish(planned, tmp_path, _how(tmp_path), _request())
    assert [_num_begun(run) for run in planned] == [2, 1, 1, 1]


def test_a_failure_weighs_more_than_a_stop(tmp_path):
    planned = _plan(tmp_path)
    behaviours = {planned[0].name: "stop", planned[2].name: "stop"}
    with pytest.raises(errors.RunInterruptedError, match=r"code 75 .*; 1 others did not finish"):
        study.finish(planned, tmp_path, _how(tmp_path, behaviours), _request())
    behaviours[planned[3].name] = "fail"
    (planned[3].path / "results.json").unlink()
    with pytest.raises(errors.StudyError, match=r"ended with exit code 70 .*; 2 others did not"):
        study.finish(planned, tmp_path, _how(tmp_path, behaviours), _request())


def test_an_error_of_the_study_ends_what_runs(tmp_path):
    """Else they would go on without anybody who knows of them, and this process wait for them."""
    planned = _plan(tmp_path)
    (planned[1].path).mkdir(parents=True)
    (planned[1].path / "config.json").write_text("{")
    with pytest.raises(errors.CorruptDataError, match=r"config\.json"):
        run_processes.run_all(
            planned, tmp_path, _how(tmp_path, {planned[0].name: "wait"}, jobs=2), _request()
        )
    assert (planned[0].path / "config.json").exists()  # it had been started
    assert multiprocessing.active_children() == []
    assert not planned[0].is_finished


def test_a_run_that_goes_on_elsewhere_is_left_there(tmp_path, monkeypatch):
    planned = _plan(tmp_path)
    monkeypatch.setattr(run_processes, "_SECONDS_TO_END", 0.1)
    has_state = plan.PlannedRun.has_state
    monkeypatch.setattr(
        plan.PlannedRun,
        "has_state",
        lambda run, state: run is planned[1] or has_state(run, state),
    )
    with pytest.raises(errors.RunInterruptedError, match=r"code 75 .*it said nothing"):
        run_processes.run_all(planned, tmp_path, _how(tmp_path), _request())
    assert [run.is_finished for run in planned] == [True, False, True, True]
    assert not (planned[1].path / "begun").exists()


def test_a_signal_stops_what_runs_and_starts_nothing_more(tmp_path):
    planned = _plan(tmp_path)
    waiting, late = planned[1:3]
    behaviours = {waiting.name: "wait", late.name: "stop the study"}
    with pytest.raises(errors.RunInterruptedError, match="stopped by SIGTERM, 1 of 4 runs are"):
        study.finish(planned, tmp_path, _how(tmp_path, behaviours, jobs=2), _request())
    assert [run.is_finished for run in planned] == [True, False, False, False]
    assert (_num_begun(waiting), _num_begun(planned[3])) == (1, 0)
    study.finish(planned, tmp_path, _how(tmp_path, jobs=2), _request())
    assert [_num_begun(run) for run in (planned[0], waiting, planned[3])] == [1, 2, 1]


@pytest.mark.parametrize(
    ("held", "share"),
    [
        (".lock", shares.RunShare()),
        (".lock", shares.RunShare(1, 3)),
        (".lock-2-of-3", shares.RunShare()),
        (".lock-2-of-3", shares.RunShare(2, 3)),
        (".lock-2-of-3", shares.RunShare(0, 4)),
    ],
)
def test_a_study_that_another_process_works_on_is_refused(tmp_path, held, share):
    planned = _plan(tmp_path)
    how = _how(tmp_path, share=share)
    lock = locks.acquire(tmp_path / held, "workdir")
    try:
        with pytest.raises(errors.OutputError, match="another process works on this study"):
            run_processes.run_all(planned, tmp_path, how, _request())
    finally:
        lock.release()
    assert not any(run.path.exists() for run in planned)


def test_tasks_of_one_array_work_at_once(tmp_path):
    planned = _plan(tmp_path)
    lock = locks.acquire(tmp_path / ".lock-1-of-2", "workdir")
    try:
        how = _how(tmp_path, share=shares.RunShare(0, 2))
        run_processes.run_all(planned, tmp_path, how, _request())
    finally:
        lock.release()
    assert [run.is_finished for run in planned] == [True, False, True, False]


def test_one_process_makes_what_is_of_all_runs(tmp_path):
    with study.held_afterwards(tmp_path, is_shared=False) as is_held:
        assert is_held
        with study.held_afterwards(tmp_path, is_shared=True) as is_ours:
            assert not is_ours
        with (
            pytest.raises(errors.OutputError, match="another process makes ensembles"),
            study.held_afterwards(tmp_path, is_shared=False),
        ):
            pass
        run_processes.run_all(_plan(tmp_path), tmp_path, _how(tmp_path), _request())
    with study.held_afterwards(tmp_path, is_shared=True) as is_held:
        assert is_held


ARRAY = {"ID": "7", "MIN": "3", "STEP": "2", "COUNT": "4", "MAX": "9"}


def _array(**changes) -> dict:
    return {f"SLURM_ARRAY_TASK_{name}": value for name, value in (ARRAY | changes).items()}


def test_a_task_of_an_array_has_every_nth_run():
    assert shares.share_of_array_task({}) == shares.RunShare(0, 1)
    assert shares.share_of_array_task(_array()) == shares.RunShare(2, 4)
    whole = {"MIN": "0", "STEP": "1", "COUNT": "3", "MAX": "2"}
    found = [shares.share_of_array_task(_array(ID=task, **whole)).index for task in "012"]
    assert found == [0, 1, 2]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ID": "8"}, "is 8, of 4 tasks from 3 to 9 in steps of 2"),
        ({"ID": "1"}, "is 1, of 4 tasks"),
        ({"MAX": "20"}, "so that no number is left out"),
        ({"STEP": "0"}, "in steps of 0"),
        ({"COUNT": ""}, "SLURM_ARRAY_TASK_COUNT: '' is no number"),
        ({"ID": "-1"}, "'-1' is no number"),
    ],
)
def test_an_array_that_leaves_numbers_out_is_refused(changes, words):
    with pytest.raises(errors.ConfigError, match=words):
        shares.share_of_array_task(_array(**changes))


def test_gpus_are_those_of_the_variable_or_of_nvidia_smi(tmp_path):
    assert shares.gpus({"CUDA_VISIBLE_DEVICES": "3, GPU-8932f937"}) == ["3", "GPU-8932f937"]
    assert shares.gpus({"CUDA_VISIBLE_DEVICES": "1,-1,2"}) == ["1"]
    assert shares.gpus({"CUDA_VISIBLE_DEVICES": ""}) == []
    assert shares.gpus({"PATH": str(tmp_path)}) == []
    program = tmp_path / "nvidia-smi"
    lines = "GPU 0: NVIDIA A100 (UUID: GPU-1)\n  MIG 1g.5gb Device 0: x\nGPU 1: NVIDIA A100\n"
    program.write_text(f"#!/bin/sh\n[ $1 = -L ] && printf '{lines}'\n")
    program.chmod(0o755)
    assert shares.gpus({"PATH": str(tmp_path)}) == ["0", "1"]
    program.write_text("#!/bin/sh\necho the driver does not answer; exit 9\n")
    assert shares.gpus({"PATH": str(tmp_path)}) == []


def _study(*flags: str, workdir: pathlib.Path) -> list[str]:
    return [sys.executable, "-m", "mnist_lib", "study", f"--workdir={workdir}", *flags]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--workdir="], "workdir"),
        (["--vary=optimizer"], "--vary: 'optimizer' has no values"),
        (["--seeds=x"], "--seeds: 'x' is neither like 0:10 nor like 3,5,8"),
        (["--vary=batch_size=1,2", "--vary=batch_size=3"], "--vary: batch_size is given twice"),
        (["--seed=3"], "Unknown command line flag 'seed'"),
        (["--jobs=0"], "--jobs=0"),
        (["--test_time_shift=1"], "--test_time_shift: is of an ensemble; add --ensemble"),
        (["--ensemble", "--test_time_shift=9"], "--test_time_shift=9"),
    ],
)
def test_bad_flags_end_with_64(flags, words, tmp_path):
    done = subprocess.run(
        _study(*flags, workdir=tmp_path / "study"), capture_output=True, text=True, check=False
    )
    assert done.returncode == os.EX_USAGE
    assert words in done.stderr.splitlines()[-1]
    assert not (tmp_path / "study").exists()


def test_a_dry_run_makes_nothing_and_needs_no_tensorflow(tmp_path):
    command = _study("--recipe=mlp", "--seeds=0:10", "--dry_run", workdir=tmp_path / "study")
    command[1:1] = ["-X", "importtime"]
    vary = ["--vary=optimizer=adam,sgd", "--vary=learning_rate=1e-3,3e-3"]
    done = subprocess.run([*command, *vary], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("40 runs: 0 finished, 0 stopped, 40 to do\n")
    assert "tensorflow" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def _without_seconds(workdir: pathlib.Path) -> dict:
    results = json.loads((workdir / "study.json").read_text())
    for setting in results["settings"]:
        assert setting.pop("train_seconds") > 0
        assert setting.pop("startup_seconds") > 0
    return results


def _wait_until_half_way(workdir: pathlib.Path, process: subprocess.Popen) -> None:
    """Waits until a run has saved something and is not finished, after four that are."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        assert process.poll() is None
        finished = len(list(workdir.glob("*/*/results.json")))
        folders = [path.parent for path in workdir.glob("*/*/config.json")]
        steps = [newest_step(path) for path in folders if not (path / "results.json").exists()]
        if finished >= 4 and any(steps):
            return
        time.sleep(0.005)
    raise AssertionError("no run was half way within 300 s")


def _kill(process: subprocess.Popen, workdir: pathlib.Path) -> None:
    """Kills a study, what it forks from, and its runs, so that none of them can save."""
    os.killpg(process.pid, signal.SIGKILL)
    for path in workdir.glob("*/*/.lock-owner"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(path.read_text().split()[0]), signal.SIGKILL)


@pytest.mark.slow
def test_a_study_that_is_killed_twice_gives_the_table_of_one_left_alone(prepared_data, tmp_path):
    of_runs = [
        *("--recipe=linear", "--train_steps=400", "--checkpoint_every=40", "--eval_every=200"),
        *("--steps_per_loop=10", "--summaries=none", *data_flags(prepared_data)),
    ]
    asked = [*of_runs, "--seeds=0:5", "--vary=optimizer=adam,sgd"]
    alone, killed, ordinary = (tmp_path / name for name in ("alone", "killed", "ordinary"))
    done = subprocess.run(
        _study(*asked, "--jobs=2", workdir=alone), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "tensorflow" not in done.stderr.lower(), "its own lines are kept off the screen"
    assert (alone / "study.png").read_bytes().startswith(b"\x89PNG")
    hold = held_runs.Hold(tmp_path, step=80)
    for number in (signal.SIGKILL, signal.SIGTERM):
        process = subprocess.Popen(
            _study(*(asked if number == signal.SIGKILL else []), "--jobs=2", workdir=killed),
            env=os.environ | (hold.environment if number == signal.SIGKILL else {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        if number == signal.SIGKILL:
            hold.wait(lambda: process.poll() is not None, num_runs=2)  # noqa: B023
            _kill(process, killed)
        else:
            _wait_until_half_way(killed, process)
            process.send_signal(number)
        said = process.communicate()[0].decode()
        assert process.returncode in (-signal.SIGKILL, os.EX_TEMPFAIL), said
        assert not (killed / "study.json").exists()
    again = subprocess.run(
        _study("--jobs=2", workdir=killed), capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert _without_seconds(killed) == _without_seconds(alone)
    entries = [
        len(run_directory.RunDirectory(path.parent).read_provenance())
        for path in killed.glob("*/*/results.json")
    ]
    assert len(entries) == 10
    assert 12 <= sum(entries) <= 14, "two runs were half way, then none to two, and went on"
    command = [sys.executable, "-m", "mnist_lib", "train", f"--workdir={ordinary}", *of_runs]
    subprocess.run([*command, "--seed=1"], check=True, capture_output=True)
    assert results_of(ordinary) == results_of(killed / "optimizer=adam" / "seed-1")


@pytest.mark.slow
def test_suspects_and_ensembles_are_made_for_each_setting_beside_its_runs(prepared_data, tmp_path):
    asked = ["--recipe=linear", "--train_steps=40", "--seeds=0:1", "--vary=optimizer=adam,sgd"]
    done = subprocess.run(
        _study(
            *asked,
            "--suspects",
            "--folds=2",
            "--ensemble",
            "--json",
            *data_flags(prepared_data),
            workdir=tmp_path,
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    everything = json.loads(done.stdout)
    for found, optimizer in zip(everything["ensembles"], ("adam", "sgd"), strict=True):
        folder = tmp_path / f"optimizer={optimizer}" / "ensemble"
        recorded = run_directory.RunDirectory(folder).read_results()
        assert found["num_correct"] == recorded["test"]["num_correct"] > 0
        assert [one["size"] for one in found["sizes"]] == [1]
    printed = everything["suspects"]
    for found, optimizer in zip(printed, ("adam", "sgd"), strict=True):
        folder = tmp_path / f"optimizer={optimizer}" / "suspects"
        assert json.loads((folder / "suspects.json").read_text()) == found
        assert (folder / "suspects.png").read_bytes().startswith(b"\x89PNG")
        assert len(list(folder.glob("fold-*/results.json"))) == found["num_folds"] == 2
        assert run_directory.RunDirectory(folder / "fold-1").read_config().optimizer == optimizer
    assert printed[0]["num_correct"] > printed[1]["num_correct"] > 0
