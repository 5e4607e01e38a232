"""Reads and writes the IDX files that MNIST is published in.

Format: http://yann.lecun.com/exdb/mnist (section FILE FORMATS). A file is a
big-endian header, magic `0x00000800 + number of dimensions` and one uint32 per
dimension, followed by one unsigned byte per element. QMNIST's labels are of the kind
`0x00000C00`: big-endian int32 (https://github.com/facebookresearch/qmnist, section 2.2).
"""

from __future__ import annotations

import math
import struct

import numpy as np

# The third byte of a file, by the type of its elements.
_TYPE_CODES = {np.dtype(np.uint8): 0x08, np.dtype(np.int32): 0x0C}


def parse_idx(content: bytes, num_dims: int, dtype: type[np.integer] = np.uint8) -> np.ndarray:
    """Reads an IDX file, all of whose header is checked.

    Args:
      content: the bytes of the file, decompressed.
      num_dims: dimensions it must have: 3 for images, 1 for labels, 2 for QMNIST's.
      dtype: what its elements must be, uint8 or int32.

    Returns:
      Array of `dtype` with `num_dims` dimensions.

    Raises:
      ValueError: wrong magic number, or a length that does not fit the header.
    """
    header_size = 4 + 4 * num_dims
    stored = np.dtype(dtype).newbyteorder(">")
    expected_magic = 0x100 * _TYPE_CODES[np.dtype(dtype)] + num_dims
    magic = struct.unpack(">I", content[:4])[0] if len(content) >= 4 else None
    if magic != expected_magic or len(content) < header_size:
        kind = "images" if num_dims == 3 else "labels"
        raise ValueError(f"IDX magic number is {magic}, expected {expected_magic} ({kind})")
    shape = struct.unpack(f">{num_dims}I", content[4:header_size])
    expected_length = header_size + stored.itemsize * math.prod(shape)
    if len(content) != expected_length:
        raise ValueError(
            f"{len(content)} bytes after decompression, but its header (shape {list(shape)}) "
            f"calls for {expected_length}"
        )
    array = np.frombuffer(content, stored, offset=header_size).reshape(shape)
    return array.astype(dtype, copy=False)


def to_idx(array: np.ndarray, dtype: type[np.integer] = np.uint8) -> bytes:
    """Returns the IDX file of an array, whose elements are stored as uint8 or int32."""
    magic = 0x100 * _TYPE_CODES[np.dtype(dtype)] + array.ndim
    header = struct.pack(f">{1 + array.ndim}I", magic, *array.shape)
    return header + np.ascontiguousarray(array, np.dtype(dtype).newbyteorder(">")).tobytes()
