"""Uses what a run has left: its model and its test result.

model = load_model("runs/mine")
metrics = evaluate("runs/mine")
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable

import keras
import tensorflow as tf

from mnist_lib import choices, errors, paths, runtime
from mnist_lib.datasets import catalog, loading
from mnist_lib.runs import (
    checkpoint_files,
    checkpoints,
    configured,
    ensembles,
    own_parts,
    run_directory,
)
from mnist_lib.runs.config import TrainConfig
from mnist_lib.training import losses, own_metrics
from mnist_lib.training.metrics import EvalMetrics


def load_config(workdir: str | os.PathLike[str]) -> TrainConfig:
    """Reads the configuration of a run.

    Raises:
      DataNotFoundError: the folder holds no run.
      ConfigError: it is a model that was saved as a whole, and no run.
    """
    path = paths.local("workdir", workdir)
    _refuse_other_models(path)
    config = run_directory.RunDirectory(path).read_config()
    if config is None:
        raise errors.DataNotFoundError(
            f"{workdir}: no config.json there. Pass the --workdir of a run of scripts/train.py."
        )
    return config


def _refuse_other_models(path: pathlib.Path) -> None:
    """Refuses a whole model in place of a run: such files can hold code that loading carries out.

    Raises:
      ConfigError: it is one.
    """
    is_file = path.suffix in (".keras", ".h5", ".hdf5") and path.is_file()
    if is_file or (path / "saved_model.pb").is_file():
        kind = f"a {path.suffix} file" if is_file else "a SavedModel"
        raise errors.ConfigError(
            "workdir",
            f"{path} is {kind}, which may hold code and is not loaded; pass the directory of a "
            "run, whose weights are numbers only",
        )


def load_model(
    workdir: str | os.PathLike[str],
    checkpoint: str = "last",
    *,
    model: Callable[[], keras.Model] | None = None,
) -> keras.Model:
    """Rebuilds the model of a run, or of an ensemble, with its trained weights or their averages.

    The model is built from `config.json` by this library, and weights are numbers
    only; no code is read from the folder.

    Args:
      workdir: the run directory, of any data set, classes and shape of images.
      checkpoint: `"last"`, which `results.json` speaks of, or `"best"`, the best by
        validation accuracy.
      model: of a run of a model of one's own, the function that returns it.

    Returns:
      Images `[N, H, W, C]` to float32 logits, one per class of the run's data.

    Raises:
      DataNotFoundError: the folder holds no run.
      CheckpointError: it holds no usable checkpoint.
      ConfigError: `checkpoint` is neither; `model` is needed, or of another run.
    """
    runtime.check_not_forked()
    choices.check("checkpoint", checkpoint)
    config = load_config(workdir)
    run = run_directory.RunDirectory(workdir)
    ensemble = ensembles.read(run.path)
    if ensemble is not None:
        members = [load_model(member.path, checkpoint) for member in ensemble.members]
        return ensembles.build(members, ensemble.test_time_shift)
    prefix = _checkpoint_prefix(run, checkpoint)
    first = run.first_facts()
    own = own_parts.OwnParts(model=model)
    if model is not None and config.model != choices.OWN:
        raise errors.ConfigError(
            "model", f"the run in {run.path} is of {config.model}; leave model= out"
        )
    height, width, channels = first.get("image_shape", (28, 28, 1))
    built = configured.build_model(
        config, len(class_names(run, config)), (height, width, channels), own
    )
    if model is not None:
        own_parts.check_same_model(first, built)
    averaged = first.get("averages_weights", config.ema_momentum is not None)
    checkpoints.read_model(built, prefix, averaged=averaged)
    return built


def _checkpoint_prefix(run: run_directory.RunDirectory, checkpoint: str) -> pathlib.Path:
    folder = run.checkpoints if checkpoint == "last" else run.best
    if checkpoint == "best" and not folder.exists():
        raise errors.ConfigError(
            "checkpoint", f"{run.path} has no best: nothing has been validated there"
        )
    if not checkpoint_files.steps_in(folder):
        raise errors.CheckpointError(
            f"{run.path}: has no checkpoint, the run has not come so far. Go on with it, or pass "
            "the --workdir of another."
        )
    return checkpoints.newest_whole_prefix(folder)


def checkpoint_step(run: run_directory.RunDirectory, checkpoint: str = "last") -> int:
    """Returns the optimizer step of what `load_model` loads; of an ensemble, of its first run.

    Raises:
      ConfigError, CheckpointError, DataNotFoundError, CorruptDataError: as for `load_model`.
    """
    ensemble = ensembles.read(run.path)
    if ensemble is not None:
        run = run_directory.RunDirectory(ensemble.members[0].path)
    return checkpoints.step_of(_checkpoint_prefix(run, checkpoint))


def class_names(run: run_directory.RunDirectory, config: TrainConfig) -> list[str]:
    """Returns the names of the classes that a run was trained on."""
    catalogued = catalog.dataset_info(config.dataset).class_names
    return list(run.first_facts().get("class_names", catalogued))


def evaluate(
    workdir: str | os.PathLike[str],
    *,
    split: str = "test",
    checkpoint: str = "last",
    data: loading.ImageDataset | None = None,
    model: Callable[[], keras.Model] | None = None,
    loss: losses.Loss | None = None,
    metrics: Callable[[], own_metrics.Metrics] | None = None,
    **data_options,
) -> EvalMetrics:
    """Evaluates a run on one split.

    Args:
      workdir: the run directory.
      split: `"train"`, `"validation"` or `"test"`.
      checkpoint: as for `load_model`.
      data: what to evaluate on, instead of loading that of the run.
      model, loss, metrics: of a run with parts of one's own, as for `train_and_evaluate`.
      **data_options: fields of the configuration to replace, where the data has
        moved: `data_dir`, `manual_dir`, `download`, `dataset`.

    Returns:
      The counts; for the last checkpoint and the test split those of `results.json`.

    Raises:
      ConfigError: the data is not given and not that of the run, has other classes, or has
        no images in this split.
    """
    runtime.check_not_forked()
    choices.check("split", split)
    config = load_config(workdir)
    run = run_directory.RunDirectory(workdir)
    if data is None:
        data = load_data_of(run, config, data_options)
    num_classes = len(class_names(run, config))
    if len(data.class_names) != num_classes:
        raise errors.ConfigError(
            "data",
            f"{data.name} has {len(data.class_names)} classes, and the run in {run.path} was "
            f"trained on {num_classes}; give data of the same classes",
        )
    if not len(getattr(data, split)):
        raise errors.ConfigError(
            "split", f"{data.name} has no {split} images (validation_size is 0)"
        )
    if config.loss == choices.OWN and loss is None:
        raise errors.ConfigError("loss", "is the run's own; pass loss= again")
    own = own_parts.OwnParts(model=model, loss=loss, metrics=metrics)
    built = load_model(workdir, checkpoint, model=model)
    evaluator = configured.build_evaluator(config, built, tf.distribute.get_strategy(), own)
    found = evaluator.evaluate(getattr(data, split))
    return dataclasses.replace(found, dataset=data.name, class_names=data.class_names)


def load_data_of(
    run: run_directory.RunDirectory, config: TrainConfig, data_options: dict
) -> loading.ImageDataset:
    """Loads the data of a run, or what `data_options` name in its place."""
    is_other = "dataset" in data_options
    first = run.first_facts()
    trained_on = first.get("dataset", config.dataset)
    known = trained_on in choices.NAMES["dataset"] and not first.get("own_data")
    if not known and not is_other:
        raise errors.ConfigError(
            "data", f"the run was trained on {trained_on}, which the catalogue lacks; pass data="
        )
    data = configured.load_dataset(dataclasses.replace(config, **data_options))
    if not is_other:
        run.check_same_data(configured.data_facts(data))
    return data
