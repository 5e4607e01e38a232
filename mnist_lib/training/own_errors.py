"""Errors of a user's own layer, loss, optimizer or augmentation, as their code raised them.

AutoGraph and Keras raise other errors in the place of those that code raises while it is
traced: of other classes, and with pages of text around the message.
"""

from __future__ import annotations

import ast
import contextlib
import linecache
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from types import TracebackType

_KERAS_WRAPPING = "Exception encountered when calling"
_FRAMEWORKS = ("tensorflow", "keras")
_OWN_PACKAGE = __name__.partition(".")[0]


@contextlib.contextmanager
def as_raised() -> Iterator[None]:
    """Has an error leave the block as the code that was traced or called in it raised it.

    Its class, message, attributes and cause are its own; its traceback shows the lines of the
    source that led to it, without those of TensorFlow, Keras and generated files. What
    neither AutoGraph nor Keras has wrapped leaves as it is.
    """
    try:
        yield
    except Exception as error:
        own = own_error(error)
        if own is error:
            raise
        shown = _traceback(_traced_lines(error)) or own.__traceback__
        # Without this it would be said to have come of the error that wraps it.
        cause = own.__cause__ if own.__suppress_context__ else own.__context__
        raise own.with_traceback(shown) from cause


def own_error(error: Exception) -> Exception:
    """Returns the error that a user's function raised, out of what a traced call made of it.

    AutoGraph and Keras raise another one, with their text around the message, while they
    handle the first; of a class of the user's, AutoGraph loses the class.
    """
    while (inner := error.__context__) is not None and isinstance(inner, Exception):
        by_autograph = hasattr(error, "ag_error_metadata") and hasattr(inner, "ag_error_metadata")
        # A class whose constructor takes more than a message is not made again.
        unmade = isinstance(error, TypeError) and f"{type(inner).__name__}.__init__" in str(error)
        if not (by_autograph or unmade or str(error).startswith(_KERAS_WRAPPING)):
            break
        error = inner
    return error


def place(error: BaseException) -> str | None:
    """Returns the file and line of a user's code that an error comes from, for a message.

    Returns:
      The innermost place that the library has called, outside of it and of what is
      installed; None if there is none, as where the fault is the library's.
    """
    own = _folders((_OWN_PACKAGE,))
    installed = sysconfig.get_paths()
    others = tuple(installed[name] + os.sep for name in ("stdlib", "purelib", "platlib"))
    found, is_called = None, False
    for frame in traceback.extract_tb(error.__traceback__):
        is_own = frame.filename.startswith(own)
        is_called = is_called or is_own
        has_source = linecache.getline(frame.filename, frame.lineno or 0) != ""
        if is_called and has_source and not is_own and not frame.filename.startswith(others):
            found = f"{frame.filename}, line {frame.lineno}"
    return found


def _traced_lines(error: BaseException) -> list[tuple[str, int, str]]:
    """Returns file, line and function of what was traced, the innermost first."""
    ignored = _folders(_FRAMEWORKS)
    metadata = getattr(error, "ag_error_metadata", None)
    return [
        (frame.filename, frame.lineno, frame.function_name or "<lambda>")
        for frame in (metadata.translated_stack if metadata is not None else ())
        if not frame.filename.startswith(ignored)
    ]


def _folders(packages: Iterable[str]) -> tuple[str, ...]:
    files = [getattr(sys.modules.get(package), "__file__", None) for package in packages]
    return tuple(os.path.dirname(file) + os.sep for file in files if file)


def _traceback(lines: Iterable[tuple[str, int, str]]) -> TracebackType | None:
    """Makes a traceback of lines of source, given the innermost first.

    Python makes one only of frames that have raised: each line gets such a frame.
    """
    made: TracebackType | None = None
    for filename, line, function in lines:
        source = linecache.getline(filename, line).rstrip("\n")
        tree = ast.parse("raise StopIteration")
        for node in ast.walk(tree):
            if isinstance(node, ast.stmt | ast.expr):
                node.lineno = node.end_lineno = line
                # All of the line, so that no part of it is marked.
                node.col_offset = len(source) - len(source.lstrip())
                node.end_col_offset = len(source.encode())
        code = compile(tree, filename, "exec").replace(co_name=function, co_qualname=function)
        try:
            exec(code, {})
        except StopIteration as raised:
            *_, (frame, _) = traceback.walk_tb(raised.__traceback__)
            made = TracebackType(made, frame, frame.f_lasti, line)
    return made
