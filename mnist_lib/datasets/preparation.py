"""Finds a data set, or builds it with TFDS: verified, once, by one process.

    prepared = prepare_dataset("mnist", manual_dir="/data/mnist")
    prepared.directory        # what TFDS wrote, ready for `loading`

Sources are tried in this order: already prepared in `data_dir`; the original
files in `manual_dir`; a download. Original files are verified here before TFDS
sees them, because TFDS trusts what it finds by name.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import pathlib
import threading
import urllib.parse
from collections.abc import Iterator

import filelock
import requests

from mnist_lib import errors
from mnist_lib.datasets import catalog, idx

_logger = logging.getLogger(__name__)

_PROBE_TIMEOUT_SECONDS = 5.0
_TFRECORD_FRAMING_BYTES = 16  # per record: uint64 length, two uint32 checksums


@dataclasses.dataclass(frozen=True)
class Shard:
    """One TFRecord file of a prepared split.

    Attributes:
      path: the file.
      num_examples: how many records it must hold.
    """

    path: pathlib.Path
    num_examples: int

    def describe(self) -> str:
        """Returns path, size in bytes and SHA-256 on one line."""
        content = self.path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        return f"{self.path}, {len(content)} bytes, SHA-256 {digest}"


@dataclasses.dataclass(frozen=True)
class PreparedDataset:
    """A data set that TFDS has written and that was found complete.

    Attributes:
      info: the catalogue entry.
      directory: the TFDS folder, `<data_dir>/<name>/<version>`.
      source: `"prepared"`, `"manual_dir"` or `"download"`.
      shards: split name (`"train"`, `"test"`) to its files, in order.
    """

    info: catalog.DatasetInfo
    directory: pathlib.Path
    source: str
    shards: dict[str, tuple[Shard, ...]]


def default_data_dir() -> pathlib.Path:
    """Returns `$TFDS_DATA_DIR`, or `~/tensorflow_datasets` as TFDS does."""
    folder = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
    return pathlib.Path(folder).expanduser()


def prepare_dataset(
    name: str = "mnist",
    *,
    data_dir: str | os.PathLike[str] | None = None,
    manual_dir: str | os.PathLike[str] | None = None,
    download: bool = True,
) -> PreparedDataset:
    """Finds the data set prepared, or prepares it.

    Args:
      name: a name in `catalog.DATASET_NAMES`.
      data_dir: where TFDS keeps prepared data; `default_data_dir()` if None.
      manual_dir: a folder that holds the four original `.gz` files.
      download: whether the original files may be downloaded.

    Returns:
      The prepared data set.

    Raises:
      DataNotFoundError: no source has it.
      CorruptDataError: a source has it and it is wrong.
      StorageError: it could not be written to `data_dir`.
    """
    info = catalog.dataset_info(name)
    root = pathlib.Path(data_dir).expanduser() if data_dir else default_data_dir()
    directory = root / info.name / info.version
    if _is_prepared(directory):
        return _open_prepared(info, directory, "prepared")
    originals = None
    if manual_dir is not None:
        originals = pathlib.Path(manual_dir).expanduser()
        verify_originals(info, originals)
    elif download:
        _probe_host(info, root)
    else:
        raise errors.DataNotFoundError(_not_found(info, root, "download is switched off"))
    source = "manual_dir" if originals else "download"
    with _preparation_lock(root, info):
        if not _is_prepared(directory):  # another process may have been faster
            _logger.info("Preparing %s in %s (once, about 25 s)", info.name, directory)
            _build_with_tfds(info, root, originals)
    return _open_prepared(info, directory, source)


def verify_originals(info: catalog.DatasetInfo, folder: pathlib.Path) -> None:
    """Checks the four original files: present, well-formed, and the originals.

    The format is checked before the checksum, so that the error says what is
    wrong with a file and not only that it differs.

    Raises:
      DataNotFoundError: a file is missing.
      CorruptDataError: a file is not what was published.
    """
    if not folder.is_dir():
        raise errors.DataNotFoundError(
            f"{folder}: no such directory. Pass --manual_dir=<folder with "
            f"{', '.join(file.name for file in info.files)}>."
        )
    paths = [folder / file.name for file in info.files]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise errors.DataNotFoundError(
            f"{folder}: {', '.join(missing)} missing. Copy the four original files "
            f"from {info.url} there, or leave out --manual_dir to download them."
        )
    num_classes = len(info.class_names)
    idx.check_images_and_labels(paths[0], paths[1], info.num_train, num_classes)
    idx.check_images_and_labels(paths[2], paths[3], info.num_test, num_classes)
    for path, file in zip(paths, info.files, strict=True):
        idx.check_checksum(path, file)


def _is_prepared(directory: pathlib.Path) -> bool:
    return (directory / "dataset_info.json").exists()


def _open_prepared(
    info: catalog.DatasetInfo, directory: pathlib.Path, source: str
) -> PreparedDataset:
    """Reads `dataset_info.json` and checks that each shard is there and whole."""
    info_path = directory / "dataset_info.json"
    rebuild = f"Delete {directory} and run again to rebuild it"
    try:
        splits = {split["name"]: split for split in json.loads(info_path.read_text())["splits"]}
        shards = {}
        for name in ("train", "test"):
            lengths = [int(length) for length in splits[name]["shardLengths"]]
            paths = [
                directory / f"{info.name}-{name}.tfrecord-{i:05d}-of-{len(lengths):05d}"
                for i in range(len(lengths))
            ]
            shards[name] = tuple(map(Shard, paths, lengths))
        num_bytes = {name: int(splits[name]["numBytes"]) for name in shards}
    except (ValueError, KeyError, TypeError) as error:
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
    return PreparedDataset(info, directory, source, shards)


def _probe_host(info: catalog.DatasetInfo, root: pathlib.Path) -> None:
    """Fails fast when the files cannot be fetched: TFDS alone retries for minutes.

    In a thread of its own, because no time limit covers the resolution of names.
    """
    url = info.url + info.files[-1].name
    answers: list[str] = []

    def ask() -> None:
        try:
            response = requests.head(url, timeout=_PROBE_TIMEOUT_SECONDS, allow_redirects=True)
            answers.append("" if response.ok else f"answers {response.status_code}")
        except requests.RequestException as error:
            answers.append(f"cannot be reached ({type(error).__name__})")

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_PROBE_TIMEOUT_SECONDS)
    problem = answers[0] if answers else f"does not answer within {_PROBE_TIMEOUT_SECONDS:.0f} s"
    if problem:
        host = urllib.parse.urlsplit(url).hostname
        raise errors.DataNotFoundError(_not_found(info, root, f"{host} {problem}"))


def _not_found(info: catalog.DatasetInfo, root: pathlib.Path, reason: str) -> str:
    return (
        f"{info.name}: not prepared in {root}, no --manual_dir given, and {reason}. "
        f"Put {', '.join(file.name for file in info.files)} (from {info.url}) in a "
        "folder and pass --manual_dir=<that folder>, or pass --data_dir=<folder "
        "prepared by scripts/prepare_data.py on a machine with a network>."
    )


@contextlib.contextmanager
def _preparation_lock(root: pathlib.Path, info: catalog.DatasetInfo) -> Iterator[None]:
    """Lets one process at a time prepare `info`; the others wait for it."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(root / f".{info.name}-{info.version}.lock")
        with contextlib.suppress(filelock.Timeout):
            lock.acquire(timeout=0)
        if not lock.is_locked:
            _logger.info("Waiting for another process that prepares %s in %s", info.name, root)
            lock.acquire()
    except OSError as error:
        raise errors.OutputError(
            f"{root}: cannot be written ({error.strerror}). Pass a writable --data_dir."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _build_with_tfds(
    info: catalog.DatasetInfo, root: pathlib.Path, originals: pathlib.Path | None
) -> None:
    import tensorflow_datasets as tfds

    builder = tfds.builder(f"{info.name}:{info.version}", data_dir=root)
    options = tfds.download.DownloadConfig(manual_dir=originals)
    try:
        builder.download_and_prepare(download_config=options)
    except tfds.download.DownloadError as error:
        raise errors.DataNotFoundError(
            _not_found(info, root, f"the download failed ({error})")
        ) from error
    except tfds.download.checksums_lib.NonMatchingChecksumError as error:
        raise errors.CorruptDataError(
            f"{info.url}: the downloaded file is not the original ({error}). A proxy may have "
            "replaced it; copy the files by hand and pass --manual_dir."
        ) from error
    except OSError as error:
        raise errors.StorageError(
            f"{root}: preparing {info.name} failed ({error}). Free some space (about "
            "150 MB are needed) and run again; nothing half-written is used."
        ) from error
