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

import numpy as np

from mnist_lib import bounded, errors, os_errors
from mnist_lib.datasets import catalog, idx, npz, wrappings

_logger = logging.getLogger(__name__)

_REPLACE = (
    "Get the original, and pass its folder as --manual_dir: a proxy or an interrupted download "
    "often leaves such a file"
)
# Keras's npz (keras.datasets.mnist.load_data): one array per original file, in order.
_NPZ_KEYS = ("x_train", "y_train", "x_test", "y_test")
_SPARE = 2**20  # of what packs it


def collect_originals(
    info: catalog.DatasetInfo, folder: pathlib.Path, staging: pathlib.Path
) -> pathlib.Path:
    """Verifies the original files in `folder`, in whichever form they are there.

    Args:
      info: the data set.
      folder: holds the four files as `wrappings.find` finds them, or Keras's
        `<name>.npz`; or is such a `.npz`.
      staging: an empty folder to which other forms are converted.

    Returns:
      The folder with the four `.gz` files: `folder` itself, or `staging`.

    Raises:
      DataNotFoundError: the folder does not have them, or they cannot be read.
      CorruptDataError: a file is not what was published.
      OutputError, StorageError: `staging` cannot be written.
    """
    with os_errors.reading(folder, "Pass a --manual_dir that you may read."):
        packed = _collect(info, folder)
    if packed is None:
        return folder
    with os_errors.writing(staging, "Set TMPDIR to a folder that you may write."):
        for file, content in zip(info.files, packed, strict=True):
            (staging / file.name).write_bytes(content)
    return staging


def _collect(info: catalog.DatasetInfo, folder: pathlib.Path) -> list[bytes] | None:
    """Returns the four `.gz` files; None: they lie in `folder` as they were published."""
    packed_path = folder if folder.is_file() else folder / f"{info.name}.npz"
    found = wrappings.find(info, folder)
    if len(found) < len(info.files) and packed_path.is_file():
        contents = [idx.to_idx(array) for array in _read_npz(info, packed_path)]
        for file, content in zip(info.files, contents, strict=True):
            _check_owner(info, file, packed_path, hashlib.sha256(content).hexdigest())
            _verify_content(info, file, packed_path, content)
        return [_pack(content) for content in contents]
    if not folder.is_dir():
        raise errors.DataNotFoundError(
            f"{folder}: no such directory. Pass --manual_dir=<folder with {_names(info)}>."
        )
    missing = [file.name for file in info.files if file.name not in found]
    if missing:
        raise errors.DataNotFoundError(
            f"{folder}: {', '.join(missing)} missing, and there is no {packed_path.name}; it has "
            f"{wrappings.listing(folder)}. Pass a --manual_dir with the original files from "
            f"{info.url}, or leave it out to download them."
        )
    packed = [_verified(info, file, found[file.name]) for file in info.files]
    in_place = all(found[file.name] == folder / file.name for file in info.files)
    return (
        None
        if in_place and all(content is None for content in packed)
        else [
            _read(info, file, found[file.name]) if content is None else content
            for file, content in zip(info.files, packed, strict=True)
        ]
    )


def _verified(
    info: catalog.DatasetInfo, file: catalog.SourceFile, path: pathlib.Path
) -> bytes | None:
    """Returns a file that was packed otherwise as `.gz`; None: it is the published one."""
    raw = _read(info, file, path)
    digest = hashlib.sha256(raw).hexdigest()
    if digest == file.sha256:
        return None
    _check_owner(info, file, path, digest)
    try:
        content = wrappings.unpack(raw, _unpacked_size(info, file) + _SPARE)
    except ValueError as error:
        raise _gzip_error(info, file, path, raw) from error
    _check_owner(info, file, path, hashlib.sha256(content).hexdigest())
    if path.suffix == ".gz" and _content_problem(info, file, content):
        raise _gzip_error(info, file, path, raw)
    _verify_content(info, file, path, content)
    return _pack(content)


def _read(info: catalog.DatasetInfo, file: catalog.SourceFile, path: pathlib.Path) -> bytes:
    """Reads a file, packed or not, that should be an original; no more than one can have."""
    try:
        return bounded.read_file(path, max(file.num_bytes, _unpacked_size(info, file)) + _SPARE)
    except ValueError as error:
        raise errors.CorruptDataError(
            f"{path}: {error}, and {file.name} has {file.num_bytes:,}. {_REPLACE}."
        ) from error


def _unpacked_size(info: catalog.DatasetInfo, file: catalog.SourceFile) -> int:
    """Returns how many bytes an original has that is no longer packed."""
    num_examples = info.num_train if file.name.startswith("train") else info.num_test
    return 16 + 784 * num_examples if "images" in file.name else 8 + num_examples


def _check_owner(
    info: catalog.DatasetInfo, file: catalog.SourceFile, path: pathlib.Path, digest: str
) -> None:
    """Refuses what is known as a file of another data set, or as another of the four."""
    for other in catalog.CATALOG.values():
        for known in other.files:
            if digest in (known.sha256, known.content_sha256) and known != file:
                raise errors.CorruptDataError(
                    f"{path}: is {known.name} of {other.name}, not {file.name} of {info.name}. "
                    f"Pass the --manual_dir of {info.name}, or --dataset={other.name}."
                )


def _pack(content: bytes) -> bytes:
    return gzip.compress(content, compresslevel=1, mtime=0)


def verify_gzip(info: catalog.DatasetInfo, file: catalog.SourceFile, path: pathlib.Path) -> None:
    """Compares a `.gz` file with the published one.

    If it differs it is read, so that the error says what is wrong with it and not only
    that it differs.

    Raises:
      CorruptDataError: names the file, what was expected and what was found.
    """
    content = _read(info, file, path)
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise _gzip_error(info, file, path, content)


def _gzip_error(
    info: catalog.DatasetInfo, file: catalog.SourceFile, path: pathlib.Path, content: bytes
) -> errors.CorruptDataError:
    """Says what is wrong with a file that should be a published `.gz` and is not."""
    try:
        decompressed = bounded.unpack_gzip(content, _unpacked_size(info, file) + _SPARE)
    except ValueError as error:
        problem = f"{error}, it begins with {content[:15]!r}"
    else:
        problem = _format_problem(info, file, decompressed) or "it is another file"
    return errors.CorruptDataError(
        f"{path}: {problem}. SHA-256 is {hashlib.sha256(content).hexdigest()} ({len(content)} "
        f"bytes), expected {file.sha256} ({file.num_bytes} bytes). {_REPLACE}."
    )


def _verify_content(
    info: catalog.DatasetInfo, file: catalog.SourceFile, path: pathlib.Path, content: bytes
) -> None:
    """Checks the decompressed bytes of an original: format, counts, labels, checksum."""
    if problem := _content_problem(info, file, content):
        raise errors.CorruptDataError(f"{path}: {problem}. {_REPLACE}.")
    if file.content_sha256 is None:
        _logger.warning("%s: no checksum is published for it; only its format is checked", path)


def _content_problem(
    info: catalog.DatasetInfo, file: catalog.SourceFile, content: bytes
) -> str | None:
    """Says what is wrong with the decompressed bytes of an original; None: nothing known."""
    if problem := _format_problem(info, file, content):
        return problem
    found = hashlib.sha256(content).hexdigest()
    if file.content_sha256 in (None, found):
        return None
    name = file.name.removesuffix(".gz")
    return f"SHA-256 of {name} is {found}, expected {file.content_sha256}"


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


def _read_npz(info: catalog.DatasetInfo, path: pathlib.Path) -> list[np.ndarray]:
    """Reads Keras's npz; never unpickles anything."""
    sizes = {key: _unpacked_size(info, of) for key, of in zip(_NPZ_KEYS, info.files, strict=True)}
    try:
        arrays = npz.read_arrays(bounded.read_file(path, sum(sizes.values()) + _SPARE), sizes)
    except ValueError as error:
        raise errors.CorruptDataError(
            f"{path}: cannot be read without unpickling ({error}). {_REPLACE}."
        ) from error
    for key, array in arrays.items():
        num_dims = 3 if key.startswith("x") else 1
        if array.dtype != np.uint8 or array.ndim != num_dims:
            raise errors.CorruptDataError(
                f"{path}: {key} is {array.dtype} {list(array.shape)}, expected uint8 with "
                f"{num_dims} dimensions. {_REPLACE}."
            )
    return list(arrays.values())


def how_to_provide(info: catalog.DatasetInfo) -> str:
    """Says what a user can do who has no download."""
    return (
        f"put {_names(info)} (from {info.url}) in a folder and pass --manual_dir=<that folder>, or "
        "pass --data_dir=<folder prepared by scripts/prepare_data.py on a machine with a network>"
    )


def _names(info: catalog.DatasetInfo) -> str:
    return ", ".join(file.name for file in info.files)
