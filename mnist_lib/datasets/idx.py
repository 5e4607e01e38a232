"""Reads and checks the IDX files that MNIST is published in.

Format: http://yann.lecun.com/exdb/mnist (section FILE FORMATS). A file is a
big-endian header, magic `0x00000800 + number of dimensions` and one uint32 per
dimension, followed by one unsigned byte per element.
"""

from __future__ import annotations

import gzip
import hashlib
import pathlib
import struct
import zlib

import numpy as np

from mnist_lib import errors
from mnist_lib.datasets import catalog

_REPLACE = "Replace the file with the original"


def read_idx(path: pathlib.Path, num_dims: int) -> np.ndarray:
    """Reads a gzip IDX file of unsigned bytes and checks all of its header.

    Args:
      path: the file.
      num_dims: dimensions it must have: 3 for images, 1 for labels.

    Returns:
      uint8 array with `num_dims` dimensions.

    Raises:
      CorruptDataError: not gzip, wrong magic, or a length that does not fit.
    """
    try:
        with gzip.open(path, "rb") as stream:
            content = stream.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        first = path.open("rb").read(64)
        raise errors.CorruptDataError(
            f"{path}: not a complete gzip file ({error}); it begins with {first[:16]!r}. "
            f"{_REPLACE}: a proxy or an interrupted download often leaves such a file."
        ) from error
    header_size = 4 + 4 * num_dims
    expected_magic = 0x800 + num_dims
    magic = struct.unpack(">I", content[:4])[0] if len(content) >= 4 else None
    if magic != expected_magic or len(content) < header_size:
        raise errors.CorruptDataError(
            f"{path}: IDX magic number is {magic}, expected {expected_magic} "
            f"({'images' if num_dims == 3 else 'labels'}). {_REPLACE}."
        )
    shape = struct.unpack(f">{num_dims}I", content[4:header_size])
    expected_length = header_size + int(np.prod(shape))
    if len(content) != expected_length:
        raise errors.CorruptDataError(
            f"{path}: {len(content)} bytes after decompression, but its header "
            f"(shape {list(shape)}) calls for {expected_length}. {_REPLACE}."
        )
    return np.frombuffer(content, np.uint8, offset=header_size).reshape(shape)


def check_images_and_labels(
    images_path: pathlib.Path,
    labels_path: pathlib.Path,
    num_examples: int,
    num_classes: int,
) -> None:
    """Checks one pair of IDX files: shapes, counts and the range of labels.

    Raises:
      CorruptDataError: names the file, the value found and where.
    """
    images = read_idx(images_path, num_dims=3)
    labels = read_idx(labels_path, num_dims=1)
    if images.shape[1:] != (28, 28):
        raise errors.CorruptDataError(
            f"{images_path}: images are {images.shape[1]}x{images.shape[2]}, "
            f"expected 28x28. {_REPLACE}."
        )
    for path, array in ((images_path, images), (labels_path, labels)):
        if len(array) != num_examples:
            raise errors.CorruptDataError(
                f"{path}: holds {len(array)} examples, expected {num_examples}. {_REPLACE}."
            )
    wrong = np.flatnonzero(labels >= num_classes)
    if wrong.size:
        raise errors.CorruptDataError(
            f"{labels_path}: label {labels[wrong[0]]} at index {wrong[0]} is not in "
            f"[0, {num_classes - 1}]. {_REPLACE}."
        )


def check_checksum(path: pathlib.Path, expected: catalog.SourceFile) -> None:
    """Compares a file with the size and SHA-256 of the original.

    Raises:
      CorruptDataError: names what was expected and what was found.
    """
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != expected.sha256:
        raise errors.CorruptDataError(
            f"{path}: SHA-256 is {found} ({len(content)} bytes), expected "
            f"{expected.sha256} ({expected.num_bytes} bytes). {_REPLACE}."
        )
