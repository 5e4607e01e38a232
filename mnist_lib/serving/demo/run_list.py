"""The runs that the page lets its reader choose from."""

from __future__ import annotations

import dataclasses
import pathlib
import threading
from typing import Any

from mnist_lib import choices, errors
from mnist_lib.runs import overview, run_directory
from mnist_lib.serving.demo.watched_run import WatchedRun


class RunList:
    """The runs in a folder, and one more, by the names under which the page shows them.

    Attributes:
      training: the folder of the run that is being trained for the page; None if there is none.
    """

    def __init__(self, folder: pathlib.Path, workdir: pathlib.Path | None = None):
        """Names the places; reads nothing yet.

        Args:
          folder: its runs are listed; it need not be there.
          workdir: a run directory, to be first in the list.
        """
        self.training: pathlib.Path | None = None
        self._folder = folder
        self._workdir = workdir
        self._lock = threading.Lock()
        self._loaded: dict[pathlib.Path, tuple[int, WatchedRun]] = {}

    def usable(self) -> list[dict[str, Any]]:
        """Returns what the page shows of each run that has a saved model.

        Each has its `name`, a `text`, and whether it `is_finished`; one that cannot be read has
        its `name` and the `error`.
        """
        listed: list[dict[str, Any]] = []
        for name, path in self._paths().items():
            try:
                found = overview.look_at(path)
            except errors.MnistLibError as error:
                listed.append({"name": name, "error": str(error)})
                continue
            if path != self.training and found.model != choices.OWN and _has_model(path):
                is_finished = found.state == overview.FINISHED
                listed.append({"name": name, "text": _text(found), "is_finished": is_finished})
        return listed

    def progress(self) -> dict[str, Any] | None:
        """Returns how far the run is that is trained for the page; None if none is."""
        path = self.training
        if path is None:
            return None
        try:
            return dataclasses.asdict(overview.look_at(path))
        except errors.DataNotFoundError:  # it is still being made
            return {"step": 0, "total_steps": None, "validation_accuracy": None}

    def load(self, name: str) -> WatchedRun:
        """Returns a run of the list with its model, which is loaded once, or when it has changed.

        Raises:
          DataNotFoundError: there is none of that name.
          CheckpointError, ConfigError, CorruptDataError: it cannot be used.
        """
        path = self._paths().get(name)
        if path is None:
            raise errors.DataNotFoundError(f"{name}: no such run is listed. Choose another one.")
        saved = run_directory.RunDirectory(path).checkpoints
        with self._lock:
            changed = saved.stat().st_mtime_ns if saved.is_dir() else 0
            known = self._loaded.get(path)
            if known is None or known[0] != changed:
                self._loaded[path] = known = (changed, WatchedRun(path))
            return known[1]

    def _paths(self) -> dict[str, pathlib.Path]:
        """Returns the folders of the runs by their names."""
        paths = {} if self._workdir is None else {str(self._workdir): self._workdir}
        found = overview.find_runs(self._folder) if self._folder.is_dir() else []
        known = {path.resolve() for path in paths.values()}
        for path in found:
            if path.resolve() not in known:
                is_inside = path != self._folder
                paths[str(path.relative_to(self._folder) if is_inside else path)] = path
        return paths


def _has_model(path: pathlib.Path) -> bool:
    return any(run_directory.RunDirectory(path).checkpoints.glob("ckpt-*.index"))


def _text(found: overview.RunOverview) -> str:
    accuracy = found.test_accuracy
    told = "" if accuracy is None else f", {100 * accuracy:.2f} % of the test images right"
    unfinished = "" if found.state == overview.FINISHED else f", {found.state} at step {found.step}"
    return f"{found.dataset}, {found.model}{told}{unfinished}"
