"""Tries a run on images unlike those it was trained on, and records what comes of it."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import os
import pathlib
from collections.abc import Callable
from importlib import metadata
from typing import Any

import keras
import numpy as np

from mnist_lib import bounded, choices, errors, locks, os_errors, runtime
from mnist_lib.datasets.loading import ImageDataset
from mnist_lib.datasets.splits import Split
from mnist_lib.inspection import figures, predictions
from mnist_lib.progress import Progress
from mnist_lib.robustness import alphabets, attacks, calibrated, corruptions, robustness_figure
from mnist_lib.robustness.subjects import Subject
from mnist_lib.runs import finished_runs, provenance, run_directory

ALL = "all"
FILE_NAME = "robustness.json"
NUM_ATTACKED = 1000  # of each image twenty gradients at each eps
_DATA_OPTIONS = {"dataset", "data_dir", "manual_dir", "download"}
_logger = logging.getLogger(__name__)


def evaluate_robustness(
    workdir: str | os.PathLike[str],
    *,
    suite: str = ALL,
    split: str = "test",
    checkpoint: str = "last",
    num_images: int | None = None,
    seed: int = 0,
    progress: bool = True,
    data: ImageDataset | None = None,
    model: Callable[[], keras.Model] | None = None,
    **data_options: Any,
) -> dict[str, Any]:
    """Tries the model of a run, and writes `robustness.json` and, of corruptions, a picture.

    What other suites have left in the file stays there.

    Args:
      workdir: the run directory.
      suite: a name in `choices.NAMES["suite"]`.
      split: as for `finished_runs.evaluate`.
      checkpoint: as for `load_model`.
      num_images: the first ones in the order of the original files; None for all, and for
        `NUM_ATTACKED` to be attacked.
      seed: of what is random, in [0, 2**64).
      progress: whether to show a bar on a terminal.
      data: what to try it on, instead of loading the run's.
      model: of a run of a model of one's own, the function that returns it.
      **data_options: as for `finished_runs.evaluate`.

    Returns:
      A part for each suite, as JSON takes it. What `"all"` cannot try is left out, and logged.
      Each is recorded as soon as it is there.

    Raises:
      ConfigError: the images are not uint8 `[N, 28, 28, 1]`, or too few; the suite is
        `"calibration"`, and there are no validation images, or `split` is another than test; it is
        `"adversarial"`, and the model does not begin by dividing its image by 255.
      CorruptDataError: `robustness.json` is there and cannot be understood.
      TypeError: there is no such option.
    """
    if unknown := sorted(set(data_options) - _DATA_OPTIONS):
        raise TypeError(f"evaluate_robustness() has no option {unknown[0]!r}")
    runtime.check_not_forked()
    choices.check("suite", suite)
    choices.check("split", split)
    corruptions.check_seed(seed)
    loaded = functools.partial(finished_runs.load_model, workdir, checkpoint, model=model)
    subject = _first(_subject(workdir, split, loaded, seed, data, data_options), num_images)
    run = run_directory.RunDirectory(workdir)
    _read(run.path / FILE_NAME)  # before hours of work
    facts = _facts(run, checkpoint, seed, split)
    show = functools.partial(Progress, show_bar=progress)
    report = {}
    for name in SUITES if suite == ALL else (suite,):
        is_long = name == "adversarial" and num_images is None
        asked = _first(subject, min(NUM_ATTACKED, len(subject.split)) if is_long else None)
        try:
            if name == "calibration":
                _check_calibrates(asked, split, is_other_data="dataset" in data_options)
            part = _facts_of_images(asked) | facts | SUITES[name](asked, show)
        except errors.ConfigError as error:
            if suite != ALL:
                raise
            _logger.warning("%s is left out: %s", name, error)
            continue
        report[name] = part
        _record({name: part}, report, subject, run)
    return report


def _record(
    found: dict[str, Any],
    report: dict[str, Any],
    subject: Subject,
    run: run_directory.RunDirectory,
) -> None:
    """Writes what was found beside what other suites have left, and draws the corruptions.

    Args:
      found: the part that is new.
      report: it and those before it.
      subject, run: what they are of.
    """
    path = run.path / FILE_NAME
    lock = locks.acquire(path.with_name(".robustness.lock"), "workdir")
    try:  # another process may have tried another suite meanwhile
        run_directory.write_atomically(path, json.dumps(_read(path) | found, indent=2) + "\n")
    finally:
        lock.release()
    if {"corruptions", "adversarial"} & set(found) and "corruptions" in report:
        step = report["corruptions"]["step"]
        caption = figures.describe_source(run=run.path.absolute().name, step=step)
        figure = robustness_figure.draw_robustness(report, subject, caption=caption)
        figures.save(figure, picture_path(run.path))


def picture_path(workdir: pathlib.Path) -> pathlib.Path:
    """Returns where the picture of a run is written."""
    return workdir / "figures" / "robustness.png"


def _subject(
    workdir: str | os.PathLike[str],
    split: str,
    loaded: Callable[[], keras.Model],
    seed: int,
    data: ImageDataset | None,
    data_options: dict[str, Any],
) -> Subject:
    config = finished_runs.load_config(workdir)
    run = run_directory.RunDirectory(workdir)
    if data is None:
        data = finished_runs.load_data_of(run, config, data_options)
    names = finished_runs.class_names(run, config)
    if len(names) != len(data.class_names):
        raise errors.ConfigError(
            "dataset", f"{data.name} has {len(data.class_names)} classes, the run {len(names)}"
        )
    images = _in_original_order(getattr(data, split))
    if not len(images):
        raise errors.ConfigError(
            "split", f"{data.name} has no {split} images (validation_size is 0)"
        )
    corruptions.check_images(images.images)
    model = loaded()
    return Subject(
        model=model,
        logits=predictions.logits_function(model),
        split=images,
        validation=data.validation,
        class_names=tuple(names),
        dataset=data.name,
        data_dir=data_options.get("data_dir", config.data_dir),
        seed=seed,
    )


def _in_original_order(split: Split) -> Split:
    return split if split.numbers is None else split.take(np.argsort(split.numbers, kind="stable"))


def _first(subject: Subject, count: int | None) -> Subject:
    """Returns a subject that is asked its first images only.

    Raises:
      ConfigError: there are not so many, or fewer than two are wanted.
    """
    if count is None:
        return subject
    if not 2 <= count <= len(subject.split):
        raise errors.ConfigError(
            "suite_images", f"{count} is not in [2, {len(subject.split)}], the images there are"
        )
    chosen = subject.split.take(np.arange(count))
    if missing := sorted(set(subject.split.labels.tolist()) - set(chosen.labels.tolist())):
        _logger.warning(
            "the first %d of the %s images have none of class %s: they are in the order of their "
            "classes, or too few",
            count,
            chosen.name,
            ", ".join(subject.class_names[label] for label in missing),
        )
    return dataclasses.replace(subject, split=chosen)


def _check_calibrates(subject: Subject, split: str, *, is_other_data: bool) -> None:
    """Checks that there are images on which nothing was trained and nothing is reported.

    Raises:
      ConfigError: there are none, or others than the run's own are asked for.
    """
    if is_other_data:
        raise errors.ConfigError(
            "dataset", "calibration is of the run's own data; leave it out, or name another suite"
        )
    if split != "test":
        raise errors.ConfigError(
            "split",
            f"is {split}; the temperature is fitted on validation and tried on test",
        )
    if not len(subject.validation):
        raise errors.ConfigError(
            "suite",
            "calibration fits a temperature on validation images, and the run has held none out "
            "(validation_size is 0); train one that does, --validation_size=5000",
        )


# In the order in which `all` tries them.
SUITES: dict[str, Callable[[Subject, Callable[..., Progress]], dict[str, Any]]] = {
    "calibration": lambda subject, _: calibrated.calibrate(subject),
    "corruptions": corruptions.try_corruptions,
    "alphabets": alphabets.try_alphabets,
    "adversarial": attacks.try_attacks,
}


def _facts(
    run: run_directory.RunDirectory, checkpoint: str, seed: int, split: str
) -> dict[str, Any]:
    versions = provenance.versions()
    packages = {name: metadata.version(name) for name in ("scipy", "pillow")}
    return {
        "split": split,
        "checkpoint": checkpoint,
        "step": finished_runs.checkpoint_step(run, checkpoint),
        "seed": seed,
        "versions": versions | {"packages": versions["packages"] | packages},
    }


def _facts_of_images(subject: Subject) -> dict[str, Any]:
    return {
        "dataset": subject.dataset,
        "num_images": len(subject.split),
        "images_sha256": subject.split.sha256,
    }


def _read(path: pathlib.Path) -> dict[str, Any]:
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
