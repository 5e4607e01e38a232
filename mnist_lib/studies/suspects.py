"""Finds training images whose label is likely wrong, by networks that have not seen them.

The training images are cut into folds, each a stratified part; for each fold an ordinary run
in a folder of its own is trained on all others, with the fold for its validation split. Nothing is
chosen by it: its last checkpoint says what it thinks of the fold.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from typing import Any

import numpy as np

from mnist_lib import choices, errors, files, os_errors, paths, runtime
from mnist_lib.datasets.loading import ImageDataset
from mnist_lib.datasets.splits import stratified_order
from mnist_lib.inspection import predictions
from mnist_lib.inspection.label_errors import LabelErrors
from mnist_lib.runs import configured, experiment, finished_runs, run_directory
from mnist_lib.runs.config import TrainConfig

FOLDER_NAME = "suspects"  # beside the runs of a study's setting
JSON_NAME, PICTURE_NAME = "suspects.json", "suspects.png"
_MOST_DRAWN = 40


@dataclasses.dataclass(frozen=True)
class Suspect:
    """An image whose label is likely wrong.

    Attributes:
      number: of the image in the original files; its position in the data where there are none.
      label, suggested: names of its label and of its most probable class.
      margin: probability of the label less that of the suggested class, in [-1, 0].
      probabilities: of all classes, in their order.
    """

    number: int
    label: str
    suggested: str
    margin: float
    probabilities: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class SuspectReport:
    """The labels of a training set that are likely wrong.

    Attributes:
      dataset: name of the data set.
      class_names: one name per class.
      num_images: training images, all of them.
      num_correct: of these, how many the network that has not seen them predicts as labelled.
      num_folds: networks.
      thresholds: from which probability on each class counts as confident; None: no image has it
        as its label.
      confident_joint: counts `[C, C]`; row: label, column: confident class.
      estimated_counts: likewise, row: label, column: class that is estimated to be right.
      suspects: the most suspect first.
      has_original_numbers: whether their numbers are those of the original files.
    """

    dataset: str
    class_names: tuple[str, ...]
    num_images: int
    num_correct: int
    num_folds: int
    thresholds: tuple[float | None, ...]
    confident_joint: tuple[tuple[int, ...], ...]
    estimated_counts: tuple[tuple[int, ...], ...]
    suspects: tuple[Suspect, ...]
    has_original_numbers: bool

    def to_dict(self) -> dict[str, Any]:
        """Returns all of it as JSON takes it."""
        return dataclasses.asdict(self)


def find_suspects(
    config: TrainConfig,
    workdir: str | os.PathLike[str],
    *,
    num_folds: int = 5,
    data: ImageDataset | None = None,
) -> SuspectReport:
    """Trains a network for each fold, and finds the labels that all of this makes suspect.

    Stopped and called again with the same arguments it goes on: a finished run is not repeated.

    Args:
      config: of each run; its data set is cut into folds, its `validation_size` is not used.
      workdir: gets the runs `fold-1` to `fold-<num_folds>`, `suspects.json` and `suspects.png`.
      num_folds: networks, from 2 to the number of training images.
      data: whose training and validation images are looked through, instead of loading
        `config.dataset`.

    Returns:
      What is in `suspects.json`.

    Raises:
      ConfigError: `num_folds` or the configuration cannot be used, or the runs there are of
        another one.
      OutputError, StorageError: `workdir` cannot be written.
      and what `train_and_evaluate` raises.
    """
    runtime.check_not_forked()
    folder = paths.local("workdir", workdir, errors.OutputError)
    if config.strategy == "multi_worker_mirrored":
        raise errors.ConfigError("strategy", "folds are trained by one process; choose mirrored")
    if config.init_from is not None:
        raise errors.ConfigError(
            "init_from",
            "may have seen the images of every fold, of which only networks that have not can "
            "say what is wrong; leave it out",
        )
    if data is None:
        data = configured.load_dataset(
            dataclasses.replace(config, validation_size=0, train_size=None)
        )
    whole = _whole(data)
    if not 2 <= num_folds <= len(whole.train):
        raise errors.ConfigError("folds", f"{num_folds} is not in [2, {len(whole.train)}]")
    with os_errors.writing(folder, "Pass a --workdir you can write."):
        folder.mkdir(parents=True, exist_ok=True)
    _check_folds(folder, num_folds)
    found = LabelErrors(whole.train.labels, _out_of_sample(config, whole, folder, num_folds))
    report = _report(whole, found, num_folds)
    caption = f"{whole.name} train, {num_folds} folds of {config.model}"
    _draw(whole, found, folder / PICTURE_NAME, caption)
    with os_errors.writing(folder, "Pass a --workdir you can write."):
        text = json.dumps(report.to_dict(), indent=2) + "\n"
        files.replace_file(folder / JSON_NAME, text.encode())
    return report


def _whole(data: ImageDataset) -> ImageDataset:
    """Returns the data with its validation images among those to train on, in their order."""
    train, held_out = data.train, data.validation
    if len(held_out):
        numbers = None
        if train.numbers is not None and held_out.numbers is not None:
            numbers = np.concatenate([train.numbers, held_out.numbers])
        train = dataclasses.replace(
            train,
            images=np.concatenate([train.images, held_out.images]),
            labels=np.concatenate([train.labels, held_out.labels]),
            numbers=numbers,
        )
    if train.numbers is not None:
        train = train.take(np.argsort(train.numbers))
    nothing = train.take(np.arange(0), "validation")
    return ImageDataset(data.name, train, nothing, lambda: data.test, data.class_names)


def _check_folds(folder: pathlib.Path, num_folds: int) -> None:
    """Checks that runs that are there were trained on other folds of as many.

    Raises:
      ConfigError: they were not.
    """
    name = str(run_directory.RunDirectory(folder / "fold-1").first_facts().get("dataset", ""))
    there = name.rpartition("-of-")[2]
    if there.isdecimal() and int(there) != num_folds:
        raise errors.ConfigError(
            "folds", f"{num_folds} are asked for, and {folder} was begun with {there}; pass those"
        )


def _out_of_sample(
    config: TrainConfig, data: ImageDataset, folder: pathlib.Path, num_folds: int
) -> np.ndarray:
    """Returns what the network of each image's fold says of it, float32 `[N, C]`."""
    config = dataclasses.replace(
        config,
        dataset=choices.AUTO,
        validation_size=TrainConfig.validation_size,
    )
    probabilities = np.empty((len(data.train), len(data.class_names)), np.float32)
    folds = np.array_split(stratified_order(data.train.labels), num_folds)
    for number, positions in enumerate(folds, start=1):
        positions = np.sort(positions)
        others = np.setdiff1d(np.arange(len(data.train)), positions)
        fold = data.train.take(positions, "validation")
        run = folder / f"fold-{number}"
        of_fold = ImageDataset(
            f"{data.name}-without-fold-{number}-of-{num_folds}",  # no name can load it again
            data.train.take(others),
            fold,
            lambda: data.test,
            data.class_names,
        )
        experiment.train_and_evaluate(config, run, data=of_fold)
        model = finished_runs.load_model(run)
        said = predictions.predict_split(model, fold, data.class_names, data.name)
        probabilities[positions] = said.probabilities
    return probabilities


def _report(data: ImageDataset, found: LabelErrors, num_folds: int) -> SuspectReport:
    numbers = data.train.numbers
    suspects = tuple(
        Suspect(
            number=int(index if numbers is None else numbers[index]),
            label=data.class_names[found.labels[index]],
            suggested=data.class_names[found.suggested[index]],
            margin=float(found.margins[index]),
            probabilities=tuple(map(float, found.probabilities[index])),
        )
        for index in found.suspects()
    )
    return SuspectReport(
        dataset=data.name,
        class_names=data.class_names,
        num_images=len(data.train),
        num_correct=int((found.suggested == found.labels).sum()),
        num_folds=num_folds,
        thresholds=tuple(float(one) if np.isfinite(one) else None for one in found.thresholds),
        confident_joint=tuple(map(tuple, found.confident_joint.tolist())),
        estimated_counts=tuple(map(tuple, found.estimated_counts.tolist())),
        suspects=suspects,
        has_original_numbers=numbers is not None,
    )


def _draw(data: ImageDataset, found: LabelErrors, path: pathlib.Path, caption: str) -> None:
    """Writes the picture of the most suspect images."""
    from mnist_lib.inspection.figures import label_suspects, style  # a second, only for who draws

    every = found.suspects()
    drawn = every[:_MOST_DRAWN]
    suggestions = [
        (
            int(found.suggested[index]),
            float(found.probabilities[index, found.suggested[index]]),
            float(found.probabilities[index, found.labels[index]]),
        )
        for index in drawn
    ]
    figure = label_suspects.draw_suspects(
        data.train.take(drawn),
        suggestions,
        data.class_names,
        num_suspects=len(every),
        caption=caption,
    )
    style.save(figure, path)
