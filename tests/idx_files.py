"""Writes IDX files, right and wrong ones, for the tests."""

import gzip
import pathlib
import struct

import numpy as np


def idx_bytes(array: np.ndarray, magic: int | None = None) -> bytes:
    """The IDX form of a uint8 array."""
    magic = 0x800 + array.ndim if magic is None else magic
    header = struct.pack(f">{1 + array.ndim}I", magic, *array.shape)
    return header + np.ascontiguousarray(array, np.uint8).tobytes()


def write_gzip(path: pathlib.Path, content: bytes) -> None:
    """Writes a gzip file with a fixed time stamp."""
    path.write_bytes(gzip.compress(content, compresslevel=1, mtime=0))
