"""Writes a run's model in a format that others load, and says how well it agrees with the run.

report = export("runs/mine", "onnx")
report = export("runs/mine", "litert", "mine.tflite", overwrite=True)
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import os
import pathlib
import re
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from mnist_lib import errors, paths, runtime, version
from mnist_lib.datasets import loading
from mnist_lib.inspection import predictions
from mnist_lib.runs import finished_runs, run_directory
from mnist_lib.serving.exports import checking, formats, targets
from mnist_lib.serving.exports.served import load_served

NUM_CALIBRATION_IMAGES = 300
_PACKAGES = ("tensorflow", "keras", "numpy", "ai-edge-litert", "tf2onnx", "onnxruntime")


def export(
    workdir: str | os.PathLike[str],
    format: str,  # noqa: A002
    output: str | os.PathLike[str] | None = None,
    *,
    checkpoint: str = "last",
    overwrite: bool = False,
    data: loading.ImageDataset | None = None,
    model: Callable[[], keras.Model] | None = None,
    **data_options,
) -> dict:
    """Exports the model of a finished run, or leaves nothing.

    What was written is loaded in a fresh process that cannot import this library, and asked
    all test images of the run's data. Labels must be the run's own; of int8 at most 20 of
    10,000 may differ.

    Args:
      workdir: the run directory.
      format: a name in `choices.NAMES["export_format"]`.
      output: the file, or of a SavedModel the folder; None: in `exports/` of the run.
      checkpoint: as for `load_model`.
      overwrite: whether to replace what is there.
      data, model: as for `evaluate`.
      **data_options: as for `evaluate`.

    Returns:
      What `export.json` holds, which is in the folder, or beside the file with its name
      before: the run, `output`, `bytes`, and what `checking.compare` returns.

    Raises:
      ExportError: the export gives other answers than the run, or cannot be used.
      OutputError, StorageError: the output is there already, or cannot be written.
      DataNotFoundError: the folder holds no finished run.
      ConfigError: no such format, packages that it needs are missing, or it cannot take
        the model.
    """
    chosen = formats.usable_format(format)
    target = targets.checked_target(chosen, workdir, output, overwrite)
    exporter = RunExporter(workdir, checkpoint=checkpoint, data=data, model=model, **data_options)
    return exporter.write(format, target)


class RunExporter:
    """The model of a finished run and its answers, to be written in one format after another."""

    def __init__(
        self,
        workdir: str | os.PathLike[str],
        *,
        checkpoint: str = "last",
        data: loading.ImageDataset | None = None,
        model: Callable[[], keras.Model] | None = None,
        **data_options,
    ):
        """Loads model and data; arguments and errors are those of `export`."""
        runtime.check_not_forked()
        self.workdir = os.fspath(workdir)
        self.served = load_served(workdir, checkpoint, model=model)
        if data is None:
            run = run_directory.RunDirectory(workdir)
            data = finished_runs.load_data_of(run, self.served.config, data_options)
        self._data = data
        self._check_data()

    @functools.cached_property
    def reference(self) -> predictions.Predictions:
        """What the run says of its test images."""
        served = self.served
        return predictions.predict_split(
            served.model, self._data.test, served.class_names, self._data.name
        )

    def write(self, format: str, target: targets.ExportTarget) -> dict:  # noqa: A002
        """Writes one format; returns and raises what `export` does."""
        chosen = formats.usable_format(format)
        with target.being_made() as made:
            report = self._report(format, target)
            try:
                self._write(chosen, made, report)
            except tf.errors.OpError as error:
                said = re.sub(r"^\{\{.*?\}\} | \[Op:\w+\]", "", error.message.splitlines()[0])
                raise errors.StorageError(
                    f"{target.path}: TensorFlow could not write it ({said}). Free some space and "
                    "run again."
                ) from error
            report["bytes"] = _size(made)
            report |= self._compared(chosen, made)
            target.write_report(made, report)
        return report

    def _write(self, chosen: formats.ExportFormat, made: pathlib.Path, report: dict) -> None:
        write = chosen.writer_module().write
        with paths.for_tensorflow(made.parent) as folder:
            if chosen.reader is None:
                write(self.served, folder / made.name)
            elif chosen.is_calibrated:
                images = self._calibration_images()
                report["num_calibration_images"] = len(images)
                write(self.served, folder / made.name, images)
            else:
                write(self.served, folder / made.name, None)

    def _compared(self, chosen: formats.ExportFormat, made: pathlib.Path) -> dict:
        try:
            found = checking.compare(chosen, made, self.served, self.reference)
        except errors.DataNotFoundError:
            if chosen.reader is not None:
                raise
            return {"checked": False, "not_checked_because": "no Chromium"}
        return {"checked": True, **found}

    def _report(self, format: str, target: targets.ExportTarget) -> dict:  # noqa: A002
        served = self.served
        return {
            "format": format,
            "output": str(target.path),
            "run": self.workdir,
            **served.facts,
            "image_shape": list(served.image_shape),
            "class_names": list(served.class_names),
            "test_dataset": self._data.name,
            "mnist_lib": version.__version__,
            "packages": _versions(),
        }

    def _calibration_images(self) -> np.ndarray:
        """Returns validation images, and where there are too few of them training images, too."""
        splits = (self._data.validation, self._data.train)
        images = np.concatenate([split.images[:NUM_CALIBRATION_IMAGES] for split in splits])
        return images[:NUM_CALIBRATION_IMAGES].reshape(-1, *self.served.signature_shape)

    def _check_data(self) -> None:
        data, served = self._data, self.served
        if len(data.class_names) != served.num_classes:
            raise errors.ConfigError(
                "data",
                f"{data.name} has {len(data.class_names)} classes, and the run in {self.workdir} "
                f"was trained on {served.num_classes}; give data of the same classes",
            )
        if data.train.image_shape != served.image_shape or not len(data.test):
            raise errors.ConfigError(
                "data",
                f"{data.name} has {len(data.test)} test images of {list(data.train.image_shape)}; "
                f"the run in {self.workdir} takes {list(served.image_shape)}",
            )


def _size(made: pathlib.Path) -> int:
    return sum(path.stat().st_size for path in [made, *made.rglob("*")] if path.is_file())


def _versions() -> dict[str, str]:
    """Returns the versions of what writes and runs exports, as far as it is installed."""
    found = {}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
