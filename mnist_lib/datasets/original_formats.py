"""What an original file has to hold, and what is wrong with one that does not."""

from __future__ import annotations

import hashlib
import math
import pathlib

import numpy as np

from mnist_lib import bounded, errors
from mnist_lib.datasets import catalog, idx

REPLACE = (
    "Get the original, and pass its folder as --manual_dir: a proxy or an interrupted download "
    "often leaves such a file"
)
SPARE_BYTES = 2**20  # of what packs it


def unpacked_size(info: catalog.DatasetInfo, file: catalog.SourceFile) -> int:
    """Returns how many bytes an original has that is no longer packed."""
    shape = info.shape_in(file)
    item_bytes = 4 if "-int" in file.name else 1
    return 4 + 4 * len(shape) + item_bytes * math.prod(shape)


def most_bytes(info: catalog.DatasetInfo, file: catalog.SourceFile) -> int:
    """Returns how many bytes a file may have that is the original, packed or not."""
    return max(file.num_bytes or 0, unpacked_size(info, file)) + SPARE_BYTES


def is_published(file: catalog.SourceFile, content: bytes) -> bool:
    """Whether the bytes of a file are the published ones; False where that is not known."""
    if file.sha256 is not None:
        return hashlib.sha256(content).hexdigest() == file.sha256
    return file.md5 is not None and _md5(content) == file.md5


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def read_array(info: catalog.DatasetInfo, file: catalog.SourceFile, content: bytes) -> np.ndarray:
    """Reads the decompressed bytes of an original.

    Returns:
      uint8 `[N, 28, 28]` or labels `[N]`, as the file holds them, all of them.

    Raises:
      ValueError: it has another format, shape, or a label that is no class.
    """
    shape = info.shape_in(file)
    kind = "images" if "images" in file.name else "rows of labels"
    dtype = np.int32 if "-int" in file.name else np.uint8
    array = idx.parse_idx(content, len(shape), dtype)
    if len(array) != shape[0]:
        raise ValueError(f"holds {len(array)} examples, expected {shape[0]}")
    if array.shape != shape:
        found, wanted = ("x".join(map(str, one[1:])) for one in (array.shape, shape))
        raise ValueError(f"{kind} are {found}, expected {wanted}")
    if kind == "images":
        return array
    labels = array[:, 0] if array.ndim == 2 else array  # the others tell where a digit is from
    first, last = info.first_label, info.first_label + len(info.class_names) - 1
    wrong = np.flatnonzero((labels < first) | (labels > last))
    if wrong.size:
        raise ValueError(
            f"label {labels[wrong[0]]} at index {wrong[0]} is not in [{first}, {last}]"
        )
    return labels


def content_problem(
    info: catalog.DatasetInfo, file: catalog.SourceFile, content: bytes
) -> str | None:
    """Says what is wrong with the decompressed bytes of an original; None: nothing known."""
    try:
        read_array(info, file, content)
    except ValueError as error:
        return str(error)
    found = hashlib.sha256(content).hexdigest()
    if file.content_sha256 in (None, found):
        return None
    name = file.name.removesuffix(".gz")
    return f"SHA-256 of {name} is {found}, expected {file.content_sha256}"


def gzip_error(
    info: catalog.DatasetInfo, file: catalog.SourceFile, path: pathlib.Path, content: bytes
) -> errors.CorruptDataError:
    """Says what is wrong with a file that should be a published `.gz` and is not."""
    try:
        decompressed = bounded.unpack_gzip(content, unpacked_size(info, file) + SPARE_BYTES)
    except ValueError as error:
        problem = f"{error}, it begins with {content[:15]!r}"
    else:
        problem = content_problem(info, file, decompressed) or ""
        if not problem or problem.startswith("SHA-256"):
            problem = "it is another file"
    checksums = f"SHA-256 is {hashlib.sha256(content).hexdigest()} ({len(content)} bytes)"
    if file.sha256 is not None:
        checksums += f", expected {file.sha256} ({file.num_bytes} bytes)"
    elif file.md5 is not None:
        checksums += f", MD5 {_md5(content)}, expected {file.md5}"
    return errors.CorruptDataError(f"{path}: {problem}. {checksums}. {REPLACE}.")
