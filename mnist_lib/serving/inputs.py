"""Reads the files that are to be predicted: pictures, `.npy` and IDX files with many images."""

from __future__ import annotations

import dataclasses
import gzip
import math
import os
import pathlib
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import numpy as np

from mnist_lib import errors, os_errors, paths
from mnist_lib.datasets import idx, npz
from mnist_lib.serving import pictures

_NPY_MAGIC, _IDX_MAGIC, _GZIP_MAGIC = b"\x93NUMPY", b"\x00\x00\x08\x03", b"\x1f\x8b"
_MOST_BYTES = 128 * 2**20  # of an IDX file, unpacked: more than twice MNIST's largest
_IDX_HEADER = 16
_READABLE = "Pass a file that is there and that you may read."
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")


@dataclasses.dataclass(frozen=True)
class FoundImage:
    """An image that a file holds, as the model takes it.

    Attributes:
      image: of the model's shape and dtype.
      index: its number in the file, in a line of digits from the left; None where a file is one.
      box: left, top, right, bottom in the picture; None of `.npy` and IDX files.
    """

    image: np.ndarray
    index: int | None = None
    box: tuple[int, int, int, int] | None = None


@dataclasses.dataclass(frozen=True)
class ImageKind:
    """What a model takes.

    Attributes:
      shape: `(H, W, C)`.
      dtype: name of the dtype.
      are_digits: whether they are made as MNIST's are, so that digits are looked for in pictures.
      dataset: what the model was trained on, for errors.
    """

    shape: tuple[int, ...]
    dtype: str
    are_digits: bool
    dataset: str


def files_of(path: str | os.PathLike[str]) -> list[pathlib.Path]:
    """Returns a file, or the pictures in a folder in the order of their names.

    Raises:
      DataNotFoundError: the folder holds none.
    """
    local = paths.local("file", path)
    if not local.is_dir():
        return [local]
    with os_errors.reading(local, "Pass a folder that you may read."):
        found = sorted(file for file in local.iterdir() if file.suffix.lower() in ENDINGS)
    if not found:
        raise errors.DataNotFoundError(
            f"{local}: is a folder without pictures ({', '.join(ENDINGS)}). Pass another "
            "one, or files."
        )
    return found


def short_name(file: str, index: int | None) -> str:
    """Returns the last part of a file's name, and which of its images is meant."""
    name = pathlib.Path(file).name
    return name if index is None else f"{name} [{index}]"


def read_images(
    path: pathlib.Path, kind: ImageKind, *, several: bool, background: str
) -> Iterator[FoundImage]:
    """Reads what a file holds; what it is, its first bytes tell.

    Args:
      path: the file.
      kind: what the model takes.
      several: whether the pictures show lines of digits.
      background: as for `pictures.find_digit`.

    Raises:
      DataNotFoundError: it cannot be read.
      CorruptDataError: it is none of these, is broken, or no digit is found in it.
    """
    with os_errors.reading(path, _READABLE):
        if path.exists() and not path.is_file():
            raise errors.DataNotFoundError(f"{path}: is no regular file. {_READABLE}")
        with path.open("rb") as stream:
            begins = stream.read(6)
    if begins.startswith(_NPY_MAGIC):
        yield from _images_of_npy(path, kind)
    elif begins.startswith((_IDX_MAGIC, _GZIP_MAGIC)):
        images = _read_idx(path)
        yield from _numbered(images, images.shape, images.dtype, path, kind)
    elif not kind.are_digits:
        yield _whole_picture(path, kind, background)
    else:
        picture = pictures.read_picture(path)
        try:
            if several:
                found = pictures.find_digits(picture, background=background)
            else:
                found = [pictures.find_digit(picture, background=background)]
        except errors.CorruptDataError as error:
            raise errors.CorruptDataError(
                f"{path}: {str(error).removeprefix('picture: ')}"
            ) from None
        for index, digit in enumerate(found):
            image = digit.image.reshape(kind.shape)
            yield FoundImage(image, index if several else None, digit.box)


def _whole_picture(path: pathlib.Path, kind: ImageKind, background: str) -> FoundImage:
    """Takes a picture as it is, of a run whose images are no digits that could be looked for."""
    height, width, channels = kind.shape
    if channels != 1 or kind.dtype != "uint8":
        raise errors.CorruptDataError(
            f"{path}: the run was trained on {kind.dtype} images {list(kind.shape)} of "
            f"{kind.dataset}, which pictures are not turned into. Pass a .npy file of such images."
        )
    picture = pictures.read_picture(path)
    if picture.shape != (height, width):
        raise errors.CorruptDataError(
            f"{path}: is {picture.shape[1]} x {picture.shape[0]}, and the run was trained on "
            f"{width} x {height} images of {kind.dataset}, which are not looked for in pictures. "
            "Pass it in that size."
        )
    shown = 1 - picture if background == "light" else picture
    image = np.rint(shown * 255).astype(np.uint8)
    return FoundImage(image[..., None], None, (0, 0, width, height))


def _numbered(
    images: Iterable[np.ndarray],
    shape: tuple[int, ...],
    dtype: np.dtype,
    path: pathlib.Path,
    kind: ImageKind,
) -> Iterator[FoundImage]:
    """Yields the images of an array of a shape and dtype, if they are of the right kind."""
    without_channel = kind.shape[:-1] if kind.shape[-1] == 1 else kind.shape
    if str(dtype) != kind.dtype or shape[1:] not in (kind.shape, without_channel):
        raise errors.CorruptDataError(
            f"{path}: holds {dtype} {list(shape)}, and the run was trained on "
            f"{kind.dtype} images {list(kind.shape)}. Pass an array [N, ...] of those."
        )
    for index, image in enumerate(images):
        yield FoundImage(np.array(image).reshape(kind.shape), index)


def _images_of_npy(path: pathlib.Path, kind: ImageKind) -> Iterator[FoundImage]:
    """Reads a `.npy` file image by image; never unpickles anything."""
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            shape, is_fortran, dtype, begin = npz.read_header(stream.read(npz.HEADER_BYTES))
            num_bytes = math.prod(shape) * dtype.itemsize
            if size < begin + num_bytes:
                raise ValueError(f"its header asks for {num_bytes:,} bytes, and {size:,} are there")
            if is_fortran and len(shape) > 1 and num_bytes > _MOST_BYTES:
                raise ValueError("it is large and in Fortran's order; save it in C's")
            if shape == kind.shape or (kind.shape[-1] == 1 and shape == kind.shape[:-1]):
                shape = (1, *shape)
            stream.seek(begin)
            if is_fortran and len(shape) > 1:
                values = np.frombuffer(stream.read(num_bytes), dtype)
                images: Iterable[np.ndarray] = values.reshape(shape, order="F")
            else:
                images = _pieces(stream, shape, dtype)
            yield from _numbered(images, shape, dtype, path, kind)
    except ValueError as error:
        if isinstance(error, errors.MnistLibError):
            raise
        reason = " ".join(str(error).split())
        raise errors.CorruptDataError(
            f"{path}: is no whole .npy file of numbers ({reason}); pickled objects are never "
            "loaded. Save a uint8 array with numpy.save."
        ) from error


def _pieces(stream: BinaryIO, shape: tuple[int, ...], dtype: np.dtype) -> Iterator[np.ndarray]:
    """Yields the parts of an array along its first dimension, of which one is held at a time."""
    num_bytes = math.prod(shape[1:]) * dtype.itemsize
    for _ in range(shape[0]):
        yield np.frombuffer(stream.read(num_bytes), dtype).reshape(shape[1:])


def _read_idx(path: pathlib.Path) -> np.ndarray:
    """Reads an IDX file of images, packed or not, of bounded size."""
    with path.open("rb") as stream:
        packed = stream.read(2) == _GZIP_MAGIC
    try:
        with gzip.open(path) if packed else path.open("rb") as stream:
            header = stream.read(_IDX_HEADER)
            size = math.prod(int.from_bytes(header[at : at + 4], "big") for at in (4, 8, 12))
            if header[:4] != _IDX_MAGIC:
                raise ValueError(f"it begins with {header[:4]!r}")
            if size > _MOST_BYTES:
                raise ValueError(
                    f"by its header it holds {size:,} bytes, more than {_MOST_BYTES:,}"
                )
            return idx.parse_idx(header + stream.read(size + 1), num_dims=3)
    except (ValueError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise errors.CorruptDataError(
            f"{path}: is no whole IDX file of images ({error}). Pass another copy."
        ) from error
