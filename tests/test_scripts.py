"""The scripts as a user runs them: exit codes, last lines, whole runs on real MNIST."""

import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time

import held_runs
import pytest
from script_runs import ROOT, SHORT_RUN, data_flags, newest_step, results_of, script_command


def run_script(script: str, *flags: str, cwd=None, **environment: str):
    """Runs a script to its end; returns exit code, standard output and last error line."""
    done = subprocess.run(
        script_command(script, *flags),
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | environment,
        timeout=300,
        check=False,
    )
    lines = done.stderr.strip().splitlines() or [""]
    return done.returncode, done.stdout, lines[-1]


@pytest.mark.parametrize(
    "script", ["train", "evaluate", "prepare_data", "launch", "demo", "benchmark"]
)
def test_help_does_not_import_tensorflow(script):
    code = (
        "import runpy, sys, atexit;"
        "atexit.register(lambda: print('HEAVY', {'tensorflow', 'keras'} & set(sys.modules)));"
        f"sys.argv = ['{script}.py', '--help'];"
        f"runpy.run_path({str(ROOT / 'scripts' / script) + '.py'!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"scripts/{script}.py --" in done.stdout
    assert "Exit codes: 0 done; 64" in done.stdout
    assert done.stdout.strip().endswith("HEAVY set()")


def test_a_named_model_trains_by_its_own_recipe(tmp_path):
    """What is configured is checked before TensorFlow starts: here, a pooling it lacks."""
    flags = ["--model=linear", "--pooling=max"]
    code, _, last_line = run_script("scripts/train.py", f"--workdir={tmp_path}/run", *flags)
    assert code == os.EX_USAGE
    assert "--pooling: model linear has none" in last_line
    code, _, last_line = run_script("scripts/train.py", "--pooling=max", cwd=tmp_path)
    assert code == os.EX_USAGE
    assert "--pooling: model fast_cnn has none" in last_line


def test_every_flag_of_the_contract_is_there():
    _, out, _ = run_script("scripts/train.py", "--help")
    flags = set(re.findall(r"--(?:\[no\])?(\w+)", out))
    contract = """strategy num_replicas dataset data_dir manual_dir download workdir model
        activation pooling dropout batch_size epochs train_steps learning_rate lr_schedule
        optimizer loss seed validation_size steps_per_loop eval_every checkpoint_every recipe
        summaries deterministic jit_compile mixed_precision progress"""
    assert flags >= set(contract.split())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--epochz=3"], "Unknown command line flag 'epochz'. Did you mean: epochs"),
        (["--epochs=three"], "flag --epochs=three"),
        (["--epochs=-3"], "--epochs: -3 must be at least 1"),
        (["--batch_size=0"], "--batch_size: 0 must be at least 1"),
        (["--batch_size=70000"], "--batch_size: 70000 is larger than the 55000"),
        (["--model=vgg"], "--model: 'vgg' is not one of linear, mlp, lenet5, cnn"),
        (["--recipe=slow"], "--recipe: 'slow' is not one of"),
        (["--epochs=1", "--train_steps=10"], "give either --epochs or --train_steps"),
        (["--num_replicas=2", "--strategy=default"], "--num_replicas: 2 replicas need"),
        (["--model=mlp", "--pooling=max"], "--pooling: model mlp has none"),
        (["--learning_rate=-1"], "--learning_rate: -1.0 must be greater than 0"),
        (["mnist"], "'mnist' is not a flag"),
    ],
)
def test_bad_flags_end_with_64_and_create_nothing(tmp_path, flags, message):
    code, _, last_line = run_script("scripts/train.py", "--workdir=run", *flags, cwd=tmp_path)
    assert (code, last_line[:7]) == (os.EX_USAGE, "error: ")
    assert message in last_line
    assert list(tmp_path.iterdir()) == []


def test_a_workdir_that_cannot_be_made_ends_with_73(tmp_path):
    """Parents are made, as the whole runs below show; not where a file is in the way."""
    (tmp_path / "file").write_text("")
    refused = [f"{tmp_path}/file/new/run"]
    if os.geteuid():  # root may write everywhere
        (tmp_path / "locked").mkdir(mode=0o500)
        refused.append(f"{tmp_path}/locked/new/run")
    for workdir in refused:
        code, _, last_line = run_script("scripts/train.py", f"--workdir={workdir}")
        assert code == os.EX_CANTCREAT
        there = workdir.removesuffix("/new/run")
        assert f"{there}: is not a writable directory. Pass another --workdir" in last_line
    assert (tmp_path / "file").read_text() == ""


def test_no_data_and_no_network_end_with_66_and_the_steps_to_take(tmp_path):
    """The network is a proxy that refuses; nothing is created."""
    nowhere = "http://127.0.0.1:9"
    code, _, last_line = run_script(
        "scripts/train.py",
        "--dataset=mnist",
        f"--data_dir={tmp_path}/data",
        f"--workdir={tmp_path}/run",
        https_proxy=nowhere,
        HTTPS_PROXY=nowhere,
    )
    assert code == os.EX_NOINPUT
    assert "storage.googleapis.com cannot be reached" in last_line
    assert "--manual_dir" in last_line
    assert list(tmp_path.iterdir()) == []


def _train(workdir, data, *flags: str):
    return run_script("scripts/train.py", f"--workdir={workdir}", *data_flags(data), *flags)


def _check_screen(lines: list[str], num_replicas: int) -> None:
    """Each line is ours, and comes once."""
    assert all(re.match(r"\d\d:\d\d:\d\d \S", line) for line in lines), lines
    texts = [line[9:] for line in lines]
    assert texts[0].startswith("Devices: ")
    assert (f"split into {num_replicas} replicas" in texts[0]) == (num_replicas > 1)
    assert sorted(set(texts)) == sorted(texts)


def _check_closing_table(out: str, workdir: str, results: dict) -> None:
    """What counts, and commands to go on with, in 80 columns."""
    test = results["test"]
    assert f"{test['num_correct']} of 10000 right" in out
    assert re.search(rf"test accuracy +│ {test['accuracy']:.4f}, 95 % interval 0\.\d+ to 0\.", out)
    assert f"{results['num_parameters']:,} parameters" in out
    assert len(re.findall(r"\d: \d+ of \d+ right", out)) == 3
    table, _, commands = out.partition("Next:\n")
    assert max(map(len, table.splitlines())) <= 80
    evaluate, tensorboard, train = commands.splitlines()
    assert evaluate.endswith(f"python {ROOT}/scripts/evaluate.py --workdir={workdir}")
    assert tensorboard.endswith(f"tensorboard --logdir {workdir}")
    assert re.search(r"scripts/train\.py .*--model=mlp .*--seed=1", train)


@pytest.mark.parametrize("num_replicas", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_end_to_end(prepared_data, tmp_path, num_replicas):
    """One epoch of the mlp, in a folder whose parent is made; evaluate.py agrees to the image."""
    flags = ["--workdir=new/run", *data_flags(prepared_data), "--model=mlp", "--epochs=1"]
    flags += [f"--num_replicas={num_replicas}"] if num_replicas > 1 else []
    command = script_command("scripts/train.py", "--strategy=mirrored", *flags)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    _check_screen(done.stderr.splitlines(), num_replicas)
    workdir = tmp_path / "new/run"
    results = results_of(workdir)
    _check_closing_table(done.stdout, "new/run", results)
    assert results["num_replicas"] == num_replicas
    assert results["validation"]["num_examples"] == 5_000
    assert results["test"]["num_examples"] == 10_000
    assert results["dataset"] == prepared_data.name
    assert results["test"]["accuracy"] > prepared_data.accuracy
    code, out, last_line = run_script("scripts/evaluate.py", f"--workdir={workdir}", "--json")
    assert code == 0, last_line
    evaluation = json.loads(out)
    assert evaluation["num_correct"] == results["test"]["num_correct"]
    assert evaluation["num_incorrect"] == 10_000 - evaluation["num_correct"]
    assert evaluation["loss"] == pytest.approx(results["test"]["loss"], rel=1e-6)
    if num_replicas == 1:
        _check_uses_of_a_finished_run(workdir, prepared_data, results)


def _check_uses_of_a_finished_run(workdir, data, results: dict) -> None:
    code, out, last_line = run_script(
        "scripts/evaluate.py", f"--workdir={workdir}", *data_flags(data)
    )
    assert code == 0, last_line
    assert re.search(rf"all │ +10000 │ +{results['test']['num_correct']} ", out)
    assert re.search(r"accuracy 0\.\d+, 95 % interval 0\.\d+ to 0\.\d+", out)
    code, out, last_line = run_script("scripts/train.py", f"--workdir={workdir}")
    assert code == 0
    assert "finished at step" in last_line
    _check_closing_table(out, str(workdir), results)
    code, out, last_line = run_script(
        "examples/load_and_predict.py", str(workdir), TFDS_DATA_DIR=str(data.data_dir)
    )
    assert code == 0, last_line
    assert len(re.findall(r"label (\d), predicted \1 ", out)) >= 8
    _check_export(workdir, data, results)


def _check_export(workdir, data, results: dict) -> None:
    pytest.importorskip("onnxruntime")
    command = script_command(
        "scripts/export.py", f"--workdir={workdir}", "--format=onnx", *data_flags(data)
    )
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    output = workdir / "exports" / "model.onnx"
    assert done.stdout.splitlines()[-1] == str(output)
    assert re.search(r"onnx +│ +0 of 10000 │", done.stdout)
    (line,) = done.stderr.splitlines()
    assert line.endswith(f"onnx: writing {output}, and asking it all test images")
    report = json.loads(output.with_name("model.onnx.export.json").read_text())
    assert report["num_correct"] == results["test"]["num_correct"]
    code, _, last_line = run_script("scripts/export.py", f"--workdir={workdir}", "--format=onnx")
    assert code == os.EX_CANTCREAT
    assert last_line.startswith(f"error: {output}: is there already.")


@pytest.mark.slow
@pytest.mark.parametrize("example", ["own_model", "keras_fit"])
def test_examples_learn(prepared_data, example):
    """In the steps of an epoch, nearly as well as the recipe of the mlp."""
    code, out, last_line = run_script(
        f"examples/{example}.py", TFDS_DATA_DIR=str(prepared_data.data_dir)
    )
    assert code == 0, last_line
    accuracy = float(re.search(r"validation accuracy (0\.\d+)", out)[1])
    assert accuracy > prepared_data.accuracy - 0.03


@pytest.mark.slow
def test_the_example_of_a_run_of_one_s_own_goes_on_and_is_used(prepared_data, tmp_path):
    for num_steps in (100, 120):
        code, out, last_line = run_script(
            "examples/own_run.py",
            str(tmp_path / "run"),
            str(num_steps),
            TFDS_DATA_DIR=str(prepared_data.data_dir),
        )
        assert code == 0, last_line
        assert f"validated at step {num_steps}" in out
    results = results_of(tmp_path / "run")
    assert (results["step"], results["model"]) == (120, "small_net")
    assert f"predictions: {results['test']['num_correct']} of 10000 right" in out
    assert results["test"]["accuracy"] < results["test"]["top_3"]


def test_the_example_of_seven_classes_learns():
    command = script_command("examples/seven_classes.py")
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert float(re.search(r"test accuracy (\S+)", out)[1]) > 0.95
    assert len(re.findall(r"^(?:red|green|blue|yellow|magenta|cyan|white) ", out, re.M)) == 7


@pytest.fixture(scope="module")
def uninterrupted(prepared_data, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("uninterrupted") / "run"
    code, _, last_line = _train(workdir, prepared_data, *SHORT_RUN)
    assert code == 0, last_line
    return results_of(workdir)


def _start(workdir, data, hold, *flags):
    return subprocess.Popen(
        script_command("scripts/train.py", f"--workdir={workdir}", *data_flags(data), *flags),
        env=os.environ | hold.environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


@pytest.mark.slow
def test_sigterm_saves_and_workdir_alone_resumes_to_the_same_result(
    prepared_data, uninterrupted, tmp_path
):
    workdir = tmp_path / "run"
    hold = held_runs.Hold(tmp_path, step=50)
    process = _start(workdir, prepared_data, hold, *SHORT_RUN)
    hold.wait(lambda: process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=120)
    last_line = stderr.strip().splitlines()[-1]
    assert process.returncode == os.EX_TEMPFAIL, stderr
    assert re.search(
        rf"stopped by SIGTERM, saved at step \d+ of 300. .*--workdir={workdir}", last_line
    )
    assert not (workdir / "results.json").exists()
    code, _, last_line = run_script("scripts/train.py", f"--workdir={workdir}")
    assert code == 0, last_line
    assert results_of(workdir) == uninterrupted
    code, _, last_line = run_script("scripts/train.py", f"--workdir={workdir}", "--model=cnn")
    assert code == os.EX_USAGE
    assert "--model: is cnn, but the run in --workdir was started with mlp" in last_line


@pytest.mark.slow
def test_sigkill_at_random_moments_changes_no_result(prepared_data, uninterrupted, tmp_path):
    """Killed again and again in training, soon after progress was saved, then left alone."""
    workdir = tmp_path / "run"
    generator = random.Random(0)
    kills_in_training = 0
    for _ in range(6):
        before = newest_step(workdir)
        hold = held_runs.Hold(tmp_path, step=before + 60)  # it comes no further
        process = _start(workdir, prepared_data, hold, *SHORT_RUN, "--checkpoint_every=20")
        while process.poll() is None and newest_step(workdir) == before:
            time.sleep(0.01)
        time.sleep(generator.uniform(0, 0.3))
        process.kill()
        process.communicate()
        kills_in_training += 0 < newest_step(workdir) < 300
        if (workdir / "results.json").exists():
            break
    assert kills_in_training >= 3
    code, _, last_line = _train(workdir, prepared_data, *SHORT_RUN)
    assert code == 0, last_line
    assert results_of(workdir) == uninterrupted


@pytest.mark.slow
def test_the_default_recipe_reaches_99_percent(originals_dir, prepared_mnist_dir, tmp_path):
    """Seeds 0 to 9 gave 99.07 to 99.23 % of the test images, at the last of 270 steps."""
    flags = ["--dataset=mnist", f"--data_dir={prepared_mnist_dir}", "--validation_size=0"]
    code, _, last_line = run_script("scripts/train.py", f"--workdir={tmp_path}/run", *flags)
    assert code == 0, last_line
    results = results_of(tmp_path / "run")
    assert (results["model"], results["step"]) == ("fast_cnn", 270)
    assert results["test"]["num_examples"] == 10_000
    assert results["test"]["accuracy"] >= 0.99


@pytest.mark.slow
def test_without_data_and_network_a_run_uses_synthetic_digits_and_says_so(tmp_path):
    """As `make train` on a machine with neither, in an empty home directory."""
    nowhere = "http://127.0.0.1:9"
    there = {
        "cwd": tmp_path,
        "env": os.environ | {"HOME": str(tmp_path), "https_proxy": nowhere, "HTTPS_PROXY": nowhere},
        "capture_output": True,
        "text": True,
        "check": False,
    }
    done = subprocess.run(
        script_command("scripts/train.py", "--strategy=mirrored", "--epochs=1"), **there
    )
    assert done.returncode == 0, done.stderr
    warnings = [n for n, line in enumerate(done.stderr.splitlines()) if "THIS IS NOT MNIST" in line]
    starting = done.stderr.splitlines().index(
        next(line for line in done.stderr.splitlines() if "Starting at step 0" in line)
    )
    assert warnings[0] < starting < warnings[1]
    assert re.search(r"data set +│ synthetic_digits ", done.stdout)
    (workdir,) = (tmp_path / "runs").iterdir()
    assert "synthetic_digits" in workdir.name
    assert f"tensorboard --logdir runs/{workdir.name}\n" in done.stdout
    evaluate = shlex.split(done.stdout.partition("Next:\n")[2].splitlines()[0])
    evaluated = subprocess.run(evaluate, **there)
    num_correct = results_of(workdir)["test"]["num_correct"]
    assert re.search(rf"all │ +10000 │ +{num_correct} ", evaluated.stdout), evaluated.stderr
    assert results_of(workdir)["dataset"] == "synthetic_digits"


@pytest.mark.slow
def test_preparation_killed_and_by_several_at_once(originals_dir, tmp_path):
    """A killed preparation leaves nothing that is used; of three processes one prepares."""
    flags = [f"--data_dir={tmp_path}", f"--manual_dir={originals_dir}", "--dataset=mnist"]
    command = script_command("scripts/prepare_data.py", *flags)
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while process.poll() is None and not list(
        tmp_path.glob(".unpacked-*/built/mnist/incomplete.*")
    ):
        time.sleep(0.02)
    time.sleep(1)
    process.kill()
    process.wait()
    assert list(tmp_path.glob(".unpacked-*/built/mnist/incomplete.*"))
    assert not (tmp_path / "mnist" / "3.0.1").exists()
    processes = [
        subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    assert sum("Preparing mnist in" in stderr for _, stderr in outputs) == 1
    assert sum("Waiting for another process" in stderr for _, stderr in outputs) == 2
    assert len({stdout.split("\n", 1)[1] for stdout, _ in outputs}) == 1
    assert all(stdout.startswith("mnist 3.0.1 from ") for stdout, _ in outputs)
    assert [path.name for path in (tmp_path / "mnist").iterdir()] == ["3.0.1"]
    assert list(tmp_path.glob(".unpacked-*")) == []


_FROM_PYTHON = """
import sys
from mnist_lib import runtime
runtime.configure_before_tensorflow()
import mnist_lib
name, data_dir, workdir = sys.argv[1:]
config = mnist_lib.recipe("fast", dataset=name, data_dir=data_dir, train_steps=40)
mnist_lib.train_and_evaluate(config, workdir)
"""


@pytest.mark.slow
def test_from_python_as_by_a_command(prepared_data, tmp_path):
    """To the last digit: what the configuration says, `deterministic` too, is in force in both."""
    code, _, last_line = _train(tmp_path / "command", prepared_data, "--train_steps=40")
    assert code == 0, last_line
    arguments = [prepared_data.name, str(prepared_data.data_dir), str(tmp_path / "python")]
    subprocess.run([sys.executable, "-c", _FROM_PYTHON, *arguments], check=True)
    assert results_of(tmp_path / "python") == results_of(tmp_path / "command")
    settings = [
        json.loads((tmp_path / run / "run.json").read_text())[0]["runtime"]
        for run in ("command", "python")
    ]
    assert settings[0]["deterministic"] is True
    assert settings[0] == settings[1]
