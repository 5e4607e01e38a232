"""Paths that a user names: what they may be, and how TensorFlow is handed any of them."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import pwd
import re
from collections.abc import Iterator

from mnist_lib import errors, os_errors

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
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        problem = f"{text!r} is not a path; no name has such characters"
        raise errors.ConfigError(field, problem) from error
    if "\0" in text:
        raise errors.ConfigError(field, f"{text!r} has a null character, which no path can have")
    if _ADDRESS.match(text):
        scheme, _, rest = text.partition(":")
        advice = "copy it to a local or mounted folder and pass that"
        if scheme.lower() == "file" and not re.match("//[^/]", rest):  # else of another host
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


def check_makeable(field: str, path: pathlib.Path) -> None:
    """Checks, making nothing, that a folder can be made or written, also by TensorFlow.

    Raises:
      OutputError: it cannot.
    """
    another = f"Pass another --{field}."
    with os_errors.writing(path, another):
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


def check_not_led_away(field: str, path: pathlib.Path) -> None:
    """Checks that a path that is written to is no symbolic link which another user has made.

    One's own links, and root's, lead where they are meant to.

    Raises:
      OutputError: it is one.
    """
    if path.is_symlink() and path.lstat().st_uid not in (os.getuid(), 0):
        raise errors.OutputError(
            f"{path}: is a symbolic link of another user (to {os.readlink(path)}), and would be "
            f"written through. Pass another --{field}."
        )


def _exists(path: pathlib.Path) -> bool:
    """Whether there is such a file; unlike `Path.exists`, a link to nowhere is one."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
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
