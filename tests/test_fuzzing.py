"""Readers and what once made them fail, and a little of what `make fuzz` tries; see `fuzzing/`."""

import os
import pathlib
import subprocess
import sys

import pytest

import mnist_lib

FUZZING = pathlib.Path(__file__).parent / "fuzzing"
PACKAGE = pathlib.Path(mnist_lib.__file__).parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}


def _fuzz(*options: str) -> tuple[int, list[str], str]:
    """Returns the exit code, a line per reader, and all that was said."""
    command = [sys.executable, str(FUZZING / "fuzz.py"), "--together", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    lines = [line for line in done.stdout.splitlines() if line.startswith("reader=")]
    return done.returncode, lines, done.stdout + done.stderr


def _tried(lines: list[str]) -> int:
    return sum(int(line.partition("tried=")[2].split()[0]) for line in lines)


def test_what_once_failed_is_refused_or_read(tmp_path):
    code, lines, said = _fuzz("--replay", f"--work={tmp_path}")
    assert code == 0, said
    corpus = [path for path in (FUZZING / "corpus").iterdir() if not path.name.startswith(".")]
    assert _tried(lines) == len(corpus) >= 15


def test_a_reader_that_fails_is_named_and_its_input_kept(tmp_path):
    """What `readers.py` would do with a reader that has a mistake."""
    code = (
        f"import sys, pathlib; sys.path.insert(0, {str(FUZZING)!r});"
        "import fuzz, readers;"
        "readers._READERS['idx'] = readers.Reader(lambda: None, lambda *_: 1 / 0, lambda: []);"
        f"trial = fuzz.Trial('idx', pathlib.Path({str(tmp_path)!r}));"
        "print(trial.attempt(b'broken')); print(trial.outcome.failed)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=ENVIRONMENT
    )
    assert "ZeroDivisionError" in done.stdout
    assert done.stdout.endswith("\n1\n")
    (kept,) = (tmp_path / "failed").iterdir()
    assert kept.read_bytes() == b"broken"


@pytest.mark.slow
def test_no_reader_fails(tmp_path):
    code, lines, said = _fuzz("--examples=25", "--seed=7", f"--work={tmp_path}")
    assert code == 0, said
    assert len(lines) == 17
    assert _tried(lines) >= 17 * 20
