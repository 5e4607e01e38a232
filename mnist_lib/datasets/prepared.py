"""What TFDS has written: the files of a prepared data set."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib

from mnist_lib import choices
from mnist_lib.datasets import catalog


def elsewhere(directory: pathlib.Path) -> str:
    """Says what to do about prepared data that is wrong: who wrote it may still need it."""
    return f"Pass another --data_dir, where it is built anew; {directory} is left as it is"


@dataclasses.dataclass(frozen=True)
class Shard:
    """One TFRecord file of a prepared split.

    Attributes:
      path: the file.
      num_examples: how many records it must hold.
    """

    path: pathlib.Path
    num_examples: int

    def sha256(self) -> str:
        """Returns the SHA-256 of the file, hexadecimal."""
        with self.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def describe(self) -> str:
        """Returns path, size in bytes and SHA-256 on one line."""
        return f"{self.path}, {self.path.stat().st_size} bytes, SHA-256 {self.sha256()}"


@dataclasses.dataclass(frozen=True)
class PreparedDataset:
    """A data set that TFDS has written and that was found complete.

    Attributes:
      info: the catalogue entry.
      directory: the TFDS folder, `<data_dir>/<name>/<version>`.
      source: `"prepared"`, `"manual_dir"`, `"download"` or `"generated"`.
      shards: split name (`"train"`, `"test"`) to its files, in order.
    """

    info: catalog.DatasetInfo
    directory: pathlib.Path
    source: str
    shards: dict[str, tuple[Shard, ...]]

    def stands_in_for(self, name: str) -> str | None:
        """Returns what was meant by a name for which this data set was prepared instead."""
        is_substitute = name == choices.AUTO and self.info is not catalog.MNIST
        return catalog.MNIST.name if is_substitute else None
