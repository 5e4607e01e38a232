"""Tries a run on images unlike those it was trained on, and records what comes of it."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from mnist_lib import choices, errors, runtime
from mnist_lib.datasets.loading import ImageDataset
from mnist_lib.datasets.splits import Split
from mnist_lib.inspection import predictions
from mnist_lib.progress import Progress
from mnist_lib.robustness import alphabets, attacks, calibrated, corruptions, records
from mnist_lib.robustness.subjects import Subject
from mnist_lib.runs import finished_runs, run_directory

ALL = "all"
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

    What other suites have left in the file stays there, and each suite is recorded when it ends.

    Args:
      workdir: the run directory.
      suite: a name in `choices.NAMES["suite"]`.
      split: as for `finished_runs.evaluate`.
      checkpoint: as for `load_model`.
      num_images: the first ones in the order of the original files; None for all, and for
        `NUM_ATTACKED` to be attacked.
      seed: of what is random, in [0, 2**64).
      progress: whether to show a bar on a terminal.
      data, model, **data_options: as for `finished_runs.evaluate`.

    Returns:
      A part for each suite, as JSON takes it. What `"all"` cannot try is left out, and logged.

    Raises:
      ConfigError: there are too few images; the suite is `"corruptions"` or `"alphabets"`, and
        they are not uint8 `[N, 28, 28, 1]`; it is `"calibration"`, and there are no validation
        images, or others than the run has held out, or `split` is another than test; it is
        `"adversarial"`, and the model does not begin by dividing its image by 255.
      CorruptDataError: `robustness.json` is there and cannot be understood.
      TypeError: there is no such option.
    """
    runtime.check_not_forked()
    _check_options(suite, split, seed, data_options)
    loaded = functools.partial(finished_runs.load_model, workdir, checkpoint, model=model)
    subject = _first(_subject(workdir, split, loaded, seed, data, data_options), num_images)
    run = run_directory.RunDirectory(workdir)
    records.read(run.path / records.FILE_NAME)  # before hours of work
    facts = records.facts_of_run(run, checkpoint, seed, split)
    report, show = {}, functools.partial(Progress, show_bar=progress)
    for name in SUITES if suite == ALL else (suite,):
        is_long = name == "adversarial" and num_images is None
        asked = _first(subject, min(NUM_ATTACKED, len(subject.split)) if is_long else None)
        try:
            if name == "calibration":
                _check_calibrates(asked, split, run, is_other_data="dataset" in data_options)
            report[name] = records.facts_of_images(asked) | facts | SUITES[name](asked, show)
            records.add(name, report, subject, run)
        except errors.ConfigError as error:
            if suite != ALL:
                raise
            _logger.warning("%s is left out: %s", name, error)
    return report


def _check_options(suite: str, split: str, seed: int, options: Mapping[str, Any]) -> None:
    choices.check("suite", suite)
    choices.check("split", split)
    corruptions.check_seed(seed)
    if unknown := sorted(set(options) - _DATA_OPTIONS):
        raise TypeError(f"evaluate_robustness() has no option {unknown[0]!r}")


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


def _check_calibrates(
    subject: Subject, split: str, run: run_directory.RunDirectory, *, is_other_data: bool
) -> None:
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
    held_out = run.first_facts().get("validation_sha256")
    if held_out not in (None, subject.validation.sha256):
        raise errors.ConfigError(
            "data",
            f"has other validation images than the run has held out ({held_out}): it may have been "
            "trained on these; pass the run's own",
        )


# In the order in which `all` tries them.
SUITES: dict[str, Callable[[Subject, Callable[..., Progress]], dict[str, Any]]] = {
    "calibration": lambda subject, _: calibrated.calibrate(subject),
    "corruptions": corruptions.try_corruptions,
    "alphabets": alphabets.try_alphabets,
    "adversarial": attacks.try_attacks,
}
