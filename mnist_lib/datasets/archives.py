"""The zip archive that some original files come in: verified as a whole, then read by name.

TFDS reads EMNIST out of `gzip.zip`, 562 MB with the files of six data sets. What it is given
here is an archive of the same name with the four files of one of them.
"""

from __future__ import annotations

import hashlib
import pathlib
import zipfile
import zlib
from collections.abc import Sequence

from mnist_lib import errors
from mnist_lib.datasets import catalog, original_formats, wrappings

_FOLDER = "gzip"  # in the archive


def find(info: catalog.DatasetInfo, folder: pathlib.Path) -> pathlib.Path | None:
    """Returns the archive that lies in a folder, or is given in its place; None: there is none.

    Its name is the published one, `gzip.zip`, or `emnist.zip`.
    """
    if info.archive is None:
        return None
    if folder.is_file():
        return folder
    names = (info.archive.name, f"{info.family}.zip")
    candidates = (place / name for place in wrappings.places(info, folder) for name in names)
    return next((path for path in candidates if path.is_file()), None)


def verify(archive: catalog.SourceFile, path: pathlib.Path) -> None:
    """Compares an archive with the published one.

    Raises:
      CorruptDataError: it is another, or not whole.
      OSError: it cannot be read.
    """
    size = path.stat().st_size
    found = f"has {size:,} bytes"
    if size == archive.num_bytes:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if digest == archive.sha256:
            return
        found = f"SHA-256 is {digest} ({size:,} bytes)"
    raise errors.CorruptDataError(
        f"{path}: {found}, and that of the published {archive.name} {archive.sha256} "
        f"({archive.num_bytes:,} bytes). {original_formats.REPLACE}."
    )


def read_files(info: catalog.DatasetInfo, path: pathlib.Path) -> list[bytes]:
    """Returns the four `.gz` files of a data set that an archive holds, once it is verified.

    Raises:
      CorruptDataError: it is not the published one.
      OSError: it cannot be read.
    """
    assert info.archive is not None
    verify(info.archive, path)
    try:
        with zipfile.ZipFile(path) as archive:
            return [_entry(info, file, archive) for file in info.files]
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError) as error:
        raise errors.CorruptDataError(
            f"{path}: {error or type(error).__name__}. {original_formats.REPLACE}."
        ) from error


def _entry(info: catalog.DatasetInfo, file: catalog.SourceFile, archive: zipfile.ZipFile) -> bytes:
    most = original_formats.most_bytes(info, file)
    with archive.open(f"{_FOLDER}/{file.name}") as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise ValueError(f"its {file.name} has more than {most:,} bytes")
    return content


def write(info: catalog.DatasetInfo, packed: Sequence[bytes], folder: pathlib.Path) -> None:
    """Writes the archive that TFDS reads a data set out of: the four `.gz` files, in order."""
    assert info.archive is not None
    with zipfile.ZipFile(folder / info.archive.name, "w") as archive:
        for file, content in zip(info.files, packed, strict=True):
            archive.writestr(f"{_FOLDER}/{file.name}", content)
