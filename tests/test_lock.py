"""setup.py and requirements.lock say the same; the lock says which files it takes."""

import pathlib
import re
import runpy

import pytest
import setuptools
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = pathlib.Path(__file__).parents[1]
LOCK = (ROOT / "requirements.lock").read_text()
PYTHONS = ("3.11", "3.12", "3.13")


@pytest.fixture
def declared(monkeypatch):
    """What setup.py asks for, of a developer, by name."""
    given = {}
    monkeypatch.setattr(setuptools, "setup", lambda **values: given.update(values))
    runpy.run_path(str(ROOT / "setup.py"))
    texts = [*given["install_requires"], *given["extras_require"]["dev"]]
    requirements = map(Requirement, texts)
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


def _entries() -> list[tuple[Requirement, list[str], list[str]]]:
    """Of each entry of the lock what it asks for, its hashes, and who asked for it."""
    entries = []
    for text in re.split(r"\n(?=\w)", LOCK.split("\n", 2)[2]):
        head, *rest = (line.strip(" \\") for line in text.splitlines())
        hashes = [line.removeprefix("--hash=") for line in rest if line.startswith("--hash=")]
        askers = [line.lstrip("# ").removeprefix("via ") for line in rest if line.startswith("#")]
        entries.append((Requirement(head), hashes, askers))
    return entries


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_has_one_release_of_all_that_setup_py_asks_for(declared, python):
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
    }
    locked: dict[str, str] = {}
    for requirement, _, _ in _entries():
        if requirement.marker is None or requirement.marker.evaluate(environment):
            assert requirement.name not in locked, f"{requirement.name} twice for {python}"
            (pin,) = requirement.specifier
            assert pin.operator == "=="
            locked[requirement.name] = pin.version
    wrong = {
        name: (locked.get(name), str(requirement.specifier))
        for name, requirement in declared.items()
        if name not in locked or locked[name] not in requirement.specifier
    }
    assert not wrong, f"setup.py asks for others than are locked; run `make lock`: {wrong}"


def test_the_lock_was_made_of_nothing_that_setup_py_no_longer_asks_for(declared):
    maker = "mnist-lib (setup.py)"
    asked = {requirement.name for requirement, _, askers in _entries() if maker in askers}
    assert asked == set(declared), "run `make lock`"


def test_each_entry_has_hashes_and_no_address():
    entries = _entries()
    assert len(entries) > 100
    for requirement, hashes, _ in entries:
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in hashes), requirement
        assert requirement.url is None
    assert "://" not in LOCK
    assert not re.search(r"^(torch|nvidia-.*)==", LOCK, re.MULTILINE), "what CI does not need"


def test_what_decides_numbers_ends_with_a_minor_version(declared):
    deciding = ("tensorflow", "keras", "numpy", "scipy", "tensorboard", "matplotlib")
    for name in (*deciding, "tensorflow-datasets", "cloudpickle", "ai-edge-litert", "onnxruntime"):
        (upper,) = (pin for pin in declared[name].specifier if pin.operator == "<")
        assert re.fullmatch(r"\d+\.[1-9]\d*", upper.version), f"{name}{upper}"
    for name, requirement in declared.items():
        assert any(pin.operator == "<" for pin in requirement.specifier), name


def test_release_notes_name_the_bounds_of_setup_py(declared):
    """Of the release that is being made: older ones keep theirs."""
    notes = (ROOT / "RELEASE.md").read_text().split("\n# ")[0]
    named = [Requirement(text) for text in re.findall(r"Depends on `([^`]+)`", notes)]
    assert named
    for requirement in named:
        asked = declared[canonicalize_name(requirement.name)]
        assert requirement.specifier == asked.specifier, requirement.name
