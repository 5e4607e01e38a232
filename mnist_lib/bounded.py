"""Reads no more than a file can have to hold, and unpacks and parses no more either.

What is wrong is a ValueError, which whoever knows the file makes an error of ours.
"""

from __future__ import annotations

import collections
import errno
import gzip
import io
import json
import os
import pathlib
import stat
import zlib
from typing import Any

# Of JSON without its spaces, of which Python makes up to 35 times as much in memory.
MOST_JSON_BYTES = 16 * 2**20
_SPACES = b" \t\r\n"
_SPACES_TO_REST = 8  # of an indented matrix of counts


def read_file(path: pathlib.Path, most: int) -> bytes:
    """Returns what a file holds.

    Args:
      path: a regular file. Of a pipe, whose writer may never come, nothing is waited for.
      most: bytes that it may have.

    Raises:
      ValueError: it has more.
      OSError: it cannot be read, or is no regular file.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", os.fspath(path))
        content = stream.read(most + 1) if status.st_size <= most else None
    if content is None or len(content) > most:
        raise ValueError(f"it has more than {most:,} bytes")
    return content


def unpack_gzip(packed: bytes, most: int) -> bytes:
    """Returns what gzip has packed.

    Args:
      packed: all of it.
      most: bytes that it may become.

    Raises:
      ValueError: it becomes more, or is damaged.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as stream:
            content = stream.read(most + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"not a complete gzip file ({error})") from error
    if len(content) > most:
        raise ValueError(f"it unpacks to more than {most:,} bytes")
    return content


def read_json(path: pathlib.Path) -> Any:
    """Returns what a file says in JSON, in UTF-8.

    Raises:
      ValueError: it says nothing, or more than `MOST_JSON_BYTES`; see `parse_json`.
      OSError: as for `read_file`.
    """
    return parse_json(read_file(path, _SPACES_TO_REST * MOST_JSON_BYTES))


def parse_json(text: str | bytes) -> Any:
    """Returns what a text says in JSON, so that it can mean one thing only.

    Raises:
      ValueError: it is not JSON, too long, nested too deep, or has a name twice in one object.
    """
    encoded = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    if len(encoded.translate(None, _SPACES)) > MOST_JSON_BYTES:
        raise ValueError(f"it has more than {MOST_JSON_BYTES:,} characters")
    decoded = text.decode("utf-8") if isinstance(text, bytes) else text
    try:
        return json.loads(decoded, object_pairs_hook=_without_doubles)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def parse_object(text: str | bytes) -> dict[str, Any]:
    """Returns the one object that a text holds in JSON.

    Raises:
      ValueError: as for `parse_json`, or it is none.
    """
    return checked_object(parse_json(text))


def checked_object(value: Any) -> dict[str, Any]:
    """Returns what JSON held if it is an object.

    Raises:
      ValueError: it is none.
    """
    if not isinstance(value, dict):
        raise ValueError(f"it holds a {type(value).__name__}, not an object {{...}}")
    return value


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        numbers = collections.Counter(name for name, _ in pairs)
        double = numbers.most_common(1)[0][0]
        raise ValueError(f"it has the name {double[:40]!r} twice in one object")
    return found
