"""Paths that a user names: what they may be, and what is said when they cannot be used."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import pwd
import re
import tempfile
from collections.abc import Iterator

from mnist_lib import errors

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FAILING = {errno.EIO, errno.ESTALE, errno.ENXIO, errno.ENODEV}
_ONLY_WRITING = {errno.EROFS, errno.EEXIST, errno.ENOTEMPTY, errno.ETXTBSY, errno.EISDIR}
# The second: what pathlib makes of an address.
_ADDRESS = re.compile(
    r"[a-z][a-z0-9+.-]+://|(gs|s3|s3a|hdfs|viewfs|file|ftp|https?|abfss?):/", re.I
)
_TAKEN_LITERALLY = re.compile(r"[\w/.,:=@%+ -]*", re.ASCII)
_OPEN_FOLDERS = pathlib.Path("/proc/self/fd")
_LONGEST_PATH = 4095 - 128  # what is made in a folder has a name, too


def check(field: str, path: str | os.PathLike[str]) -> None:
    """Checks what a path says, without looking at any file.

    Args:
      field: the argument, flag or variable that names it.
      path: a folder or file of this machine's file system.

    Raises:
      ConfigError: it is empty, an address such as `gs://bucket`, or no path at all.
    """
    try:
        text = os.fsdecode(path)
    except TypeError as error:
        raise errors.ConfigError(field, f"{path!r} is not a path") from error
    if not text:
        raise errors.ConfigError(field, "is empty; name a folder, or leave it out")
    if "\0" in text:
        raise errors.ConfigError(field, f"{text!r} has a null character, which no path can have")
    if _ADDRESS.match(text):
        scheme, _, rest = text.partition(":")
        advice = "copy it to a local or mounted folder and pass that"
        if scheme.lower() == "file":
            advice = f"pass /{rest.lstrip('/')}"
        raise errors.ConfigError(
            field, f"{text} is an address, and paths of the file system are read; {advice}"
        )


def local(
    field: str,
    path: str | os.PathLike[str],
    error_class: type[errors.MnistLibError] = errors.DataNotFoundError,
) -> pathlib.Path:
    """Returns a path that a user named, `~` replaced by the home directory.

    Args:
      field: the argument, flag or variable that names it.
      path: as for `check`.
      error_class: what to raise where there is no home directory.

    Raises:
      ConfigError: as for `check`.
    """
    check(field, path)
    text = os.fsdecode(path)
    if not text.startswith("~"):
        return pathlib.Path(text)
    user, _, rest = text[1:].partition("/")
    try:
        home = "" if user else os.environ.get("HOME", "")
        home = home or (pwd.getpwnam(user) if user else pwd.getpwuid(os.getuid())).pw_dir
        problem = "" if os.path.isdir(home) else f"the home directory {home} is not there"
    except KeyError:
        whose = f"no user {user} is known here" if user else f"user {os.getuid()} has none"
        problem = f"there is no home directory, {whose}"
    if problem:
        raise error_class(f"{text}: {problem}. Pass --{field}=<a path without ~>.")
    return pathlib.Path(home, rest)


@contextlib.contextmanager
def reading(path: pathlib.Path, remedy: str) -> Iterator[None]:
    """Turns what the file system says while something is read into an error of ours.

    Args:
      path: what is read; named unless the file system names a file.
      remedy: what to do, a sentence.

    Raises:
      DataNotFoundError: it cannot be read.
    """
    try:
        yield
    except OSError as error:
        raise errors.DataNotFoundError(
            f"{_file_of(error) or path}: cannot be read ({cause(error)}). {remedy}"
        ) from error


@contextlib.contextmanager
def writing(path: pathlib.Path, remedy: str) -> Iterator[None]:
    """Turns what the file system says while something is written into an error of ours.

    Args:
      path: what is written.
      remedy: what to do where space is not what lacks, a sentence.

    Raises:
      OutputError: it cannot be made.
      StorageError: the disk is full, or fails.
    """
    try:
        yield
    except OSError as error:
        raise unwritable(error, path, remedy) from error


def unwritable(
    error: OSError, path: pathlib.Path | str, remedy: str
) -> errors.OutputError | errors.StorageError:
    """Returns the error of ours for one of the file system, from writing `path`."""
    if error.errno in _FULL:
        return errors.StorageError(f"{path}: {cause(error)}. Free some space and run again.")
    line = f"{path}: cannot be written ({cause(error)}). {remedy}"
    return errors.StorageError(line) if error.errno in _FAILING else errors.OutputError(line)


def cause(error: OSError) -> str:
    """Returns what the file system says, in a few words."""
    return error.strerror or str(error) or type(error).__name__


def as_error(error: OSError) -> errors.MnistLibError | None:
    """Returns the error of ours that fits one of the file system; None: it is of no file."""
    path = _file_of(error)
    if path is None:
        if error.errno in _FULL | _FAILING:
            return unwritable(error, "output", "Look after the disk or the file server.")
        return _missing_surroundings() if error.errno == errno.ENOENT else None
    is_output = error.errno in _FULL | _FAILING | _ONLY_WRITING
    if error.errno in (errno.EACCES, errno.EPERM):
        is_output = not os.path.lexists(path) or os.access(path, os.R_OK)
    if is_output:
        return unwritable(error, path, "See that it can be written.")
    return errors.DataNotFoundError(
        f"{path}: cannot be read ({cause(error)}). See that it is there and that you may read it."
    )


def _missing_surroundings() -> errors.MnistLibError | None:
    """Says which folder that every process takes for granted is not there."""
    try:
        os.getcwd()
    except OSError as error:
        return errors.DataNotFoundError(
            f"the current folder is not there ({cause(error)}). Change to another one."
        )
    try:
        tempfile.gettempdir()
    except OSError as error:
        return no_temporary_folder(error)
    return None


def no_temporary_folder(error: OSError) -> errors.OutputError:
    """Returns the error for a machine on which no temporary file can be made."""
    return errors.OutputError(
        f"no temporary folder can be written ({cause(error)}). Set TMPDIR to one that can."
    )


def _file_of(error: OSError) -> str | None:
    name = error.filename
    return os.fsdecode(name) if isinstance(name, str | bytes) and name else None


def check_makeable(field: str, path: pathlib.Path) -> None:
    """Checks, making nothing, that a folder can be made or written, also by TensorFlow.

    Raises:
      OutputError: it cannot.
    """
    another = f"Pass another --{field}."
    with writing(path, another):
        there = path.absolute()
        if len(os.fsencode(there)) > _LONGEST_PATH:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        while not _exists(there) and there != there.parent:
            there = there.parent
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            raise errors.OutputError(f"{there}: is not a writable directory. {another}")
    if not _TAKEN_LITERALLY.fullmatch(os.fspath(path)) and not _OPEN_FOLDERS.is_dir():
        raise errors.OutputError(
            f"{path}: has characters that TensorFlow takes for a pattern, and {_OPEN_FOLDERS}, "
            f"with which that is avoided, is not there. {another}"
        )


def _exists(path: pathlib.Path) -> bool:
    """Whether there is such a file; unlike `Path.exists`, a link to nowhere is one."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


@contextlib.contextmanager
def for_tensorflow(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a path of a folder in which TensorFlow finds nothing to interpret.

    It takes `[`, `*`, `?` and a backslash for patterns at some places and not at others,
    and only UTF-8 for a name.

    Args:
      folder: a folder that is there.

    Raises:
      OSError: it cannot be opened.
    """
    if _TAKEN_LITERALLY.fullmatch(os.fspath(folder)):
        yield folder
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield _OPEN_FOLDERS / str(descriptor)
    finally:
        os.close(descriptor)


def as_named(text: str, folder: pathlib.Path) -> str:
    """Returns a message with the folder in place of what `for_tensorflow` yielded for it."""
    return re.sub(rf"{_OPEN_FOLDERS}/\d+", lambda _: str(folder), text)
