"""Writing a file so that it is never half there."""

from __future__ import annotations

import contextlib
import os
import pathlib


def replace_file(path: pathlib.Path, content: bytes) -> None:
    """Writes a file durably; under its name is either the old one or all of the new one.

    Args:
      path: the file; its folder exists. Several processes may write it at once.
      content: what it will hold.

    Raises:
      OSError: it could not be written; nothing of it is left.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
