"""Errors go through processes, and types through a user's checker."""

import os
import pathlib
import pickle
import subprocess
import sys

import pytest

import mnist_lib
from mnist_lib import errors

CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, errors.MnistLibError)
]


@pytest.mark.parametrize("kind", CLASSES)
def test_errors_are_read_back_by_other_processes(kind):
    arguments = ("epochs", "is wrong") if kind is errors.ConfigError else ("is wrong",)
    error = kind(*arguments)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error)
    assert again.exit_code == error.exit_code
    assert getattr(again, "field", None) == getattr(error, "field", None)


def test_a_subclass_with_a_field_too():
    from mnist_lib.distribution import agreement

    error = agreement._DisagreementError("seed", "differs")
    assert str(pickle.loads(pickle.dumps(error))) == "seed: differs"


def test_a_type_checker_sees_the_face(tmp_path):
    pytest.importorskip("mypy")
    script = tmp_path / "script.py"
    script.write_text(
        "import mnist_lib\n"
        'config = mnist_lib.recipe("fast", seed=1)\n'
        "reveal_type(config.epochs)\n"
        "mnist_lib.typo\n"
        'raise mnist_lib.errors.ConfigError("a", "b")\n'
    )
    (tmp_path / "mypy.ini").write_text(
        "[mypy]\n"
        "[mypy-tensorflow.*,keras.*,tensorflow_datasets.*,tqdm.*,cloudpickle.*,scipy.*]\n"
        "ignore_missing_imports = true\nfollow_imports = skip\n"
    )
    root = str(pathlib.Path(mnist_lib.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", str(script)],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 'Revealed type is "int"' in done.stdout, done.stdout
    assert 'has no attribute "typo"' in done.stdout
    assert "Found 1 error in 1 file" in done.stdout
