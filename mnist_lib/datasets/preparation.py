"""Finds a data set, or builds it with TFDS: verified, once, by one process.

    prepared = prepare_dataset("mnist", manual_dir="/data/mnist")
    prepared.directory        # what TFDS wrote, ready for `loading`

Sources are tried in this order: already prepared in `data_dir`; the original files
in `manual_dir`; a download. `synthetic_digits` needs none of them.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import pathlib
import shutil
import time
from collections.abc import Iterator

import filelock

from mnist_lib import choices, errors, files, locks, os_errors, paths, runtime
from mnist_lib.datasets import catalog, downloads, originals, tfds_internals
from mnist_lib.datasets.prepared import PreparedDataset, open_prepared
from mnist_lib.progress import Progress

_logger = logging.getLogger(__name__)


def default_data_dir() -> pathlib.Path:
    """Returns `$TFDS_DATA_DIR`, or `~/tensorflow_datasets` as TFDS does.

    Raises:
      ConfigError: the variable holds no path of the file system.
      OutputError: there is no home directory.
    """
    folder = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    paths.check("TFDS_DATA_DIR", folder)
    return paths.local("data_dir", folder, errors.OutputError)


def prepare_dataset(
    name: str = "mnist",
    *,
    data_dir: str | os.PathLike[str] | None = None,
    manual_dir: str | os.PathLike[str] | None = None,
    download: bool = True,
) -> PreparedDataset:
    """Finds the data set prepared, or prepares it.

    Args:
      name: a name in `choices.NAMES["dataset"]`. `auto` is MNIST where that can be had,
        else `synthetic_digits`, with a warning.
      data_dir: where TFDS keeps prepared data; `default_data_dir()` if None.
      manual_dir: a folder with the original files, packed or not, as they are published
        or as Kaggle or torchvision have them; or Keras's `<name>.npz`, or its folder.
      download: whether the original files may be downloaded.

    Returns:
      The prepared data set.

    Raises:
      ConfigError: there is no data set of that name, or it is prepared in another format.
      DataNotFoundError: no source has it.
      CorruptDataError: a source has it and it is wrong.
      OutputError, StorageError: it could not be written to `data_dir`.
    """
    choices.check("dataset", name)
    folder = None if manual_dir is None else paths.local("manual_dir", manual_dir)
    root = (
        default_data_dir()
        if data_dir is None
        else paths.local("data_dir", data_dir, errors.OutputError)
    )
    if name != choices.AUTO:
        return _prepare(catalog.dataset_info(name), root, folder, download)
    try:
        return _prepare(catalog.MNIST, root, folder, download)
    except errors.DataNotFoundError as error:
        if folder is not None:  # the user named a folder: say what it lacks
            raise
        warn_of_substitute(str(error))
        return _prepare(catalog.SYNTHETIC_DIGITS, root, None, download=False)


def warn_of_substitute(reason: str = "") -> None:
    """Logs, so that nobody misses it, that synthetic digits stand in for MNIST."""
    rule = "!" * 88
    _logger.warning("%s", rule)
    _logger.warning("!!!  THIS IS NOT MNIST: synthetic_digits, drawn by a program, stands in.")
    if reason:
        _logger.warning("!!!  %s", reason)
    _logger.warning("!!!  Pass --dataset=mnist to insist on MNIST, or --dataset=synthetic_digits.")
    _logger.warning("%s", rule)


def _prepare(
    info: catalog.DatasetInfo, root: pathlib.Path, manual_dir: pathlib.Path | None, download: bool
) -> PreparedDataset:
    directory = root / info.name / info.version
    if _is_prepared(directory):
        return open_prepared(info, directory, "prepared")
    if info.url is None:
        source = "generated"
    elif manual_dir is not None:
        source = "manual_dir"
    else:
        source = "download"
        problem = downloads.download_problem(info) if download else "download is switched off"
        if problem:
            how = originals.how_to_provide(info)
            raise errors.DataNotFoundError(
                f"{info.name}: not prepared in {root}, no --manual_dir given, and {problem}. To "
                f"train on it, {how}."
            )
    with contextlib.ExitStack() as stack:
        verified = None
        if source == "manual_dir":  # before anything is created
            assert manual_dir is not None
            staging = stack.enter_context(os_errors.temporary_folder())
            verified = originals.collect_originals(info, manual_dir, staging)
        paths.check_makeable("data_dir", root)
        with _preparation_lock(root, info):
            if not _is_prepared(directory):  # another process may have been faster
                if directory.exists() and any(directory.iterdir()):
                    raise errors.CorruptDataError(
                        f"{directory}: is there without dataset_info.json. Move it away, or pass "
                        "another --data_dir."
                    )
                _logger.info("Preparing %s in %s, once", info.name, directory)
                start = time.monotonic()
                if source == "download":
                    verified = downloads.download_originals(info, root / "downloads" / info.family)
                    if info.archive is not None:
                        staging = stack.enter_context(os_errors.temporary_folder())
                        verified = originals.collect_originals(info, verified, staging)
                _build_with_tfds(info, root, verified)
                _logger.info("Prepared %s in %.0f s", info.name, time.monotonic() - start)
    return open_prepared(info, directory, source)


def _is_prepared(directory: pathlib.Path) -> bool:
    with os_errors.reading(directory, "Pass a --data_dir that you may read."):
        return (directory / "dataset_info.json").exists()


@contextlib.contextmanager
def _preparation_lock(root: pathlib.Path, info: catalog.DatasetInfo) -> Iterator[None]:
    """Lets one process at a time prepare `info`, or another of its family; the others wait."""
    with os_errors.writing(root, "Pass a writable --data_dir."):
        root.mkdir(parents=True, exist_ok=True)
    path = root / f".{info.family}.lock"  # for all versions: they share an archive
    folders = (info.family, info.name, f"{info.name}/{info.version}")
    written = (path, *(root / name for name in folders))
    for link in (*written, root / "downloads", root / "downloads" / info.family):
        if link.is_symlink():
            raise errors.OutputError(
                f"{link}: is a symbolic link, through which nothing is written. Pass the folder "
                "that it leads to as --data_dir, or another one."
            )
    try:
        lock = locks.acquire(path, "data_dir", timeout=0)
    except filelock.Timeout:
        _logger.info("Waiting for another process that prepares %s in %s", info.name, root)
        lock = locks.acquire(path, "data_dir")
    try:
        yield
    finally:
        lock.release()


def _build_with_tfds(
    info: catalog.DatasetInfo, root: pathlib.Path, verified: pathlib.Path | None
) -> None:
    """Writes the TFDS data set; it appears under its name when it is complete, and on the disk."""
    runtime.check_not_forked()
    import tensorflow as tf
    import tensorflow_datasets as tfds

    from mnist_lib.datasets import stored_splits

    directory = root / info.name / info.version
    unpacked_prefix = f".unpacked-{info.family}-"
    num_images = info.num_train + info.num_test
    progress = Progress(num_images, description=f"Preparing {info.name}")
    try:
        # What a killed process has left; the lock says that nobody else is at work.
        for left_over in root.glob(f"{unpacked_prefix}*"):
            if left_over.is_dir() and not left_over.is_symlink():
                shutil.rmtree(left_over)
            else:
                left_over.unlink()
        # TFDS unpacks the originals into its download folder and leaves them there.
        with (
            tfds_internals.silence(),
            contextlib.closing(progress),
            paths.for_tensorflow(root) as folder,
            os_errors.removed_afterwards(unpacked_prefix, folder) as unpacked,
            paths.for_tensorflow(verified or root) as originals_folder,
            tfds_internals.temporary_files_in(unpacked),
        ):
            builder = _builder(info, unpacked / "built")
            tfds_internals.accept_verified_files(builder)
            tfds_internals.watch_examples(builder, progress.update)
            options = tfds.download.DownloadConfig(
                manual_dir=originals_folder, try_download_gcs=False
            )
            with tfds_internals.write_errors():
                builder.download_and_prepare(download_dir=unpacked, download_config=options)
            files.publish_folder(unpacked / "built" / info.name / info.version, directory, root)
        files.sync(root)  # where the other folder is no longer
    except (OSError, tf.errors.OpError, tfds_internals.extract_error()) as error:
        failed = f"{root}: preparing {info.name} failed ({paths.as_named(str(error), root)})."
        denied = (errno.EACCES, errno.EPERM, errno.EROFS)
        if isinstance(error, tf.errors.PermissionDeniedError) or (
            isinstance(error, OSError) and error.errno in denied
        ):
            raise errors.OutputError(f"{failed} Pass a writable --data_dir.") from error
        raise errors.StorageError(
            f"{failed} Free some space (about {num_images / 470:.0f} MB are needed) and run again; "
            "nothing half-written is used."
        ) from error
    built = open_prepared(info, directory, "generated")
    for split in built.shards:  # what was prepared is noted, and the copies are made
        stored_splits.read_prepared(built, split)


def _builder(info: catalog.DatasetInfo, root: pathlib.Path):
    """Returns the TFDS builder that writes a data set to `root`."""
    if info is catalog.SYNTHETIC_DIGITS:
        from mnist_lib.datasets import synthetic_builder

        return synthetic_builder.SyntheticDigits(data_dir=root)
    if info is catalog.QMNIST:
        from mnist_lib.datasets import qmnist_builder

        return qmnist_builder.Qmnist(data_dir=root)
    if info.name == "emnist/letters":
        from mnist_lib.datasets import letters_builder

        return letters_builder.Letters(data_dir=root)
    import tensorflow_datasets as tfds

    return tfds.builder(f"{info.name}:{info.version}", data_dir=root)
