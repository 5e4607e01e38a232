"""The folder of one run: its configuration, its provenance, its lock, its results."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import socket
import time
from collections.abc import Iterator

import filelock

from mnist_lib import bounded, errors, files, locks, os_errors, paths
from mnist_lib.runs import provenance, stored_facts
from mnist_lib.runs.config import TrainConfig

ENSEMBLE_NAME, ROBUSTNESS_NAME = "ensemble.json", "robustness.json"
ROBUSTNESS_PICTURE = "figures/robustness.png"
_MOST_CONFIG_BYTES = 2**20


class RunDirectory:
    """Paths and files of a run.

    Attributes:
      path: the folder.
      checkpoints: `checkpoints/`, for resuming.
      best: `best/`, the best by validation accuracy.
      results_path: `results.json`, there when the run is finished.
    """

    def __init__(self, path: str | os.PathLike[str]):
        """Names the folder; makes nothing.

        Raises:
          ConfigError: it is not a path of the file system.
          OutputError: it begins with `~`, and there is no home directory.
        """
        self.path = paths.local("workdir", path, errors.OutputError)
        self.checkpoints = self.path / "checkpoints"
        self.best = self.path / "best"
        self.config_path = self.path / "config.json"
        self.provenance_path = self.path / "run.json"
        self.results_path = self.path / "results.json"

    def read_config(self) -> TrainConfig | None:
        """Returns the configuration the run was started with; None if there is none.

        Raises:
          DataNotFoundError: the file may not be read.
          CorruptDataError: the file cannot be understood.
        """
        with _reading(self.config_path):
            if not self.config_path.is_file():
                return None
            return TrainConfig.from_json(bounded.read_file(self.config_path, _MOST_CONFIG_BYTES))

    def read_results(self) -> dict | None:
        """Returns the results of a finished run; None if it is not finished.

        Raises:
          DataNotFoundError, CorruptDataError: as for `read_config`.
        """
        with _reading(self.results_path):
            if not self.results_path.is_file():
                return None
            return stored_facts.checked_results(bounded.read_json(self.results_path))

    def read_provenance(self) -> list[dict]:
        """Returns what each process that worked on the run was, the first one first.

        Raises:
          DataNotFoundError, CorruptDataError: as for `read_config`.
        """
        with _reading(self.provenance_path):
            if not self.provenance_path.is_file():
                return []
            return stored_facts.checked_entries(bounded.read_json(self.provenance_path))

    def first_facts(self) -> dict:
        """Returns what the process that started the run was, and its data; {} if there is none."""
        return next(iter(self.read_provenance()), {})

    def check_same_data(self, facts: dict) -> None:
        """Checks that the data is that which the run was started with.

        Args:
          facts: what `configured.data_facts` says of it.

        Raises:
          ConfigError: it is other data.
        """
        first = self.first_facts()
        for split in ("train", "validation", "test"):
            key = f"{split}_sha256"
            ours, theirs = first.get(key), facts.get(key)
            if ours and theirs and ours != theirs:
                raise errors.ConfigError(
                    "dataset",
                    f"its {split} images (SHA-256 {theirs[:16]}...) are not those that the "
                    f"run in {self.path} was started with ({ours[:16]}...); pass a new --workdir",
                )
        for key in ("class_names", "image_shape", "image_dtype"):
            if first.get(key, facts[key]) != facts[key]:
                raise errors.ConfigError(
                    "dataset",
                    f"has the {key} {facts[key]}, and the run in {self.path} was started with "
                    f"{first[key]}; pass a new --workdir",
                )

    def has_begun(self) -> bool:
        """Whether training may have begun here: then a first checkpoint has been saved."""
        return self.provenance_path.exists()

    def check_usable(self) -> None:
        """Checks that a run can be written here, without making anything.

        Raises:
          OutputError: it cannot be made or written, or it holds something other than a run.
        """
        folders = ("checkpoints", "best", "train", "validation", "test", "figures")
        for path in (self.path, *(self.path / name for name in folders)):
            paths.check_makeable("workdir", path)
            paths.check_not_led_away("workdir", path)
        if (self.path / ENSEMBLE_NAME).exists():
            raise errors.OutputError(f"{self.path}: holds an ensemble. Pass another --workdir.")
        if self.path.exists() and self.read_config() is None and self._foreign_files():
            raise errors.OutputError(
                f"{self.path}: is not empty and holds no config.json of a run "
                f"({', '.join(self._foreign_files()[:3])}). Pass an empty or new --workdir."
            )

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Makes the folder and holds it for this process.

        Raises:
          OutputError: another process trains in it, or it cannot be made.
        """
        owner_path = self.path / ".lock-owner"
        with os_errors.writing(self.path, "Pass another --workdir."):
            self.path.mkdir(parents=True, exist_ok=True)
        try:
            lock = locks.acquire(self.path / ".lock", "workdir", timeout=0)
        except filelock.Timeout as error:
            raise errors.OutputError(f"{self.path}: {_in_use(owner_path)}") from error
        try:
            with os_errors.writing(self.path, "Pass another --workdir."):
                for folder in (self.path, self.checkpoints, self.best):
                    files.remove_left_overs(folder)
            write_atomically(owner_path, f"{os.getpid()} {socket.gethostname()}\n")
            yield
        finally:
            with contextlib.suppress(OSError):  # the lock counts; who had it is overwritten
                owner_path.unlink(missing_ok=True)
            lock.release()

    def write_config(self, config: TrainConfig) -> None:
        """Writes `config.json`."""
        write_atomically(self.config_path, config.to_json())

    def append_provenance(self, facts: dict) -> list[str]:
        """Adds an entry of this process, `facts` and what it is, to `run.json`.

        Returns:
          What differs from the process that started the run and may change rounding.
        """
        entries = [*self.read_provenance(), provenance.process_facts() | facts]
        write_atomically(self.provenance_path, _to_json(entries))
        return list(provenance.differences(entries[0], entries[-1]))

    def discard_results(self) -> None:
        """Removes `results.json`, if a finished run goes on.

        Raises:
          StorageError: it could not be removed.
        """
        with os_errors.writing(self.results_path, "Pass another --workdir."):
            self.results_path.unlink(missing_ok=True)

    def write_results(self, results: dict) -> None:
        """Writes `results.json`, the mark of a finished run."""
        write_atomically(self.results_path, _to_json(results))

    def _foreign_files(self) -> list[str]:
        return sorted(
            path.name
            for path in self.path.iterdir()
            if not path.name.startswith(".lock") and not files.is_left_over(path)
        )


def new_workdir(dataset: str, model: str, root: str | os.PathLike[str] = "runs") -> pathlib.Path:
    """Makes and returns `<root>/<time>-<dataset>-<model>`, a folder of its own.

    Raises:
      OutputError: it cannot be made.
    """
    dataset = re.sub(r"[^\w.-]+", "_", dataset)  # anyone's data has any name
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{dataset}-{model}"
    for suffix in ("", *(f"-{number}" for number in range(2, 1000))):
        folder = pathlib.Path(root, name + suffix)
        try:
            folder.mkdir(parents=True)
            return folder
        except OSError as error:
            if os.path.lexists(folder):  # somebody else was there first
                continue
            raise os_errors.unwritable(error, folder, "Pass a --workdir you can write.") from error
    raise errors.OutputError(f"{root}: has a thousand runs of {name}. Pass a --workdir.")


def _in_use(owner_path: pathlib.Path) -> str:
    """Says who holds a run directory, and what to do."""
    try:
        pid, *host = bounded.read_file(owner_path, 4096).decode(errors="replace").split()
    except (OSError, ValueError):  # not written yet, or by an older version
        pid, host = "unknown", []
    owner = " on ".join([f"pid {pid}", *host])
    if host and host != [socket.gethostname()]:
        owner += f" (look on {host[0]} whether it still runs)"
    return f"in use by {owner}. Wait for it, stop it, or pass another --workdir."


def write_atomically(path: pathlib.Path, text: str) -> None:
    """Writes a file so that it is either the old one or all of the new one.

    Raises:
      OutputError, StorageError: it could not be written.
    """
    with os_errors.writing(path, "Start again with the same --workdir when it can."):
        files.replace_file(path, text.encode())


@contextlib.contextmanager
def _reading(path: pathlib.Path) -> Iterator[None]:
    try:
        with os_errors.reading(path, "Pass a --workdir that you may read."):
            yield
    except (ValueError, TypeError) as error:  # ConfigError is a ValueError
        raise errors.CorruptDataError(
            f"{path}: cannot be used ({error}). Restore it from a copy, or pass a new --workdir."
        ) from error


def _to_json(values: dict | list) -> str:
    return json.dumps(values, indent=2) + "\n"
