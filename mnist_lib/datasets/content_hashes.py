"""The SHA-256 of what a prepared data set holds, by which images that were replaced are told.

That of MNIST is known. What another one held when it was prepared, or first read if another
program has prepared it, is noted beside it.
"""

from __future__ import annotations

import hashlib
import json
import logging

import numpy as np

from mnist_lib import bounded, errors, files
from mnist_lib.datasets.prepared import PreparedDataset, elsewhere

_logger = logging.getLogger(__name__)

_FILE_NAME = "content_sha256.json"


def content_of(images: np.ndarray, labels: np.ndarray) -> bytes:
    """Returns the bytes of uint8 images `[N, 28, 28, 1]`, then of labels `[N]`, one each."""
    return images.tobytes() + labels.astype(np.uint8).tobytes()


def expected(prepared: PreparedDataset, split: str) -> str | None:
    """Returns the SHA-256, hexadecimal, that `content_of` a split must have; None: unknown.

    Raises:
      CorruptDataError: what was noted of it cannot be understood.
      OSError: it cannot be read.
    """
    if split in prepared.info.stored_sha256:
        return prepared.info.stored_sha256[split]
    return _noted(prepared).get(split)


def check(prepared: PreparedDataset, split: str, content: bytes) -> None:
    """Checks `content_of` a split; notes what it is where nothing is known.

    Raises:
      CorruptDataError: it is not what it was.
      OSError: what was noted of it cannot be read.
    """
    found, wanted = hashlib.sha256(content).hexdigest(), expected(prepared, split)
    if wanted is None:
        _note(prepared, split, found)
    elif found != wanted:
        raise errors.CorruptDataError(
            f"{prepared.directory}: its {split} split was replaced: its images and labels have "
            f"SHA-256 {found}, expected {wanted}. {elsewhere(prepared.directory)}."
        )


def _noted(prepared: PreparedDataset) -> dict[str, str]:
    path = prepared.directory / _FILE_NAME
    try:
        noted = bounded.checked_object(bounded.read_json(path))
        if not all(isinstance(value, str) for value in noted.values()):
            raise ValueError("it holds more than texts")
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise errors.CorruptDataError(
            f"{path}: cannot be used ({error}). {elsewhere(prepared.directory)}."
        ) from error
    return noted


def _note(prepared: PreparedDataset, split: str, found: str) -> None:
    noted = _noted(prepared) | {split: found}
    try:
        files.replace_file(
            prepared.directory / _FILE_NAME, (json.dumps(noted, indent=2) + "\n").encode()
        )
        outcome = "is noted now, and later changes will be found"
    except OSError as error:
        outcome = f"cannot be noted ({error.strerror})"
    if prepared.source == "prepared":
        _logger.info(
            "%s: whether the %s images are those that were prepared is not known; their "
            "SHA-256 %s %s",
            *(prepared.directory, split, found, outcome),
        )
