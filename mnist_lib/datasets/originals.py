"""The original files of a data set: found in any usual form, and verified.

What leaves this module is a folder with the four `.gz` files under their published
names, or the archive that they come in, each of which is known to be what was published as
far as that is known: TFDS trusts what it finds there by name.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import pathlib

import numpy as np

from mnist_lib import bounded, errors, os_errors
from mnist_lib.datasets import archives, catalog, idx, npz, original_formats, wrappings
from mnist_lib.datasets.original_formats import REPLACE, SPARE_BYTES

_logger = logging.getLogger(__name__)

# Keras's npz (keras.datasets.mnist.load_data): one array per original file, in order.
_NPZ_KEYS = ("x_train", "y_train", "x_test", "y_test")


def collect_originals(
    info: catalog.DatasetInfo, folder: pathlib.Path, staging: pathlib.Path
) -> pathlib.Path:
    """Verifies the original files in `folder`, in whichever form they are there.

    Args:
      info: the data set.
      folder: holds the four files as `wrappings.find` finds them, the archive with them as
        `archives.find` does, or Keras's `<name>.npz`; or is such an archive or `.npz`.
      staging: an empty folder to which other forms are converted.

    Returns:
      The folder with the four `.gz` files, or a small archive of them: `folder` itself, or
      `staging`.

    Raises:
      DataNotFoundError: the folder does not have them, or they cannot be read.
      CorruptDataError: a file is not what was published.
      OutputError, StorageError: `staging` cannot be written.
    """
    with os_errors.reading(folder, "Pass a --manual_dir that you may read."):
        archive = archives.find(info, folder)
        packed = _collect(info, folder) if archive is None else archives.read_files(info, archive)
    if packed is None:
        return folder
    with os_errors.writing(staging, "Set TMPDIR to a folder that you may write."):
        if info.archive is not None:
            archives.write(info, packed, staging)
            return staging
        for file, content in zip(info.files, packed, strict=True):
            (staging / file.name).write_bytes(content)
    return staging


def _collect(info: catalog.DatasetInfo, folder: pathlib.Path) -> list[bytes] | None:
    """Returns the four `.gz` files; None: they lie in `folder` as they were published."""
    packed_path = folder if folder.is_file() else folder / f"{info.name}.npz"
    has_npz = info.archive is None and info.num_in_files is None  # one label, all images in use
    found = wrappings.find(info, folder)
    if len(found) < len(info.files) and has_npz and packed_path.is_file():
        contents = [idx.to_idx(array) for array in _read_npz(info, packed_path)]
        for file, content in zip(info.files, contents, strict=True):
            _check_owner(info, file, packed_path, hashlib.sha256(content).hexdigest())
            _verify_content(info, file, packed_path, content)
        return [_pack(content) for content in contents]
    if not folder.is_dir():
        raise errors.DataNotFoundError(
            f"{folder}: no such directory. Pass --manual_dir=<folder with {names(info)}>."
        )
    missing = [file.name for file in info.files if file.name not in found]
    if missing:
        other = packed_path if has_npz else info.archive
        instead = f", and there is no {other.name}" if other else ""
        raise errors.DataNotFoundError(
            f"{folder}: {', '.join(missing)} missing{instead}; it has "
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
    if original_formats.is_published(file, raw):
        return None
    _check_owner(info, file, path, hashlib.sha256(raw).hexdigest())
    try:
        content = wrappings.unpack(raw, original_formats.unpacked_size(info, file) + SPARE_BYTES)
    except ValueError as error:
        raise original_formats.gzip_error(info, file, path, raw) from error
    _check_owner(info, file, path, hashlib.sha256(content).hexdigest())
    if path.suffix == ".gz" and original_formats.content_problem(info, file, content):
        raise original_formats.gzip_error(info, file, path, raw)
    _verify_content(info, file, path, content)
    return _pack(content)


def _read(info: catalog.DatasetInfo, file: catalog.SourceFile, path: pathlib.Path) -> bytes:
    """Reads a file, packed or not, that should be an original; no more than one can have."""
    try:
        return bounded.read_file(path, original_formats.most_bytes(info, file))
    except ValueError as error:
        size = file.num_bytes or original_formats.unpacked_size(info, file)
        raise errors.CorruptDataError(
            f"{path}: {error}, and {file.name} has {size:,}. {REPLACE}."
        ) from error


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
    if not original_formats.is_published(file, content):
        raise original_formats.gzip_error(info, file, path, content)


def _verify_content(
    info: catalog.DatasetInfo, file: catalog.SourceFile, path: pathlib.Path, content: bytes
) -> None:
    """Checks the decompressed bytes of an original: format, counts, labels, checksum."""
    if problem := original_formats.content_problem(info, file, content):
        raise errors.CorruptDataError(f"{path}: {problem}. {REPLACE}.")
    if file.content_sha256 is None:
        _logger.warning("%s: no checksum is published for it; only its format is checked", path)


def _read_npz(info: catalog.DatasetInfo, path: pathlib.Path) -> list[np.ndarray]:
    """Reads Keras's npz; never unpickles anything."""
    sizes = {
        key: original_formats.unpacked_size(info, file)
        for key, file in zip(_NPZ_KEYS, info.files, strict=True)
    }
    try:
        arrays = npz.read_arrays(bounded.read_file(path, sum(sizes.values()) + SPARE_BYTES), sizes)
    except ValueError as error:
        raise errors.CorruptDataError(
            f"{path}: cannot be read without unpickling ({error}). {REPLACE}."
        ) from error
    for key, array in arrays.items():
        num_dims = 3 if key.startswith("x") else 1
        if array.dtype != np.uint8 or array.ndim != num_dims:
            raise errors.CorruptDataError(
                f"{path}: {key} is {array.dtype} {list(array.shape)}, expected uint8 with "
                f"{num_dims} dimensions. {REPLACE}."
            )
    return list(arrays.values())


def how_to_provide(info: catalog.DatasetInfo) -> str:
    """Says what a user can do who has no download."""
    return (
        f"put {names(info)} (from {info.url}) in a folder and pass --manual_dir=<that folder>, or "
        "pass --data_dir=<folder prepared by scripts/prepare_data.py on a machine with a network>"
    )


def names(info: catalog.DatasetInfo) -> str:
    """Returns the names of what is published of a data set, for errors."""
    return ", ".join(file.name for file in info.published)
