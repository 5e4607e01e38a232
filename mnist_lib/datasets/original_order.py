"""The order of the original files, had back from the order in which TFDS stores images."""

from __future__ import annotations

import functools
import hashlib

import numpy as np

from mnist_lib import errors
from mnist_lib.datasets import catalog, idx
from mnist_lib.datasets.prepared import PreparedDataset, elsewhere


def numbers_as_stored(info: catalog.DatasetInfo, split: str) -> np.ndarray:
    """Returns each stored image's number in the original files.

    TFDS stores examples by the MD5 of the split's name and their key, which is their
    number (`tensorflow_datasets.core.hashing.Hasher`, which a test compares with this;
    to change it, TFDS would have to give every data set a new version). 0.1 s for 60,000.

    Args:
      info: the data set. What is drawn by a program is stored as it is drawn.
      split: `"train"` or `"test"`.

    Returns:
      int64 `[N]`, a permutation of `range(N)`; of the test split of QMNIST, which begins in
      the middle of a file, one of `range(10_000, 60_000)`.
    """
    first, num_examples = (
        (0, info.num_train) if split == "train" else (info.first_test, info.num_test)
    )
    if info.url is None:
        return np.arange(num_examples)
    return _shuffled(split, first, num_examples)


@functools.cache
def _shuffled(split: str, first: int, num_examples: int) -> np.ndarray:
    salted = hashlib.md5(split.encode(), usedforsecurity=False)

    def rank(number: int) -> bytes:
        digest = salted.copy()
        digest.update(str(number).encode())
        return digest.digest()

    numbers = np.array(sorted(range(first, first + num_examples), key=rank))
    numbers.setflags(write=False)  # it is shared
    return numbers


def check(prepared: PreparedDataset, split: str, images: np.ndarray, labels: np.ndarray) -> None:
    """Checks that what was stored is, in the original order, what was published.

    Args:
      prepared: where it was read.
      split: `"train"` or `"test"`.
      images, labels: uint8 `[N, 28, 28, 1]` and integers `[N]`, as they are stored.

    Raises:
      CorruptDataError: it is something else. Where nobody has published the SHA-256 of
        the unpacked files nothing is compared.
    """
    files = prepared.info.files[:2] if split == "train" else prepared.info.files[2:]
    order = np.argsort(numbers_as_stored(prepared.info, split))
    contents = images[order, :, :, 0], labels[order]
    for file, content in zip(files, contents, strict=False):  # none: it is generated
        if file.content_sha256 is None:
            continue
        found = hashlib.sha256(idx.to_idx(content)).hexdigest()
        if found != file.content_sha256:
            raise errors.CorruptDataError(
                f"{prepared.directory}: its {split} split is not that of {prepared.info.name}: the "
                f"content of {file.name.removesuffix('.gz')} has SHA-256 {found}, expected "
                f"{file.content_sha256}. {elsewhere(prepared.directory)}."
            )
