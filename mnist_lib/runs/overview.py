"""What the runs in a folder have come to, read without TensorFlow.

from mnist_lib.runs import overview
overview.look_at("runs/mine").state        # "finished"
[overview.look_at(run) for run in overview.find_runs("runs")]
"""

from __future__ import annotations

import dataclasses
import fcntl
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any

from mnist_lib import choices, errors, os_errors, paths
from mnist_lib.inspection import history
from mnist_lib.runs import run_directory
from mnist_lib.runs.config import TrainConfig

FINISHED, RUNNING, STOPPED = "finished", "running", "stopped"
_DEPTH = 3  # of the folders in which runs are looked for
_READABLE = "Pass a folder that you may read."
_CHECKPOINT = re.compile(r"ckpt-(\d+)\.index")


@dataclasses.dataclass(frozen=True)
class RunOverview:
    """What a run has come to.

    Attributes:
      path: its folder.
      dataset, model: what it trains on, and what.
      step: optimizer steps that are saved, or, of one that is running, logged.
      total_steps: those of the whole run; None if it was not begun on its data.
      state: `"finished"`, `"running"` or `"stopped"`, to be gone on with.
      validation_accuracy: in [0, 1], the last one; None if there is none.
      test_accuracy: in [0, 1]; None if it is not finished, or its targets are no classes.
      train_seconds: spent in training steps; None if it is not finished.
      started: when a process last began to work on it, seconds since 1970.
    """

    path: str
    dataset: str
    model: str
    step: int
    total_steps: int | None
    state: str
    validation_accuracy: float | None
    test_accuracy: float | None
    train_seconds: float | None
    started: float

    def __str__(self) -> str:
        total = "" if self.total_steps is None else f" of {self.total_steps}"
        parts = [f"{self.dataset}, {self.model}; {self.state} at step {self.step}{total}"]
        if self.validation_accuracy is not None:
            parts.append(f"validation accuracy {self.validation_accuracy:.4f}")
        if self.test_accuracy is not None:
            parts.append(f"test accuracy {self.test_accuracy:.4f}")
        if self.train_seconds is not None:
            parts.append(f"{self.train_seconds:.1f} s of training")
        return ", ".join(parts)


def find_runs(folder: str | os.PathLike[str]) -> list[pathlib.Path]:
    """Returns the folders of runs in a folder, up to three levels down, or itself, by name.

    Raises:
      DataNotFoundError: it is no folder that can be read.
    """
    top = paths.local("folder", folder)
    with os_errors.reading(top, _READABLE):
        if _is_run(top):
            return [top]
        return sorted(_runs_below(top, _DEPTH))


def look_at(folder: str | os.PathLike[str]) -> RunOverview:
    """Returns what a run has come to.

    Raises:
      DataNotFoundError: the folder holds no run, or a file of it may not be read.
      CorruptDataError: a file of it cannot be understood.
    """
    run = run_directory.RunDirectory(folder)
    config = run.read_config()
    if config is None:
        raise errors.DataNotFoundError(f"{run.path}: no config.json there. Pass a run directory.")
    results = run.read_results()
    with os_errors.reading(run.path, _READABLE):
        started = run.provenance_path if run.provenance_path.exists() else run.config_path
        state = STOPPED if results is None else FINISHED
        facts = {
            "path": str(run.path),
            "dataset": run.first_facts().get("dataset", config.dataset),
            "model": config.model,
            "state": RUNNING if _is_held(run) else state,
            "total_steps": _total_steps(config, run.first_facts()),
            "started": started.stat().st_mtime,
        }
        values = _of_finished(run, results) if results is not None else _of_unfinished(run, facts)
    return RunOverview(**facts, **values)


def _of_finished(run: run_directory.RunDirectory, results: dict) -> dict[str, Any]:
    try:
        return {
            "step": int(results["step"]),
            "validation_accuracy": results["validation"]["accuracy"],
            "test_accuracy": results["test"]["accuracy"],
            "train_seconds": results["timing"]["train_seconds"],
        }
    except (KeyError, TypeError, ValueError) as error:
        raise errors.CorruptDataError(
            f"{run.results_path}: cannot be used ({error!r}). Restore it from a copy."
        ) from error


def _of_unfinished(run: run_directory.RunDirectory, facts: dict) -> dict[str, Any]:
    names = [path.name for path in run.checkpoints.glob("ckpt-*.index")]
    step = max(
        (int(found[1]) for name in names if (found := _CHECKPOINT.fullmatch(name))), default=0
    )
    accuracies: Any = ()
    if (run.path / history.FILE_NAME).is_file():  # event files would take TensorFlow to read
        logged = history.read_history(run.path)
        _, accuracies = logged["validation"].get("accuracy", ((), ()))
        if facts["state"] == RUNNING:
            steps = [at[-1] for at, _ in logged["train"].values()]
            step = max([step, *map(int, steps)])
    return {
        "step": step,
        "validation_accuracy": float(accuracies[-1]) if len(accuracies) else None,
        "test_accuracy": None,
        "train_seconds": None,
    }


def _total_steps(config: TrainConfig, first: dict) -> int | None:
    num_train = first.get("num_train")
    if num_train is None and config.dataset in choices.NAMES["dataset"]:
        num_train = config.num_train_examples
    if config.train_steps is None and num_train is None:
        return None
    return config.total_steps(num_train or 0)


def _is_held(run: run_directory.RunDirectory) -> bool:
    """Whether a process works on a run.

    Its lock is looked at only where a process has left its name, so that one that starts
    meanwhile finds it free.
    """
    if not (run.path / ".lock-owner").exists() or not (run.path / ".lock").exists():
        return False
    with (run.path / ".lock").open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _is_run(folder: pathlib.Path) -> bool:
    return (folder / "config.json").is_file()


def _runs_below(folder: pathlib.Path, depth: int) -> Iterator[pathlib.Path]:
    for entry in folder.iterdir():
        if entry.name.startswith(".") or not entry.is_dir():
            continue
        if _is_run(entry):
            yield entry
        elif depth > 1 and os.access(entry, os.R_OK | os.X_OK):
            yield from _runs_below(entry, depth - 1)
