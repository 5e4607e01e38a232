"""What the README, BUILD.md and docstrings say is tried: code runs, commands parse, files exist."""

import ast
import functools
import json
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

import mnist_lib
from mnist_lib.distribution import agreement, local_cluster
from mnist_lib.runs import interruption, opening, run_directory

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = pathlib.Path(mnist_lib.__file__).parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))]


def _synopsis(path: pathlib.Path) -> str:
    """The code in a module's docstring: its indented lines, or all that follows the first."""
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    paragraphs = docstring.split("\n\n")[1:]
    for paragraph in paragraphs:
        code = "\n".join(line.removeprefix("    ") for line in paragraph.splitlines())
        is_indented = paragraph.startswith("    ")
        if (is_indented or paragraphs == [paragraph]) and re.search(r"^\w[\w, ]* = |\(", code):
            try:
                ast.parse(code)
            except SyntaxError:
                continue
            return code
    return ""


SYNOPSES = {
    str(path.relative_to(PACKAGE)): code
    for path in sorted(PACKAGE.rglob("*.py"))
    if (code := _synopsis(path))
}
# Numbers that take long, and places that are not there, in a test.
SHORTER = {
    "60_000": "60",
    "num_steps=430": "num_steps=3",
    '"cnn"': '"linear"',
    ', activation="relu", dropout=0.5': "",
}


@pytest.fixture
def names(small_dataset, prepared_data, tmp_path, monkeypatch):
    """What the synopses take for granted."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared_data.data_dir))
    strategy = mnist_lib.create_strategy("mirrored", 2)
    with strategy.scope():
        model = mnist_lib.build_model("linear")
        optimizer = mnist_lib.build_optimizer("adam", 1e-3)
    (tmp_path / "worker.py").write_text("import os; print(os.environ['TF_CONFIG'])")
    run = run_directory.RunDirectory(tmp_path / "opened")
    run.path.mkdir()
    return {
        **{name: getattr(mnist_lib, name) for name in mnist_lib.__all__},
        "mnist_lib": mnist_lib,
        "open_run": opening.open_run,
        "run_workers": local_cluster.run_workers,
        "draw_digits": _draw_digits(),
        "build_my_model": lambda: mnist_lib.build_model("linear"),
        "data": small_dataset,
        "dataset": small_dataset,
        "images": small_dataset.test.images,
        "first_position": 0,
        "strategy": strategy,
        "model": model,
        "optimizer": optimizer,
        "config": mnist_lib.recipe("linear", train_steps=3, batch_size=48, steps_per_loop=3),
        "run": run,
        "workers": agreement.Workers(strategy, 10),
        "stop": interruption.StopRequest(),
    }


def _draw_digits():
    from mnist_lib.datasets import synthetic_digits

    return synthetic_digits.draw_digits


def _run_code(code: str, names: dict, prepared_data, tmp_path) -> None:
    for long, short in SHORTER.items():
        code = code.replace(long, short)
    here = f'"{prepared_data.name}", data_dir="{prepared_data.data_dir}"'
    code = re.sub(r'"mnist"(, manual_dir="/data/mnist")?', here, code)
    code = code.replace("scripts/train.py", str(tmp_path / "worker.py"))
    exec(compile(code, "<synopsis>", "exec"), names)


def test_most_modules_that_a_user_meets_have_a_synopsis():
    assert {"__init__.py", "training/trainer.py", "training/evaluator.py"} <= set(SYNOPSES)
    assert len(SYNOPSES) >= 12


@pytest.mark.parametrize("module", SYNOPSES)
def test_synopses_run(module, names, prepared_data, tmp_path):
    if module == "parity/check.py":
        names["build_model"] = names["build_my_model"]
    if "runs/mine" in SYNOPSES[module]:
        mnist_lib.train_and_evaluate(names["config"], "runs/mine", data=names["data"])
        names["evaluate"] = lambda workdir: mnist_lib.evaluate(workdir, data=names["data"])
        names["export"] = functools.partial(mnist_lib.export, data=names["data"])
    _run_code(SYNOPSES[module], names, prepared_data, tmp_path)


def test_the_readme_s_python_runs(names, prepared_data, tmp_path, capsys):
    """All blocks, one after the other, as a reader would type them."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) >= 3
    space = {"build_my_model": names["build_my_model"]}
    for block in blocks:
        _run_code(block, space, prepared_data, tmp_path)
    assert space["results"]["test"]["accuracy"] > 0.9
    assert space["probabilities"].shape == (10, 10)
    assert "1 and 2 replicas agree" in capsys.readouterr().out
    assert json.loads(pathlib.Path("runs/first/config.json").read_text())["seed"] == 1


def _commands() -> list[tuple[str, str]]:
    """The command lines of ours in the pages, those that go on in a second line joined."""
    found = []
    for page in PAGES:
        text = re.sub(r"\\\n\s*", "", page.read_text())
        for line in re.findall(r"(?:^    |`)((?:python scripts/|mnist-lib )[^`\n]*)", text, re.M):
            found.append((page.name, re.sub(r"\s+#.*", "", line).strip()))
    return found


# Each command in a fork of one process: where flags are defined once, they cannot be again.
_PARSE_ONLY = """
import importlib, json, os, sys, traceback
from mnist_lib.commands import command_line
command_line._call = lambda main: None
for place, name, flags in json.load(sys.stdin):
    pid = os.fork()
    if not pid:
        code = 1
        try:
            importlib.import_module("mnist_lib.commands." + name).run(flags)
            code = 0
        except SystemExit as ending:
            code = 1 if ending.code else 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    if os.waitpid(pid, 0)[1]:
        sys.exit(place)
"""


def test_documented_commands_parse():
    """Each with its flags, up to where it would begin, without TensorFlow."""
    commands = _commands()
    assert len(commands) >= 10
    asked = []
    for page, line in sorted(set(commands)):
        words = shlex.split(re.sub(r"=(SEED|\.\.\.|NEW)", "=0", line))
        name = words[1].removeprefix("scripts/").removesuffix(".py")
        flags = [word for word in words[2:] if word not in ("|", "COMMAND", "FILE")]
        if name in ("benchmark", "COMMAND") or not name.isidentifier():
            continue  # the benchmark's own tests read its flags
        asked.append((f"{page}: {line}", name, flags))
    done = subprocess.run(
        [sys.executable, "-c", _PARSE_ONLY],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_documented_targets_and_files_exist():
    targets = {
        target
        for page in PAGES
        for target in re.findall(r"(?:^    |`)make ([a-z][a-z-]*)", page.read_text(), re.M)
    }
    done = subprocess.run(
        ["make", "-n", f"PYTHON={sys.executable}", *sorted(targets)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for page in PAGES:
        text = page.read_text()
        named = re.findall(r"`((?:mnist_lib|tests|scripts|examples|benchmarks)/[\w/.]+)`", text)
        named += [f"tests/{name}" for name in re.findall(r"`(test_\w+\.py)`", text)]
        named += [
            str((page.parent / link).relative_to(ROOT))
            for link in re.findall(r"\]\((?!http)([^)#]+)\)", text)
        ]
        for name in named:
            assert (ROOT / name).exists(), f"{page.name}: {name}"


@pytest.mark.slow
def test_the_one_test_command_of_build_md_finds_tests():
    (line,) = re.findall(r"`\S+python (-m pytest \S+ -k \w+)`", (ROOT / "BUILD.md").read_text())
    done = subprocess.run(
        [sys.executable, *shlex.split(line), "--collect-only", "-q"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
