"""Compares finished runs on the same images: intervals, tests, and what differs between them.

Networks are what is tested, on images of this kind. Whether one setting is better than
another is a question of several seeds.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from mnist_lib import choices, errors, runtime
from mnist_lib.datasets.loading import ImageDataset
from mnist_lib.datasets.splits import Split
from mnist_lib.inspection import calibration, predictions
from mnist_lib.runs import ensembles, finished_runs, overview, run_directory
from mnist_lib.studies import comparison

_Workdir = str | os.PathLike[str]


def compare_runs(
    workdirs: Sequence[_Workdir],
    *,
    split: str = "test",
    against_first: bool = False,
    data: ImageDataset | None = None,
    **data_options: Any,
) -> comparison.RunComparison:
    """Compares finished runs, by their last checkpoints, on the same images.

    Args:
      workdirs: at least two run directories, of one data set.
      split: `"train"`, `"validation"` or `"test"`.
      against_first: test the first one against each of the others, instead of all pairs: fewer
        tests, for which less has to be corrected.
      data: what to evaluate on, instead of loading that of the first run.
      **data_options: as for `finished_runs.evaluate`; `dataset` names other data for all.

    Returns:
      Counts, intervals and tests.

    Raises:
      ConfigError: fewer than two runs, or one twice; they are of other data, classes or images,
        or of a model of one's own.
      DataNotFoundError: there is no run, or it is not finished; the data is not there.
      CorruptDataError, CheckpointError: a run cannot be used.
    """
    runtime.check_not_forked()
    choices.check("split", split)
    runs = _finished(workdirs)
    is_other = data is not None or "dataset" in data_options
    if not is_other:
        _check_one_data_set(runs)
    if data is None:
        data = finished_runs.load_data_of(
            runs[0], finished_runs.load_config(runs[0].path), data_options
        )
    images = getattr(data, split)
    if not len(images):
        raise errors.ConfigError("split", f"{data.name} has no {split} images")
    for run in runs:
        _check_images(run, data, images, by_hash=not is_other)
    said = [
        predictions.predict_split(
            finished_runs.load_model(run.path), images, data.class_names, data.name
        )
        for run in runs
    ]
    names = _names(runs)
    compared = map(_compared, runs, names, _settings(runs), said)
    is_correct = dict(zip(names, (one.is_correct for one in said), strict=True))
    pairs = comparison.tested_pairs(is_correct, against_first=against_first)
    return comparison.RunComparison(data.name, split, tuple(compared), pairs)


def _finished(workdirs: Sequence[_Workdir]) -> list[run_directory.RunDirectory]:
    """Returns the run directories; each holds a run that is finished, and none is there twice."""
    if len(workdirs) < 2:
        raise errors.ConfigError(
            "run", f"{len(workdirs) or 'none'} given; name the directories of two runs or more"
        )
    runs = [run_directory.RunDirectory(workdir) for workdir in workdirs]
    places = [run.path.resolve() for run in runs]
    for number, run in enumerate(runs):
        if places[number] in places[:number]:
            raise errors.ConfigError("run", f"{run.path} is given twice; name each run once")
        finished_runs.load_config(run.path)
        if run.read_results() is None:
            raise errors.DataNotFoundError(
                f"{run.path}: no results.json there, the run is not finished. Go on with it, or "
                "leave it out."
            )
    return runs


def _dataset(run: run_directory.RunDirectory) -> str:
    return run.first_facts().get("dataset", finished_runs.load_config(run.path).dataset)


def _check_one_data_set(runs: Sequence[run_directory.RunDirectory]) -> None:
    first = _dataset(runs[0])
    for run in runs[1:]:
        if (name := _dataset(run)) != first:
            raise errors.ConfigError(
                "run",
                f"{run.path} is of {name}, and {runs[0].path} of {first}; compare runs of one data "
                "set, or name one for all of them as the dataset",
            )


def _check_images(
    run: run_directory.RunDirectory, data: ImageDataset, images: Split, *, by_hash: bool
) -> None:
    """Checks that a run can be asked these images, and `by_hash` that they are its own."""
    facts = run.first_facts()
    num_classes = len(finished_runs.class_names(run, finished_runs.load_config(run.path)))
    if num_classes != len(data.class_names):
        raise errors.ConfigError(
            "run",
            f"{run.path} tells {num_classes} classes apart, and {data.name} has "
            f"{len(data.class_names)}; compare runs of the same classes",
        )
    shape = list(images.image_shape)
    if facts.get("image_shape", shape) != shape:
        raise errors.ConfigError(
            "run", f"{run.path} takes images {facts['image_shape']}, and {data.name} has {shape}"
        )
    if by_hash and facts.get(f"{images.name}_sha256", images.sha256) != images.sha256:
        raise errors.ConfigError(
            "run",
            f"{run.path} has other {images.name} images than the first run; compare on the test "
            "images, which are the same",
        )


def _names(runs: Sequence[run_directory.RunDirectory]) -> list[str]:
    names = [pathlib.Path(os.path.abspath(run.path)).name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.path) for run in runs]


def _settings(runs: Sequence[run_directory.RunDirectory]) -> list[dict[str, Any]]:
    """Returns of each run the fields of its configuration that are not the same in all."""
    fields = list(map(_fields, runs))
    differing = [name for name in fields[0] if any(one[name] != fields[0][name] for one in fields)]
    return [{name: one[name] for name in differing} for one in fields]


def _fields(run: run_directory.RunDirectory) -> dict[str, Any]:
    """Returns the configuration of a run; that of an ensemble has the seeds of all its members."""
    fields = finished_runs.load_config(run.path).common_fields()
    ensemble = ensembles.read(run.path)
    if ensemble is None:
        return fields | {"members": 1, "test_time_shift": 0}
    seeds = [finished_runs.load_config(member.path).seed for member in ensemble.members]
    return fields | {
        "seed": ", ".join(map(str, seeds)),
        "members": len(seeds),
        "test_time_shift": ensemble.test_time_shift,
    }


def _compared(
    run: run_directory.RunDirectory,
    name: str,
    settings: dict[str, Any],
    said: predictions.Predictions,
) -> comparison.ComparedRun:
    disputed = np.array([said.is_disputed(index) for index in range(len(said.split))])
    undisputed = comparison.count_correct(said.is_correct[~disputed]) if disputed.any() else None
    of_label = said.probabilities[np.arange(len(said.split)), said.split.labels]
    bins = calibration.equal_width_bins(said.confidence, said.is_correct)
    least = np.finfo(np.float32).tiny
    return comparison.ComparedRun(
        name=name,
        path=str(run.path),
        all_images=comparison.count_correct(said.is_correct),
        undisputed=undisputed,
        num_disputes=int((~said.is_correct[disputed]).sum()) if disputed.any() else None,
        loss=float(-np.log(np.maximum(of_label, least).astype(np.float64)).mean()),
        calibration_error=bins.error,
        num_parameters=(run.read_results() or {}).get("num_parameters"),
        train_seconds=overview.look_at(run.path).train_seconds,
        settings=settings,
    )
