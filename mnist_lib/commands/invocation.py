"""The commands there are, and how a user calls them.

A command is a module of this package with its name. The first line of its docstring says
what it does, `run(arguments)` does it.
"""

from __future__ import annotations

import importlib
import os
import pathlib
import shlex
import shutil
import sys
import types

COMMANDS = (
    *("train", "evaluate", "predict", "export", "demo"),
    *("runs", "compare", "study", "suspects", "prepare_data", "launch", "visualize"),
)


def module_of(command: str) -> types.ModuleType:
    """Imports a command; nothing heavy comes with it."""
    return importlib.import_module(f"mnist_lib.commands.{command}")


def called(command: str, *arguments: str) -> str:
    """Returns a command line for this command in the form in which the user started ours.

    Args:
      command: a name in `COMMANDS`.
      *arguments: its flags; quoted as a shell wants it.
    """
    started = pathlib.Path(sys.argv[0])
    python = _shown(pathlib.Path(sys.executable))
    if started.name == "__main__.py":
        words = [python, "-m", "mnist_lib", command]
    elif started.suffix == ".py":
        words = [python, str(started.with_name(f"{command}.py"))]
    else:
        words = [_shown(started), command]
    return shlex.join([*words, *arguments])


def called_beside_python(program: str, *arguments: str) -> str:
    """Returns a command line for a program that was installed where our Python is."""
    return shlex.join([_shown(pathlib.Path(sys.executable).with_name(program)), *arguments])


def _shown(program: pathlib.Path) -> str:
    """Returns the shortest form of a program's path that a shell finds from here."""
    found = shutil.which(program.name)
    if found is not None and pathlib.Path(found).absolute() == program.absolute():
        return program.name
    shorter = os.path.relpath(program)
    return str(program) if shorter.startswith("..") else shorter
