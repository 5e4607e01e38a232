"""What is touched of TFDS beneath its public names: all of it is here.

A test of each name fails by that name when an upgrade of TFDS changes it. Nothing of
TensorFlow is imported before a function is called.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from typing import Any


def accept_verified_files(builder: Any) -> None:
    """Keeps TFDS from comparing the files with its checksums of the published `.gz`.

    All of them have been verified by `originals`; those that were converted have the
    published content in another compression. TFDS has no option for this, so the
    method is replaced on the download manager of this one builder.

    Args:
      builder: a `tfds.core.DatasetBuilder`.
    """
    make_download_manager = builder._make_download_manager

    def make(**options: Any) -> Any:
        manager = make_download_manager(**options)
        manager._register_or_validate_checksums = lambda url, url_info, path: None
        return manager

    builder._make_download_manager = make


def watch_examples(builder: Any, update: Callable[[int], None]) -> None:
    """Calls `update` with the number of examples of all splits that are encoded so far.

    Args:
      builder: a `tfds.core.GeneratorBasedBuilder`; this one alone is watched.
      update: called after every example.
    """
    generate_examples = builder._generate_examples
    count = itertools.count(1)

    def generate(*args: Any, **options: Any) -> Iterator[Any]:
        for example in generate_examples(*args, **options):
            yield example
            update(next(count))

    builder._generate_examples = generate


@contextlib.contextmanager
def write_errors() -> Iterator[None]:
    """Raises what could not be written as it was raised, not as the RuntimeError TFDS makes of it.

    Raises:
      OSError, tf.errors.OpError: a file could not be written.
    """
    import tensorflow as tf

    try:
        yield
    except RuntimeError as error:
        if isinstance(error.__cause__, OSError | tf.errors.OpError):
            raise error.__cause__ from None
        raise


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keeps TFDS's bars, prints and remarks off the screen, not its warnings and errors."""
    from tensorflow_datasets.core.utils import tqdm_utils

    logger = logging.getLogger("absl")
    level, had_bars = logger.level, tqdm_utils._active
    logger.setLevel(logging.WARNING)
    tqdm_utils.display_progress_bar(False)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tqdm_utils.display_progress_bar(had_bars)
        logger.setLevel(level)


@contextlib.contextmanager
def temporary_files_in(folder: os.PathLike[str]) -> Iterator[None]:
    """Has temporary files be made in a folder meanwhile: TFDS leaves a folder of its own there.

    `tfds.core.DatasetInfo` takes one of `tempfile.mkdtemp` and leaves it.
    """
    before = tempfile.tempdir
    tempfile.tempdir = os.fspath(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


def extract_error() -> type[Exception]:
    """Returns what TFDS raises when it cannot unpack a file, on a full disk for instance."""
    from tensorflow_datasets.core.download import extractor

    return extractor.ExtractError
