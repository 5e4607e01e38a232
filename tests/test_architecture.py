"""The layers import downwards only, and the face imports nothing heavy."""

import ast
import pathlib
import subprocess
import sys

import pytest

import mnist_lib

PACKAGE = pathlib.Path(mnist_lib.__file__).parent

# Each layer and those it may import.
ALLOWED = {
    "version": set(),
    "errors": set(),
    "runtime": set(),
    "files": set(),
    "datasets": {"errors", "files"},
    "models": {"errors"},
    "inspection": {"errors"},
    "training": {"errors", "files", "runtime", "version", "datasets", "models", "inspection"},
    "local_cluster": {"errors"},
    "benchmark": {"errors", "runtime", "datasets", "models", "inspection", "training"},
    "__init__": {"errors", "version", "datasets", "models", "inspection", "training"},
}


def _modules():
    return sorted(PACKAGE.rglob("*.py"))


def _layer(path: pathlib.Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(path: pathlib.Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", _modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path):
    own = [name.split(".")[1] for name in _imports(path) if name.startswith("mnist_lib.")]
    layer = _layer(path)
    assert set(own) - {layer} <= ALLOWED[layer]


def test_library_reads_no_flags():
    offenders = [
        path.name
        for path in _modules()
        if any(name.startswith(("absl.flags", "absl.app", "scripts")) for name in _imports(path))
    ]
    assert offenders == []


def test_import_is_light_and_configuration_needs_no_tensorflow():
    code = (
        "import sys, mnist_lib; mnist_lib.TrainConfig(model='cnn'); mnist_lib.recipe('mlp');"
        "dir(mnist_lib); print(sorted({'tensorflow', 'keras', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_resolves_and_is_declared_for_type_checkers():
    declared = set()
    for node in ast.walk(ast.parse((PACKAGE / "__init__.py").read_text())):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "typing.TYPE_CHECKING":
            declared = {alias.name for child in node.body for alias in child.names}
    assert declared == set(mnist_lib.__all__) - {"__version__"}
    for name in mnist_lib.__all__:
        assert getattr(mnist_lib, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'fit'"):
        mnist_lib.fit  # noqa: B018


def test_every_public_name_is_documented():
    for name in set(mnist_lib.__all__) - {"__version__", "RECIPES"}:
        assert getattr(mnist_lib, name).__doc__, name
