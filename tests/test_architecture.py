"""The house: arrows point down, no circles, small rooms; and the face is light."""

import ast
import pathlib
import re
import subprocess
import sys

import pytest

import mnist_lib

PACKAGE = pathlib.Path(mnist_lib.__file__).parent

# From the bottom up. What stands on one floor does not import each other.
FLOORS = [
    {"errors", "version", "files", "os_errors", "paths", "locks", "choices", "runtime", "progress"}
    | {"markup", "stop_signals", "bounded"},
    {"datasets", "models", "distribution"},
    {"training"},
    {"inspection"},
    {"runs"},
    {"parity", "studies", "serving", "robustness"},
    {"commands"},
    {"__main__"},
]
# On the lowest floor checks raise errors, locks are files, and that is all.
ALLOWED_ON_ONE_FLOOR = {
    ("choices", "errors"),
    ("runtime", "bounded"),
    ("runtime", "errors"),
    ("os_errors", "errors"),
    ("paths", "errors"),
    ("paths", "os_errors"),
    ("locks", "errors"),
    ("locks", "os_errors"),
}
LONGEST_FILE, LONGEST_FUNCTION = 250, 60
# Plain tables, and functions that are one: no logic to get lost in.
TABLES = {"datasets/digit_strokes.py"}

MODULES = sorted(PACKAGE.rglob("*.py"))
NAMES = [str(path.relative_to(PACKAGE)) for path in MODULES]


def _module_name(path: pathlib.Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULE_NAMES = {_module_name(path) for path in MODULES}


def _imports(path: pathlib.Path) -> set[str]:
    """All modules that a file imports, at the top, in functions and for type checkers."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found |= {
                name if (name := f"{node.module}.{alias.name}") in MODULE_NAMES else node.module
                for alias in node.names
            }
    return found


def _own_imports(path: pathlib.Path) -> set[str]:
    return {name for name in _imports(path) if name in MODULE_NAMES} - {_module_name(path)}


def _room(module: str) -> str:
    return module.split(".")[1]


def _floor(room: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_imports_point_down(path):
    module = _module_name(path)
    if module == "mnist_lib":  # the face shows what there is
        return
    for imported in _own_imports(path):
        if imported == "mnist_lib":  # by which all floors under it can be reached
            assert _floor(_room(module)) > _floor("parity"), f"{module} imports the face"
            continue
        ours, theirs = _room(module), _room(imported)
        is_down = _floor(theirs) < _floor(ours) or (ours, theirs) in ALLOWED_ON_ONE_FLOOR
        assert ours == theirs or is_down, f"{module} imports {imported}"


def test_there_is_no_circle():
    arrows = {_module_name(path): _own_imports(path) for path in MODULES}
    arrows["mnist_lib"] = set()
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join([*way, module])
        if module not in done:
            for imported in arrows[module]:
                visit(imported, (*way, module))
            done.add(module)

    for module in arrows:
        visit(module, ())
    assert done == MODULE_NAMES


def test_the_rules_see_what_they_are_for(tmp_path, monkeypatch):
    """An import of the face, and one inside a function, count."""
    path = tmp_path / "planted.py"
    path.write_text("def f():\n    import mnist_lib\n    from mnist_lib.runs import config\n")
    assert _imports(path) == {"mnist_lib", "mnist_lib.runs.config"}


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_files_and_functions_are_read_in_one_sitting(path):
    text = path.read_text()
    if str(path.relative_to(PACKAGE)) not in TABLES:
        assert len(text.splitlines()) <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < LONGEST_FUNCTION, node.name


def test_no_two_classes_have_one_name():
    names = [
        node.name.lstrip("_")
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    ]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_private_names_of_others_stand_in_the_rooms_for_them(path):
    """`thing._name` only on `self`, `cls` and our own modules; nothing of `x.python.y`."""
    if path.name in ("keras_internals.py", "tensorflow_internals.py", "tfds_internals.py"):
        return
    text = path.read_text()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and re.match(r"_[a-z]", node.attr):
            owner = ast.unparse(node.value)
            assert owner in ("self", "cls", "super()", "check") or (owner, node.attr) == (
                "os",
                "_exit",
            ), f"{owner}.{node.attr}"
    hidden = ("tensorflow.python", "tensorflow.compiler", "keras.src", "tensorflow_datasets.core")
    assert not [name for name in _imports(path) if name.startswith(hidden)]


def test_only_commands_read_flags():
    for path in MODULES:
        if "commands" not in path.parts and path.name != "__main__.py":
            flags = [name for name in _imports(path) if name.startswith(("absl", "scripts"))]
            assert flags == [], path


def test_one_place_refuses_names():
    """`choices.check` is the only one to say so."""
    saying = [path.name for path in MODULES if " is not one of " in path.read_text()]
    assert saying == ["choices.py"]


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
    assert declared == set(mnist_lib.__all__) - {"__version__", "errors", "runtime"}
    assert len(mnist_lib.__all__) <= 40
    for name in mnist_lib.__all__:
        assert getattr(mnist_lib, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'fit'"):
        mnist_lib.fit  # noqa: B018


def test_every_public_name_is_documented():
    for name in set(mnist_lib.__all__) - {"__version__"}:
        assert getattr(mnist_lib, name).__doc__, name
