"""The original files of a data set: found in any usual form, and verified.

What leaves this module is a folder with the four `.gz` files under their published
names, each of which is known to be what was published: TFDS trusts what it finds
there by name.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import pathlib
import zipfile
import zlib

import numpy as np

from mnist_lib import errors
from mnist_lib.datasets import catalog, idx

_logger = logging.getLogger(__name__)

_REPLACE = (
    "Replace it with the original: a proxy or an interrupted download often leaves such a file"
)
# Keras's npz (keras.datasets.mnist.load_data): one array per original file, in order.
_NPZ_KEYS = ("x_train", "y_train", "x_test", "y_test")


def collect_originals(
    info: catalog.DatasetInfo, folder: pathlib.Path, staging: pathlib.Path
) -> pathlib.Path:
    """Verifies the original files in `folder`, in whichever form they are there.

    Args:
      info: the data set.
      folder: holds the four `.gz` files, or the same without gzip, or Keras's
        `<name>.npz`.
      staging: an empty folder to which other forms are converted.

    Returns:
      The folder with the four `.gz` files: `folder` itself, or `staging`.

    Raises:
      DataNotFoundError: the folder does not have them.
      CorruptDataError: a file is not what was published.
    """
    if not folder.is_dir():
        raise errors.DataNotFoundError(
            f"{folder}: no such directory. Pass --manual_dir=<folder with {_names(info)}>."
        )
    if all((folder / file.name).is_file() for file in info.files):
        for file in info.files:
            verify_gzip(info, file, folder / file.name)
        return folder
    npz = folder / f"{info.name}.npz"
    plain = [folder / file.name.removesuffix(".gz") for file in info.files]
    if all(path.is_file() for path in plain):
        contents = [path.read_bytes() for path in plain]
    elif npz.is_file():
        plain = [npz] * len(info.files)
        contents = [idx.to_idx(array) for array in _read_npz(npz)]
    else:
        missing = [file.name for file in info.files if not (folder / file.name).is_file()]
        raise errors.DataNotFoundError(
            f"{folder}: {', '.join(missing)} missing, and there is no {npz.name}. Copy "
            f"the original files from {info.url} there, or leave out --manual_dir to download them."
        )
    for file, path, content in zip(info.files, plain, contents, strict=True):
        _verify_content(info, file, path, content)
        (staging / file.name).write_bytes(gzip.compress(content, compresslevel=1, mtime=0))
    return staging


def verify_gzip(info: catalog.DatasetInfo, file: catalog.SourceFile, path: pathlib.Path) -> None:
    """Compares a `.gz` file with the published one.

    If it differs it is read, so that the error says what is wrong with it and not only
    that it differs.

    Raises:
      CorruptDataError: names the file, what was expected and what was found.
    """
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    problem = "it is another file"
    try:
        decompressed = gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        problem = f"not a complete gzip file ({error}), it begins with {content[:15]!r}"
    else:
        problem = _format_problem(info, file, decompressed) or problem
        if found == file.sha256 and problem == "it is another file":
            return
    raise errors.CorruptDataError(
        f"{path}: {problem}. SHA-256 is {found} ({len(content)} bytes), expected {file.sha256} "
        f"({file.num_bytes} bytes). {_REPLACE}."
    )


def _verify_content(
    info: catalog.DatasetInfo, file: catalog.SourceFile, path: pathlib.Path, content: bytes
) -> None:
    """Checks the decompressed bytes of an original: format, counts, labels, checksum."""
    if problem := _format_problem(info, file, content):
        raise errors.CorruptDataError(f"{path}: {problem}. {_REPLACE}.")
    found = hashlib.sha256(content).hexdigest()
    if file.content_sha256 is None:
        _logger.warning("%s: no checksum is published for it; only its format is checked", path)
    elif found != file.content_sha256:
        raise errors.CorruptDataError(
            f"{path}: SHA-256 of {file.name.removesuffix('.gz')} is {found}, "
            f"expected {file.content_sha256}. {_REPLACE}."
        )


def _format_problem(
    info: catalog.DatasetInfo, file: catalog.SourceFile, content: bytes
) -> str | None:
    """Says what is wrong with the decompressed bytes of an original; None: nothing."""
    has_images = "images" in file.name
    try:
        array = idx.parse_idx(content, num_dims=3 if has_images else 1)
    except ValueError as error:
        return str(error)
    num_examples = info.num_train if file.name.startswith("train") else info.num_test
    if len(array) != num_examples:
        return f"holds {len(array)} examples, expected {num_examples}"
    if has_images:
        if array.shape[1:] != (28, 28):
            return f"images are {array.shape[1]}x{array.shape[2]}, expected 28x28"
        return None
    wrong = np.flatnonzero(array >= len(info.class_names))
    if wrong.size:
        largest = len(info.class_names) - 1
        return f"label {array[wrong[0]]} at index {wrong[0]} is not in [0, {largest}]"
    return None


def _read_npz(path: pathlib.Path) -> list[np.ndarray]:
    """Reads Keras's npz; never unpickles anything."""
    try:
        if not zipfile.is_zipfile(path):  # np.load would read other formats too
            raise ValueError("it is no npz file")
        with np.load(path, allow_pickle=False) as arrays:
            missing = [key for key in _NPZ_KEYS if key not in arrays]
            if missing:
                raise errors.CorruptDataError(
                    f"{path}: has {', '.join(arrays.files)}, not {', '.join(missing)}. {_REPLACE}."
                )
            found = [arrays[key] for key in _NPZ_KEYS]
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise errors.CorruptDataError(
            f"{path}: cannot be read without unpickling ({error}). {_REPLACE}."
        ) from error
    for key, array in zip(_NPZ_KEYS, found, strict=True):
        num_dims = 3 if key.startswith("x") else 1
        if array.dtype != np.uint8 or array.ndim != num_dims:
            raise errors.CorruptDataError(
                f"{path}: {key} is {array.dtype} {list(array.shape)}, expected uint8 with "
                f"{num_dims} dimensions. {_REPLACE}."
            )
    return found


def how_to_provide(info: catalog.DatasetInfo) -> str:
    """Says what a user can do who has no download."""
    return (
        f"put {_names(info)} (from {info.url}) in a folder and pass --manual_dir=<that folder>, or "
        "pass --data_dir=<folder prepared by scripts/prepare_data.py on a machine with a network>"
    )


def _names(info: catalog.DatasetInfo) -> str:
    return ", ".join(file.name for file in info.files)
