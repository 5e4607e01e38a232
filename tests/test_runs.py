"""The runs in a folder are listed, and one is looked at, without TensorFlow."""

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from script_runs import ROOT

import mnist_lib
from mnist_lib.runs import overview, past_run, run_directory

CONFIG = mnist_lib.TrainConfig(
    model="linear", batch_size=48, train_steps=30, eval_every=10, checkpoint_every=10
)


def _list(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "runs.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=os.environ | {"COLUMNS": "80"},
    )


@pytest.fixture(scope="module")
def folder(small_dataset, tmp_path_factory) -> pathlib.Path:
    """Runs: one finished, one stopped at step 20, one in a folder of its own, no run, a file."""
    top = tmp_path_factory.mktemp("top") / "runs"
    results = mnist_lib.train_and_evaluate(CONFIG, top / "b-finished", data=small_dataset)
    assert results["step"] == 30
    stopped = top / "a-stopped"
    shutil.copytree(top / "b-finished", stopped)
    (stopped / "results.json").unlink()
    for path in stopped.glob("checkpoints/ckpt-30.*"):
        path.unlink()
    lines = (stopped / "history.csv").read_text().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith("30,")]
    (stopped / "history.csv").write_text("".join(kept))
    other = dataclasses.replace(CONFIG, seed=1, train_steps=5)
    mnist_lib.train_and_evaluate(other, top / "study" / "seed 1", data=small_dataset)
    (top / "notes").mkdir()
    (top / "notes" / "note.txt").write_text("no run")
    (top / "file").write_text("no folder")
    os.utime(stopped / "run.json", (1e9, 1e9))
    return top


def _names(done):
    return [pathlib.Path(run["path"]).name for run in json.loads(done.stdout)]


def test_runs_are_listed_in_80_columns_with_what_they_came_to(folder):
    done = _list(folder.name, cwd=folder.parent)
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) <= 80
    rows = [line.split() for line in done.stdout.splitlines() if "small" in line]
    results = json.loads((folder / "b-finished" / "results.json").read_text())
    assert rows[0][:5] == ["a-stopped", "small", "linear", "20/30", "stopped"]
    assert rows[0][6:] == ["-", "-"]
    assert rows[1] == [
        *("b-finished", "small", "linear", "30/30", "finished"),
        f"{results['validation']['accuracy']:.4f}",
        f"{results['test']['accuracy']:.4f}",
        f"{results['timing']['train_seconds']:.1f}",
    ]
    assert rows[2][:6] == ["study/seed", "1", "small", "linear", "5/5", "finished"]
    assert len(rows) == 3


def test_by_default_those_in_runs_and_one_folder_may_be_a_run(folder):
    assert _names(_list("--json", cwd=folder.parent)) == ["a-stopped", "b-finished", "seed 1"]
    done = _list(folder / "b-finished")
    assert "30/30" in done.stdout


def test_sorting(folder):
    by_time = _names(_list(folder, "--json", "--sort=time"))
    assert by_time == ["seed 1", "b-finished", "a-stopped"]
    for key in ("validation", "test"):
        runs = json.loads(_list(folder, "--json", f"--sort={key}").stdout)
        found = [run[f"{key}_accuracy"] for run in runs]
        assert found == sorted(found, key=lambda value: -1 if value is None else value)[::-1]
    done = _list(folder, "--sort=size")
    assert done.returncode == os.EX_USAGE
    assert "--sort: 'size' is not one of name, time" in done.stderr


def test_unreadable_runs_are_named_and_do_not_stop_the_others(folder, tmp_path):
    top = tmp_path / "runs"
    shutil.copytree(folder, top)
    (top / "a-stopped" / "config.json").write_text("{")
    (top / "study" / "seed 1" / "results.json").write_text('{"step": 3}')
    done = _list(top)
    assert done.returncode == 0
    assert "a-stopped/config.json: cannot be used" in done.stderr
    assert "seed 1/results.json: cannot be used" in done.stderr
    assert "b-finished" in done.stdout
    assert done.stdout.endswith("2 cannot be read, see above.\n")


def test_folders_without_runs_are_refused(tmp_path):
    for folder, words in ((tmp_path, "holds no run"), (tmp_path / "none", "cannot be read")):
        done = _list(folder)
        assert (done.returncode, done.stdout) == (os.EX_NOINPUT, "")
        assert f"error: {folder}: {words}" in done.stderr
    assert _list(tmp_path, tmp_path).returncode == os.EX_USAGE


def test_neither_library_nor_command_needs_tensorflow(folder):
    code = (
        "import sys, mnist_lib; from mnist_lib.runs import overview, past_run;"
        "found = [overview.look_at(path) for path in overview.find_runs(sys.argv[1])];"
        "repr(past_run.load_run(sys.argv[1] + '/b-finished'));"
        "print(len(found), sorted({'tensorflow', 'keras', 'matplotlib'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "3 []"
    code = (
        "import sys\n"
        "from mnist_lib.commands import runs\n"
        "try:\n    runs.run([sys.argv[1]])\n"
        "except SystemExit as ending:\n"
        "    print(ending.code, sorted({'tensorflow', 'keras', 'matplotlib'} & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", code, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


def test_a_run_that_a_process_holds_is_running(folder, tmp_path):
    shutil.copytree(folder / "a-stopped", tmp_path / "run")
    run = run_directory.RunDirectory(tmp_path / "run")
    with run.lock():
        found = overview.look_at(run.path)
        assert (found.state, found.step) == ("running", 20)
        assert overview.look_at(run.path).state == "running"
    assert overview.look_at(run.path).state == "stopped"
    (run.path / ".lock-owner").write_text("1 elsewhere\n")  # as SIGKILL leaves it
    assert overview.look_at(run.path).state == "stopped"
    with run.lock():  # looking has not taken it
        pass


def test_a_run_that_was_just_begun(tmp_path):
    run = run_directory.RunDirectory(tmp_path / "run")
    run.path.mkdir()
    run.write_config(mnist_lib.recipe("linear", epochs=2, batch_size=500))
    found = overview.look_at(run.path)
    assert (found.step, found.total_steps, found.state) == (0, 220, "stopped")
    assert "stopped at step 0 of 220" in str(found)


def test_a_run_is_looked_at(folder):
    run = past_run.load_run(folder / "b-finished")
    assert run.config.batch_size == 48
    assert run.results["step"] == 30
    assert run.history["validation"]["loss"][0].tolist() == [10, 20, 30]
    accuracy = run.results["test"]["accuracy"]
    assert repr(run).startswith(
        f"Run {folder}/b-finished: small, linear; finished at step 30 of 30"
    )
    assert f"test accuracy {accuracy:.4f}" in repr(run)
    html = run._repr_html_()
    assert "finished at step 30 of 30" in html
    assert html.count("<tr>") == 11
    stopped = past_run.load_run(folder / "a-stopped")
    assert stopped.results is None
    assert "stopped at step 20 of 30" in stopped._repr_html_()
    with pytest.raises(mnist_lib.errors.DataNotFoundError, match=r"no config\.json there"):
        past_run.load_run(folder)


def test_a_run_or_several_are_drawn(folder):
    pytest.importorskip("matplotlib")
    one = folder / "b-finished"
    run = past_run.load_run(one)
    for figure in (run.plot(), past_run.plot(one), past_run.plot(str(one)), past_run.plot([run])):
        losses = figure.axes[0].get_lines()[0].get_ydata()
        np.testing.assert_array_equal(losses, run.history["train"]["loss"][1])
    several = past_run.plot([one, folder / "study" / "seed 1"])
    assert len(several.axes[0].get_lines()) > len(run.plot().axes[0].get_lines())
    with pytest.raises(mnist_lib.errors.ConfigError):
        past_run.plot([])
