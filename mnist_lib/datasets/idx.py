"""Reads and writes the IDX files that MNIST is published in.

Format: http://yann.lecun.com/exdb/mnist (section FILE FORMATS). A file is a
big-endian header, magic `0x00000800 + number of dimensions` and one uint32 per
dimension, followed by one unsigned byte per element.
"""

from __future__ import annotations

import struct

import numpy as np


def parse_idx(content: bytes, num_dims: int) -> np.ndarray:
    """Reads an IDX file of unsigned bytes, all of whose header is checked.

    Args:
      content: the bytes of the file, decompressed.
      num_dims: dimensions it must have: 3 for images, 1 for labels.

    Returns:
      uint8 array with `num_dims` dimensions.

    Raises:
      ValueError: wrong magic number, or a length that does not fit the header.
    """
    header_size = 4 + 4 * num_dims
    expected_magic = 0x800 + num_dims
    magic = struct.unpack(">I", content[:4])[0] if len(content) >= 4 else None
    if magic != expected_magic or len(content) < header_size:
        kind = "images" if num_dims == 3 else "labels"
        raise ValueError(f"IDX magic number is {magic}, expected {expected_magic} ({kind})")
    shape = struct.unpack(f">{num_dims}I", content[4:header_size])
    expected_length = header_size + int(np.prod(shape, dtype=np.int64))
    if len(content) != expected_length:
        raise ValueError(
            f"{len(content)} bytes after decompression, but its header (shape {list(shape)}) "
            f"calls for {expected_length}"
        )
    return np.frombuffer(content, np.uint8, offset=header_size).reshape(shape)


def to_idx(array: np.ndarray) -> bytes:
    """Returns the IDX file of a uint8 array."""
    header = struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape)
    return header + np.ascontiguousarray(array, np.uint8).tobytes()
