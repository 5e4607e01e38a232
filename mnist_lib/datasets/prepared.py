"""What TFDS has written: the files of a prepared data set."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
import re

from mnist_lib import bounded, choices, errors, os_errors
from mnist_lib.datasets import catalog

# As TFDS writes them unless it is told otherwise.
_FORMAT, _TEMPLATE = "tfrecord", "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
READABLE = "Pass a --data_dir that you may read."
_TFRECORD_FRAMING_BYTES = 16  # per record: uint64 length, two uint32 checksums
_MOST_SHARDS = 10_000


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


def open_prepared(
    info: catalog.DatasetInfo, directory: pathlib.Path, source: str
) -> PreparedDataset:
    """Reads `dataset_info.json` and checks that each shard is there and whole.

    Args:
      info: the catalogue entry.
      directory: the TFDS folder, `<data_dir>/<name>/<version>`.
      source: where it came from; see `PreparedDataset`.

    Raises:
      ConfigError: it is in another format than is read here.
      CorruptDataError: names the file that is wrong.
      DataNotFoundError: names the file that may not be read.
    """
    with os_errors.reading(directory, READABLE):
        shards = _read_shards(info, directory)
        for shard in (shard for split in shards.values() for shard in split):
            shard.path.open("rb").close()
    return PreparedDataset(info, directory, source, shards)


def _read_shards(
    info: catalog.DatasetInfo, directory: pathlib.Path
) -> dict[str, tuple[Shard, ...]]:
    """Returns the files of each split; see `open_prepared`."""
    info_path = directory / "dataset_info.json"
    rebuild = elsewhere(directory)
    try:
        description = bounded.checked_object(bounded.read_json(info_path))
        splits = {split["name"]: split for split in description["splits"]}
        _check_format(info, directory, description)
        shards = {}
        for name in ("train", "test"):
            lengths = [_count(length) for length in splits[name]["shardLengths"]]
            if len(lengths) > _MOST_SHARDS:
                raise ValueError(f"{name} has {len(lengths)} shards, more than {_MOST_SHARDS}")
            paths = [
                directory / f"{info.family}-{name}.tfrecord-{i:05d}-of-{len(lengths):05d}"
                for i in range(len(lengths))
            ]
            shards[name] = tuple(map(Shard, paths, lengths))
        num_bytes = {name: _count(splits[name]["numBytes"]) for name in shards}
    except errors.ConfigError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise errors.CorruptDataError(
            f"{info_path}: cannot be read ({type(error).__name__}: {error}). {rebuild}."
        ) from error
    for name, expected in (("train", info.num_train), ("test", info.num_test)):
        found = sum(shard.num_examples for shard in shards[name])
        if found != expected:
            raise errors.CorruptDataError(
                f"{info_path}: split {name} has {found} examples, expected {expected}. {rebuild}."
            )
        for shard in shards[name]:
            if not shard.path.is_file():
                raise errors.CorruptDataError(f"{shard.path}: shard is missing. {rebuild}.")
        size = sum(shard.path.stat().st_size for shard in shards[name])
        expected_size = num_bytes[name] + _TFRECORD_FRAMING_BYTES * expected
        if size != expected_size:
            raise errors.CorruptDataError(
                f"{shards[name][0].path}: the {name} shards have {size} bytes, "
                f"expected {expected_size}. {rebuild}."
            )
    return shards


def _count(value: object) -> int:
    """Returns a number, which TFDS writes as text."""
    text = str(value) if type(value) is int else value
    if not (isinstance(text, str) and re.fullmatch("[0-9]{1,18}", text)):
        raise ValueError(f"{value!r:.60} is no number of examples or bytes")
    return int(text)


def _check_format(info: catalog.DatasetInfo, directory: pathlib.Path, description: dict) -> None:
    """Checks that the files are of the kind, and have the names, that are read here.

    Raises:
      ConfigError: another program wants them otherwise.
    """
    templates = {split.get("filepathTemplate", _TEMPLATE) for split in description["splits"]}
    other = description.get("fileFormat", _FORMAT)
    if other == _FORMAT:
        other = ", ".join(sorted(templates - {_TEMPLATE}))
    if other:
        raise errors.ConfigError(
            "data_dir",
            f"{directory} holds {info.name} as {other}, and {_FORMAT} named {_TEMPLATE} is what is "
            f"read. {elsewhere(directory)}.",
        )
