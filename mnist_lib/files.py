"""Writing a file so that it is never half there."""

from __future__ import annotations

import contextlib
import os
import pathlib
import secrets


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
    try:
        with temporary.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


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
