"""The commands up to where TensorFlow starts: help, flags, names, how they are called."""

import ast
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

import mnist_lib
from mnist_lib import choices
from mnist_lib.commands import invocation

COMMANDS = invocation.COMMANDS


def run_python(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        check=False,
    )


def run_command(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return run_python("-m", "mnist_lib", *arguments, **environment)


def flags_in(help_text: str) -> list[str]:
    return re.findall(r"(?m)^  --(?:\[no\])?(\w+)", help_text)


@pytest.fixture(scope="module")
def train_help() -> str:
    return run_command("train", "--help").stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_needs_nothing_heavy_and_shows_each_flag_once(command):
    flag = ("--help", "-h", "-?")[COMMANDS.index(command) % 3]
    code = (
        "import atexit, runpy, sys;"
        "heavy = {'tensorflow', 'keras', 'numpy', 'rich', 'scipy', 'filelock'};"
        "atexit.register(lambda: print('HEAVY', heavy & set(sys.modules)));"
        f"sys.argv = ['mnist_lib', {command!r}, {flag!r}];"
        "runpy.run_module('mnist_lib', run_name='__main__', alter_sys=True)"
    )
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
    assert (done.stderr, done.stdout.splitlines()[-1]) == ("", "HEAVY set()")
    shown = flags_in(done.stdout)
    assert sorted(set(shown)) == sorted(shown)
    assert {"help", "version", "flagfile"} < set(shown)
    assert "Exit codes: 0 done; 64" in done.stdout
    assert f"-m mnist_lib {command} --" in done.stdout
    for noise in ("only_check_args", "pdb", "undefok", "verbosity", "absl"):
        assert noise not in done.stdout


def test_every_field_of_the_configuration_has_one_flag_with_at_most_one_default(train_help):
    fields = {field.name for field in dataclasses.fields(mnist_lib.TrainConfig)}
    assert set(flags_in(train_help)) >= fields | {"workdir", "recipe", "allow_other_replicas"}
    words = " ".join(train_help.split())
    entries = re.split(r" --(?:\[no\])?(?=\w+[= ])", words)
    assert all(entry.count("(default") <= 1 for entry in entries)
    assert "passes over the training images (default: from the recipe)" in words
    assert "adam and adamw (default: from the recipe)" in words
    assert f"{' | '.join(choices.NAMES['loss'])} (default: from the recipe)" in words
    assert "decides initial weights, order and dropout (default: 0)" in words
    assert "nothing else has them (default: true)" in words
    for group in ("Data", "Model", "Loss and optimizer", "Training", "Distribution", "Output"):
        assert f"\n{group}\n" in train_help


def test_help_fits_a_narrow_terminal():
    lines = run_command("train", "--help", COLUMNS="60").stdout.splitlines()
    flags = lines[lines.index("Data") :]
    assert max(map(len, flags)) <= 60
    assert "      passes over the training images (default: from the" in flags


def test_all_commands_are_listed_with_a_line_each():
    files = {path.stem for path in pathlib.Path(invocation.__file__).parent.glob("*.py")}
    assert set(COMMANDS) < files
    for arguments in ([], ["--help"], ["-h"], ["-?"]):
        done = run_command(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        for command in COMMANDS:
            source = pathlib.Path(invocation.__file__).with_name(f"{command}.py").read_text()
            doc = ast.get_docstring(ast.parse(source)) or ""
            line = f"{command} {doc.splitlines()[0].rstrip('.')}"
            assert line in " ".join(done.stdout.split())


def test_an_unknown_command_ends_with_64_and_a_suggestion():
    for name, hint in (("prepare-dat", "did you mean prepare_data?"), ("x", "--help lists them")):
        done = run_command(name, "--help")
        assert (done.returncode, done.stdout) == (os.EX_USAGE, "")
        assert done.stderr == f"error: '{name}' is not a command; {hint}\n"


def test_version():
    for arguments in (["--version"], ["train", "--version"], ["launch", "--version"]):
        done = run_command(*arguments)
        assert done.returncode == 0
        assert done.stdout == f"mnist_lib {mnist_lib.__version__}\n"


def test_flags_come_from_files_too(tmp_path):
    (tmp_path / "flags.txt").write_text("--model=mlp\n--pooling=max\n")
    done = run_command("train", f"--flagfile={tmp_path}/flags.txt")
    assert done.returncode == os.EX_USAGE
    assert "--pooling: model mlp has none; leave it out or choose lenet5 or cnn" in done.stderr


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["evaluate"], "--workdir: name the directory of a run, such as runs/mine"),
        (["evaluate", "--workdir=x", "--split=dev"], "--split: 'dev' is not one of train, "),
        (["evaluate", "--workdir=x", "--checkpoint=first"], "--checkpoint: 'first' is not one"),
        (["evaluate", "--workdir=x", "--suite=fog"], "--suite: 'fog' is not one of calibration, "),
        (["evaluate", "--workdir=x", "--suite_images=3"], "--suite: name the one that --suite_im"),
        (["export", "--format=onnx"], "--workdir: name the directory of a run, such as runs/mine"),
        (["export", "--workdir=x"], "--format: name one of saved_model, keras, litert, "),
        (["export", "--workdir=x", "--format=h5"], "--format: 'h5' is not one of saved_model, "),
        (["launch"], "command: give the script to run after `--`"),
        (["launch", "--num_workers=0"], "flag --num_workers=0: "),
        (["prepare_data", "--data-dir=x"], "Unknown command line flag 'data-dir'. Did you mean"),
    ],
)
def test_bad_flags_end_with_64(command, message):
    done = run_command(*command)
    assert done.returncode == os.EX_USAGE
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_gone_gets_no_traceback():
    """As in `mnist-lib train --help | head`."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        command = [sys.executable, "-m", "mnist_lib", "train", "--help"]
        done = subprocess.run(
            command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(writer)
    assert done.stderr == ""
    assert done.returncode == os.EX_IOERR


def test_the_flags_of_a_configuration_ask_for_it():
    """Each recipe, and one with many fields of its own, there and back in one process."""
    code = """
import dataclasses, json, sys
from absl import flags as absl_flags
from mnist_lib.commands import flags
from mnist_lib.runs import config, recipes
flags.define_train_flags()
configs = [config.recipe(name, seed=3) for name in recipes.RECIPES]
configs.append(config.recipe("cnn", epochs=2, optimizer="adamw", beta_1=0.8, dropout=0.25,
    progress=False, jit_compile=True, dataset="mnist", data_dir="/a folder", pooling="average"))
configs.append(config.recipe("fast", optimizer="momentum", epochs=1))
for wanted in configs:
    absl_flags.FLAGS.unparse_flags()
    for name in absl_flags.FLAGS:
        absl_flags.FLAGS[name].unparse()
    absl_flags.FLAGS(["", *flags.flags_of(wanted)])
    assert flags.train_config() == wanted, (flags.flags_of(wanted), wanted)
print(json.dumps([flags.flags_of(wanted) for wanted in configs]))
"""
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown[0] == ["--model=fast_cnn", "--seed=3"]
    assert "--recipe=strong --seed=3" in map(" ".join, shown)
    assert "--noprogress" in shown[-2]
    assert "--data_dir=/a folder" in shown[-2]


def test_commands_are_shown_as_the_user_started_ours(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    monkeypatch.setattr(sys, "executable", f"{tmp_path}/.venv/bin/python")
    called = invocation.called
    monkeypatch.setattr(sys, "argv", ["scripts/train.py"])
    assert called("evaluate", "--workdir=a b") == (
        ".venv/bin/python scripts/evaluate.py '--workdir=a b'"
    )
    monkeypatch.setattr(sys, "argv", ["/site/mnist_lib/__main__.py", "train"])
    assert called("evaluate") == ".venv/bin/python -m mnist_lib evaluate"
    monkeypatch.setattr(sys, "argv", ["/opt/venv/bin/mnist-lib", "train"])
    assert called("evaluate") == "/opt/venv/bin/mnist-lib evaluate"
    assert invocation.called_beside_python("tensorboard", "--logdir", "x") == (
        ".venv/bin/tensorboard --logdir x"
    )
    (tmp_path / "bin").mkdir()
    for name in ("python", "mnist-lib"):  # now a shell finds them
        (tmp_path / "bin" / name).touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", f"{tmp_path}/bin/python")
    monkeypatch.setattr(sys, "argv", [f"{tmp_path}/bin/mnist-lib", "train"])
    assert called("evaluate") == "mnist-lib evaluate"
    monkeypatch.setattr(sys, "argv", ["scripts/train.py"])
    assert called("evaluate") == "python scripts/evaluate.py"


def test_what_the_import_of_tensorflow_makes_is_looked_through_once():
    """Not in each of the collections while it grows, nor later; what comes then is collected."""
    code = """
import gc
full = []
gc.callbacks.append(lambda phase, info: phase == "stop" and full.append(info["generation"] == 2))
from mnist_lib.commands import startup
before = sum(full)
startup.start_tensorflow(report_devices=False)
assert sum(full) == before + 1, full
assert gc.isenabled()
assert gc.get_freeze_count() > 100_000
assert len(gc.get_objects()) < 1000
gc.disable()
with startup._nothing_looked_through():
    pass
assert not gc.isenabled(), "its user wants it so"
"""
    assert run_python("-c", code).stderr == ""


def test_what_tensorflow_writes_is_caught_and_shown_only_if_it_fails():
    code = """
import os, subprocess, sys
from mnist_lib.commands import startup
caught = []
with startup.standard_error_caught(caught):
    os.write(2, b"from C\\n")
    print("from Python", file=sys.stderr)
    subprocess.run(["sh", "-c", "echo from a child >&2"])
assert caught == ["from C\\nfrom Python\\nfrom a child\\n"], caught
os.write(2, b"free\\n")
with startup.standard_error_caught(caught):
    os.write(2, b"the cause\\n")
    if sys.argv[1] == "crash":
        os.abort()
    raise ImportError("broken")
"""
    done = run_python("-c", code, "raise")
    assert done.stderr.startswith("free\nthe cause\nTraceback")
    assert done.stderr.endswith("ImportError: broken\n")
    done = run_python("-c", code, "crash")
    assert done.stderr.startswith("free\nFatal Python error: Aborted")
