"""Finds the original files under the names and in the folders that people have them in.

What a file is, is read in it: gzip is told by its first bytes, whatever its name says.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

from mnist_lib import bounded
from mnist_lib.datasets import catalog

_GZIP_MAGIC = b"\x1f\x8b"
# torchvision's folders below its root, `<name>/raw`.
_TORCHVISION = {
    "mnist": "MNIST",
    "fashion_mnist": "FashionMNIST",
    "kmnist": "KMNIST",
    "qmnist": "QMNIST",
    "emnist": "EMNIST",
}
_MOST_NAMED = 8  # of the files in a folder


def find(info: catalog.DatasetInfo, folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Finds the original files in a folder.

    Each may be packed or not, have a `.` for a `-` in its name (`train-images.idx3-ubyte`),
    or lie in a folder of that name, as Kaggle's archives unpack. The folder may be
    torchvision's root, or its `MNIST`.

    Returns:
      Published name to path, of those that are there.
    """
    found: dict[str, pathlib.Path] = {}
    for place in places(info, folder):
        for file in info.files:
            candidates = (path for path in _names(place, file.name) if path.is_file())
            if (path := next(candidates, None)) is not None:
                found.setdefault(file.name, path)
    return found


def places(info: catalog.DatasetInfo, folder: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Returns where in a folder the files, or the archive of them, may lie."""
    below = folder / _TORCHVISION.get(info.family, info.family)
    found = (folder, folder / "raw", below / "raw", below)
    return found if info.archive is None else (*found, *(place / "gzip" for place in found))


def _names(place: pathlib.Path, published: str) -> Iterator[pathlib.Path]:
    """Yields where a file of a published name may lie in a folder."""
    plain = published.removesuffix(".gz")
    dotted = plain.replace("-idx", ".idx")
    for name in (published, plain, f"{dotted}.gz", dotted):
        yield place / name
        for inner in (published, plain, f"{dotted}.gz", dotted):
            yield place / name / inner


def unpack(raw: bytes, most: int) -> bytes:
    """Returns the content of a file, decompressed if it is gzip.

    Raises:
      ValueError: its gzip is damaged, or becomes more than `most` bytes.
    """
    return bounded.unpack_gzip(raw, most) if raw.startswith(_GZIP_MAGIC) else raw


def listing(folder: pathlib.Path) -> str:
    """Names what lies in a folder, for errors."""
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return (", ".join(names[:_MOST_NAMED]) or "nothing") + more
