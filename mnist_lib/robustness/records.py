"""What suites have found of a run: its `robustness.json`, and the picture."""

from __future__ import annotations

import json
import pathlib
from importlib import metadata
from typing import Any

from mnist_lib import bounded, errors, locks, os_errors
from mnist_lib.inspection import figures
from mnist_lib.robustness import robustness_figure
from mnist_lib.robustness.subjects import Subject
from mnist_lib.runs import finished_runs, provenance, run_directory

FILE_NAME = run_directory.ROBUSTNESS_NAME


def add(
    suite: str,
    report: dict[str, Any],
    subject: Subject,
    run: run_directory.RunDirectory,
) -> None:
    """Writes what was found beside what other suites have left, and draws the corruptions.

    Args:
      suite: whose part is new.
      report: that part and those before it.
      subject, run: what they are of.
    """
    path = run.path / FILE_NAME
    lock = locks.acquire(path.with_name(".robustness.lock"), "workdir")
    try:  # another process may have tried another suite meanwhile
        run_directory.write_atomically(
            path, json.dumps(read(path) | {suite: report[suite]}, indent=2) + "\n"
        )
    finally:
        lock.release()
    if suite in ("corruptions", "adversarial") and "corruptions" in report:
        step = report["corruptions"]["step"]
        caption = figures.describe_source(run=run.path.absolute().name, step=step)
        figure = robustness_figure.draw_robustness(report, subject, caption=caption)
        figures.save(figure, picture_path(run.path))


def picture_path(workdir: pathlib.Path) -> pathlib.Path:
    """Returns where the picture of a run is written."""
    return workdir / run_directory.ROBUSTNESS_PICTURE


def facts_of_run(
    run: run_directory.RunDirectory, checkpoint: str, seed: int, split: str
) -> dict[str, Any]:
    """Returns what every suite records of the run, and of what has tried it."""
    versions = provenance.versions()
    packages = {name: metadata.version(name) for name in ("scipy", "pillow")}
    return {
        "split": split,
        "checkpoint": checkpoint,
        "step": finished_runs.checkpoint_step(run, checkpoint),
        "seed": seed,
        "versions": versions | {"packages": versions["packages"] | packages},
    }


def facts_of_images(subject: Subject) -> dict[str, Any]:
    """Returns what every suite records of the images."""
    return {
        "dataset": subject.dataset,
        "num_images": len(subject.split),
        "images_sha256": subject.split.sha256,
    }


def read(path: pathlib.Path) -> dict[str, Any]:
    """Returns what an earlier evaluation has left; {} if there is none.

    Raises:
      CorruptDataError: it cannot be understood.
      DataNotFoundError: it cannot be read.
    """
    try:
        with os_errors.reading(path, "See that you may read it."):
            return bounded.checked_object(bounded.read_json(path)) if path.exists() else {}
    except ValueError as error:
        raise errors.CorruptDataError(
            f"{path}: cannot be used ({error}). Move it away; it is written anew."
        ) from error
