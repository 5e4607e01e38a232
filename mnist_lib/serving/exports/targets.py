"""Where an export goes: under its name is all of it, or nothing, or what was there before."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import secrets
import shutil
import time
from collections.abc import Iterator

import filelock

from mnist_lib import errors, files, locks, os_errors, paths
from mnist_lib.serving.exports.formats import ExportFormat

REPORT = "export.json"
_PREFIX = ".export-"
_LOCK = ".lock"  # held while an export is made
_LONGEST_START = 60.0  # seconds from making the folder to holding the lock, and many more


@dataclasses.dataclass(frozen=True)
class ExportTarget:
    """The place of one export.

    Attributes:
      path: the file, or the folder.
      is_folder: which of them.
      overwrite: whether what is there may be replaced.
    """

    path: pathlib.Path
    is_folder: bool
    overwrite: bool

    @property
    def report_path(self) -> pathlib.Path:
        """`export.json`: in the folder, and of a file beside it, with its name before."""
        if self.is_folder:
            return self.path / REPORT
        return self.path.with_name(f"{self.path.name}.{REPORT}")

    @contextlib.contextmanager
    def being_made(self) -> Iterator[pathlib.Path]:
        """Yields a path to write to; moves to `path` what is there when the block ends well.

        A report is expected beside a file as `report_path` says, in a folder as `REPORT`.

        Raises:
          OutputError, StorageError: it cannot be written.
        """
        parents = [folder for folder in self.path.parents if not folder.exists()]
        with os_errors.writing(self.path, "Pass another --output."):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _remove_left_overs(self.path.parent)
            temporary = self.path.parent / f"{_PREFIX}{secrets.token_hex(8)}"
            with contextlib.ExitStack() as at_end:
                at_end.callback(_remove_if_empty, parents)
                at_end.callback(shutil.rmtree, temporary, ignore_errors=True)
                temporary.mkdir()
                at_end.callback(locks.acquire(temporary / _LOCK, "output").release)
                made = temporary / ("made" if self.is_folder else f"made{self.path.suffix}")
                yield made
                self._move_in(made)

    def write_report(self, made: pathlib.Path, report: dict) -> None:
        """Writes the report of what is being made."""
        at = made / REPORT if self.is_folder else made.with_name(REPORT)
        files.replace_file(at, (json.dumps(report, indent=2) + "\n").encode())

    def _move_in(self, made: pathlib.Path) -> None:
        for path in [made, *made.rglob("*")]:
            files.sync(path)
        if not self.is_folder:
            made.with_name(REPORT).replace(self.report_path)
            made.replace(self.path)
        else:
            former = made.with_name("former")
            with contextlib.suppress(FileNotFoundError):  # no folder can be renamed onto a full one
                self.path.rename(former)
            try:
                made.rename(self.path)
            except OSError:
                with contextlib.suppress(FileNotFoundError):
                    former.rename(self.path)
                raise
        files.sync(self.path.parent)


def checked_target(
    chosen: ExportFormat,
    workdir: str | os.PathLike[str],
    output: str | os.PathLike[str] | None,
    overwrite: bool,
) -> ExportTarget:
    """Returns where an export goes, making nothing.

    Args:
      chosen: its format.
      workdir: the run directory.
      output: the file, or the folder; None: `exports/` in the run directory.
      overwrite: whether what is there may be replaced.

    Raises:
      ConfigError: the name ends in something else than the format wants.
      OutputError: it is there already, or cannot be made.
    """
    default = pathlib.Path(paths.local("workdir", workdir), "exports", chosen.file_name)
    path = default if output is None else paths.local("output", output, errors.OutputError)
    if chosen.ending and path.suffix != chosen.ending:
        raise errors.ConfigError("output", f"{path} does not end in {chosen.ending}")
    paths.check_makeable("output", path.parent)
    target = ExportTarget(path, is_folder=not chosen.ending, overwrite=overwrite)
    for there in (path, target.report_path):
        if os.path.lexists(there) and not overwrite:
            raise errors.OutputError(
                f"{there}: is there already. Pass another --output, or --overwrite."
            )
    if os.path.lexists(path) and not _is_former_export(target):
        kind = "a SavedModel" if target.is_folder else "a file"
        raise errors.OutputError(f"{path}: is not {kind}, and is left. Pass another --output.")
    return target


def _is_former_export(target: ExportTarget) -> bool:
    """Whether what is there may go: a file, an empty folder, or one of a SavedModel."""
    if not target.is_folder:
        return not target.path.is_dir()
    if not target.path.is_dir():
        return False
    return (target.path / "saved_model.pb").is_file() or not any(target.path.iterdir())


def _remove_left_overs(folder: pathlib.Path) -> None:
    """Removes what exports that were killed have left in a folder."""
    for left in folder.glob(f"{_PREFIX}*"):
        if left.is_symlink() or left.lstat().st_mtime > time.time() - _LONGEST_START:
            continue
        with contextlib.suppress(filelock.Timeout):  # one that is being made
            lock = locks.acquire(left / _LOCK, "output", timeout=0)
            shutil.rmtree(left, ignore_errors=True)
            lock.release()


def _remove_if_empty(folders: list[pathlib.Path]) -> None:
    """Removes folders, the innermost first, that nothing was put into."""
    with contextlib.suppress(OSError):  # they hold something: all went well
        for folder in folders:
            folder.rmdir()
