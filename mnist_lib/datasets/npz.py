"""Reads the arrays of an `.npz` file that anybody may have made: bounded, never unpickled."""

from __future__ import annotations

import io
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np

_MOST_ENTRIES = 1000
_ENTRY_BEGINS = b"PK\x01\x02"  # in the list of files that a zip archive ends with
HEADER_BYTES = 2**16


def read_arrays(raw: bytes, sizes: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Returns uint8 arrays of an `.npz` file.

    Args:
      raw: all of the file.
      sizes: name of an array to the bytes that its values may have.

    Returns:
      Those arrays, by name.

    Raises:
      ValueError: it is no such file, is damaged or encrypted, lacks one, or one is larger or
        of another dtype.
    """
    if raw.count(_ENTRY_BEGINS) > _MOST_ENTRIES:
        raise ValueError(f"it has more than {_MOST_ENTRIES} entries")
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            there = [name.removesuffix(".npy") for name in archive.namelist()]
            missing = [name for name in sizes if name not in there]
            if missing:
                has = ", ".join(there)[:200] or "nothing"
                raise ValueError(f"it has {has}, not {', '.join(missing)}")
            return {name: _array(archive, name, size) for name, size in sizes.items()}
    except (
        *(zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError),
        *(OSError, KeyError, IndexError, OverflowError, struct.error),
    ) as error:  # RuntimeError: encrypted; NotImplementedError: packed otherwise
        raise ValueError(f"it is no whole npz file: {error or type(error).__name__}") from error


def _array(archive: zipfile.ZipFile, name: str, size: int) -> np.ndarray:
    with archive.open(f"{name}.npy") as stream:
        head = stream.read(HEADER_BYTES)
        shape, is_fortran, dtype, begin = read_header(head)
        num_bytes = math.prod(shape)
        if dtype != np.uint8 or num_bytes > size:
            raise ValueError(
                f"{name} is {dtype} {list(shape)}, expected uint8 of at most {size:,} bytes"
            )
        content = head[begin:] + stream.read(num_bytes)
    if num_bytes != len(content):
        raise ValueError(f"{name} is {list(shape)} by its header, and has other bytes than those")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")


def read_header(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Returns shape, whether the first index runs fastest, dtype, and where the values begin.

    Args:
      head: the first `HEADER_BYTES` of an `.npy` file.

    Raises:
      ValueError: it is no such file, or of objects, which would have to be unpickled.
    """
    stream = io.BytesIO(head)
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        elif version in ((2, 0), (3, 0)):
            shape, is_fortran, dtype = np.lib.format.read_array_header_2_0(stream)
        else:
            raise ValueError(f"format {version} is not known")
    except (
        *(EOFError, SyntaxError, OverflowError, TypeError, RecursionError, MemoryError),
        *(KeyError, AttributeError, IndexError, tokenize.TokenError),
    ) as error:
        raise ValueError(f"its header is damaged ({error or type(error).__name__})") from error
    if dtype.hasobject:
        raise ValueError("it holds objects, which would have to be unpickled")
    if any(side < 0 for side in shape) or not dtype.itemsize:
        raise ValueError(f"its header asks for {dtype} {list(shape)}")
    return shape, is_fortran, dtype, stream.tell()
