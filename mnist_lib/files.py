"""Writing a file so that it is never half there."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import secrets
import time

_LEFT_OVER = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{16}")
_LONGEST_WRITE = 60.0  # seconds; what has not got its name by then is of a killed process


def replace_file(path: pathlib.Path, content: bytes) -> None:
    """Writes a file durably; under its name is either the old one or all of the new one.

    A symbolic link of that name is replaced, and not followed.

    Args:
      path: the file; its folder exists. Several processes may write it at once.
      content: what it will hold.

    Raises:
      OSError: it could not be written; nothing of it is left.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    _remove_old_left_overs(path)
    try:
        with temporary.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        sync(path.parent)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def is_left_over(path: pathlib.Path, name: str | None = None) -> bool:
    """Whether a file is what `replace_file` writes to, of `name` or of any, before it is whole."""
    match = _LEFT_OVER.fullmatch(path.name)
    return match is not None and name in (None, match["name"])


def remove_left_overs(folder: pathlib.Path) -> None:
    """Removes what killed processes have left of any file, where nobody else writes.

    Raises:
      OSError: the folder cannot be read, or something in it not be removed.
    """
    for path in folder.iterdir() if folder.is_dir() else ():
        if is_left_over(path):
            path.unlink()


def _remove_old_left_overs(path: pathlib.Path) -> None:
    """Removes what processes that were killed while they wrote a file have left."""
    oldest = time.time() - _LONGEST_WRITE
    for other in path.parent.iterdir():
        if is_left_over(other, path.name):
            with contextlib.suppress(FileNotFoundError):  # another process does so, too
                if other.lstat().st_mtime < oldest:
                    other.unlink()


def publish_folder(built: pathlib.Path, name: pathlib.Path, root: pathlib.Path) -> None:
    """Gives a folder its name when all that is in it is on the disk; durably.

    Args:
      built: the folder.
      name: a path on the same file system, where nothing is, or an empty folder.
      root: a folder that is there, above `name`.

    Raises:
      OSError: it cannot be done.
    """
    for path in (*built.rglob("*"), built, built.parent):
        sync(path)
    name.parent.mkdir(parents=True, exist_ok=True)
    built.rename(name)
    for parent in name.parents:
        sync(parent)
        if parent == root:
            return


def sync(path: pathlib.Path) -> None:
    """Waits until a file, or what a folder lists, is on the disk.

    Raises:
      OSError: it cannot be.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
