"""A decoded copy of a prepared split, so that only the first load decodes PNGs.

The copy is named after the SHA-256 of the shards it was made from, and holds a SHA-256 of
itself, which is that of the images that were prepared. A copy that does not fit is not used
but made again.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import pathlib

import numpy as np

from mnist_lib import files
from mnist_lib.datasets import content_hashes
from mnist_lib.datasets.prepared import PreparedDataset

_logger = logging.getLogger(__name__)

_FORMAT = "v1"
_PIXELS = 28 * 28
_DIGEST_BYTES = 32


def read(prepared: PreparedDataset, split: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Reads the decoded copy of a split.

    Args:
      prepared: the prepared data set.
      split: `"train"` or `"test"`.

    Returns:
      `(images, labels)`: read-only uint8 `[N, 28, 28, 1]`, mapped from the file, and int32
      `[N]`; None if there is no copy, or none that is whole and known.

    Raises:
      CorruptDataError, OSError: as for `content_hashes.expected`.
    """
    path = _path(prepared, split)
    num_examples = sum(shard.num_examples for shard in prepared.shards[split])
    expected_size = num_examples * (_PIXELS + 1) + _DIGEST_BYTES
    wanted = content_hashes.expected(prepared, split)
    if wanted is None:
        return None
    try:
        if path.stat().st_size != expected_size:
            raise ValueError("its size is wrong")
        content = np.memmap(path, np.uint8, mode="r")
        data, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:].tobytes()
        if hashlib.sha256(data.data).digest() != digest:
            raise ValueError("its checksum is wrong")
        if digest.hex() != wanted:
            raise ValueError("it is not of what was prepared")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        _logger.warning("%s: not used (%s); it is made again", path, error)
        return None
    images = data[: num_examples * _PIXELS].reshape(num_examples, 28, 28, 1)
    return images, data[num_examples * _PIXELS :].astype(np.int32)


def write(prepared: PreparedDataset, split: str, content: bytes) -> None:
    """Writes the decoded copy of a split; the file appears when it is whole.

    A folder that cannot be written, or is a link to another, is no error: the next load
    decodes again.

    Args:
      prepared, split: as for `read`.
      content: what `content_hashes.content_of` returns.
    """
    path = _path(prepared, split)
    try:
        if path.parent.is_symlink():
            raise OSError(errno.ELOOP, "its folder is a symbolic link")
        path.parent.mkdir(exist_ok=True)
        files.replace_file(path, content + hashlib.sha256(content).digest())
    except OSError as error:
        _logger.info("%s: no decoded copy is kept (%s)", path, error.strerror)


def _path(prepared: PreparedDataset, split: str) -> pathlib.Path:
    digest = hashlib.sha256(_FORMAT.encode())
    for shard in prepared.shards[split]:
        digest.update(shard.sha256().encode())
    return prepared.directory / "decoded" / f"{split}-{digest.hexdigest()[:32]}.bin"
