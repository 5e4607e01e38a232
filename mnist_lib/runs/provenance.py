"""What a process that worked on a run was: versions, machine, command, commit."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any

from mnist_lib import version

# What decides numbers to the last bit beside the configuration and the data.
_DECIDES_BITS = ("mnist_lib", "python", "packages", "devices", "runtime")


def versions() -> dict:
    """Returns the versions that the numbers of a run depend on."""
    packages = ("tensorflow", "keras", "tensorflow-datasets", "tensorboard", "numpy")
    return {
        "mnist_lib": version.__version__,
        "python": platform.python_version(),
        "packages": {package: metadata.version(package) for package in packages},
    }


def process_facts() -> dict:
    """Returns the versions, and platform, command line and git commit of this process."""
    return versions() | {
        "platform": platform.platform(),
        "command": sys.argv,
        "git_commit": _git_commit(),
    }


def differences(first: dict, now: dict) -> Iterator[str]:
    """Yields what may make a resumed run differ in rounding, a line for each."""
    for name in _DECIDES_BITS:
        yield from _changes(name, first.get(name), now.get(name))


def _changes(name: str, before: Any, after: Any) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            yield from _changes(f"{name} {key}", before.get(key), after.get(key))
    elif before != after:
        yield f"{name} was {before}, is {after}"


def _git_commit() -> str | None:
    """Returns the commit of the folder the command ran in; None if there is none."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
