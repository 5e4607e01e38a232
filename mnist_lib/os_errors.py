"""What the file system says, as errors of ours: with the path, the cause and what to do."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from mnist_lib import errors

_logger = logging.getLogger(__name__)

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FAILING = {errno.EIO, errno.ESTALE, errno.ENXIO, errno.ENODEV}
_ONLY_WRITING = {errno.EROFS, errno.EEXIST, errno.ENOTEMPTY, errno.ETXTBSY, errno.EISDIR}


@contextlib.contextmanager
def reading(path: pathlib.Path, remedy: str) -> Iterator[None]:
    """Turns what the file system says while something is read into an error of ours.

    Args:
      path: what is read; named unless the file system names a file.
      remedy: what to do, a sentence.

    Raises:
      DataNotFoundError: it cannot be read.
    """
    try:
        yield
    except OSError as error:
        raise errors.DataNotFoundError(
            f"{_file_of(error) or path}: cannot be read ({cause(error)}). {remedy}"
        ) from error


@contextlib.contextmanager
def writing(path: pathlib.Path, remedy: str) -> Iterator[None]:
    """Turns what the file system says while something is written into an error of ours.

    Args:
      path: what is written.
      remedy: what to do where space is not what lacks, a sentence.

    Raises:
      OutputError: it cannot be made.
      StorageError: the disk is full, or fails.
    """
    try:
        yield
    except OSError as error:
        raise unwritable(error, path, remedy) from error


def unwritable(
    error: OSError, path: pathlib.Path | str, remedy: str
) -> errors.OutputError | errors.StorageError:
    """Returns the error of ours for one of the file system, from writing `path`."""
    if error.errno in _FULL:
        return errors.StorageError(f"{path}: {cause(error)}. Free some space and run again.")
    line = f"{path}: cannot be written ({cause(error)}). {remedy}"
    return errors.StorageError(line) if error.errno in _FAILING else errors.OutputError(line)


def cause(error: OSError) -> str:
    """Returns what the file system says, in a few words."""
    return error.strerror or str(error) or type(error).__name__


def as_error(error: OSError) -> errors.MnistLibError | None:
    """Returns the error of ours that fits one of the file system; None: it is of no file."""
    path = _file_of(error)
    if path is None:
        if error.errno in _FULL | _FAILING:
            return unwritable(error, "output", "Look after the disk or the file server.")
        return _missing_surroundings() if error.errno == errno.ENOENT else None
    is_output = error.errno in _FULL | _FAILING | _ONLY_WRITING
    if error.errno in (errno.EACCES, errno.EPERM):
        is_output = not os.path.lexists(path) or os.access(path, os.R_OK)
    if is_output:
        return unwritable(error, path, "See that it can be written.")
    return errors.DataNotFoundError(
        f"{path}: cannot be read ({cause(error)}). See that it is there and that you may read it."
    )


def _missing_surroundings() -> errors.MnistLibError | None:
    """Says which folder that every process takes for granted is not there."""
    try:
        os.getcwd()
    except OSError as error:
        return errors.DataNotFoundError(
            f"the current folder is not there ({cause(error)}). Change to another one."
        )
    try:
        tempfile.gettempdir()
    except OSError as error:
        return _no_temporary_folder(error)
    return None


@contextlib.contextmanager
def temporary_folder() -> Iterator[pathlib.Path]:
    """Makes a folder that is there for the length of the block.

    Raises:
      OutputError: none can be made.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(removed_afterwards("mnist_lib-"))
        except OSError as error:
            raise _no_temporary_folder(error) from error
        yield folder


@contextlib.contextmanager
def removed_afterwards(prefix: str, parent: pathlib.Path | None = None) -> Iterator[pathlib.Path]:
    """Makes a folder that is there for the length of the block, or warns that it stays.

    `tempfile.TemporaryDirectory` of Python 3.11 calls itself without end where a folder may not
    be removed, and what went wrong in the block is never said.

    Args:
      prefix: how its name begins.
      parent: where it is made; None: where temporary files are.

    Raises:
      OSError: it cannot be made.
    """
    folder = pathlib.Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            _logger.warning("%s: could not be removed", folder)


def _no_temporary_folder(error: OSError) -> errors.OutputError:
    return errors.OutputError(
        f"no temporary folder can be written ({cause(error)}). Set TMPDIR to one that can."
    )


def _file_of(error: OSError) -> str | None:
    name = error.filename
    return os.fsdecode(name) if isinstance(name, str | bytes) and name else None
