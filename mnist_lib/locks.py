"""Locks that keep two processes apart, on the file systems that have them."""

from __future__ import annotations

import errno
import pathlib

import filelock

from mnist_lib import errors, os_errors

_HAS_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


def acquire(path: pathlib.Path, field: str, *, timeout: float = -1) -> filelock.BaseFileLock:
    """Takes the lock of a file, which stays where it is; the caller releases it.

    Args:
      path: the file, in a folder that is there.
      field: the argument that names the folder, for errors.
      timeout: seconds to wait for another process; -1: as long as it takes.

    Raises:
      filelock.Timeout: another process has it.
      OutputError, StorageError: the file cannot be written or locked.
    """
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=timeout)
    except filelock.Timeout:
        raise
    except (OSError, NotImplementedError) as error:
        if isinstance(error, NotImplementedError) or error.errno in _HAS_NO_LOCKS:
            raise errors.OutputError(
                f"{path.parent}: its file system has no locks ({error}), which keep two processes "
                f"apart. Pass a --{field} on another one, or have it mounted with locks."
            ) from error
        raise os_errors.unwritable(error, path, f"Pass another --{field}.") from error
    return lock
