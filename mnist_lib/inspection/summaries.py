"""TensorBoard summaries of a run: the same tags in `train/`, `validation/` and `test/`.

The x axis is the optimizer step. Tags are grouped: `metrics/`, `optimizer/`, `speed/`,
`weights/`, `gradients/`, `input/`, `errors/`, `class/`. What is shown of a finished run is in
`closing_summaries`.
"""

from __future__ import annotations

import pathlib
import resource
from collections.abc import Mapping, Sequence

import numpy as np
from tensorboard.plugins.hparams import api, api_pb2
from tensorboard.plugins.hparams import summary as session
from tensorboard.plugins.hparams import summary_v2 as hparams

from mnist_lib.inspection import event_files
from mnist_lib.training.metrics import EvalMetrics, TrainMetrics

SPLITS = ("train", "validation", "test")
# In the order in which HParams has them; it shows five unless it is told otherwise.
_HPARAMS = (
    "batch_size",
    "dropout",
    "learning_rate",
    "model",
    "optimizer",
    "seed",
    "train_steps",
    "weight_decay",
)


class RunSummaries:
    """Writes the event files of a run.

    Levels: `none` writes nothing; `scalars` scalars and what HParams shows; `default` also
    graphs, text, pictures, histograms of the weights and, at the end, what
    `closing_summaries` writes; `full` also histograms of gradients.
    """

    def __init__(self, run_path: pathlib.Path, level: str):
        """Opens nothing yet; reads what earlier processes have logged.

        Args:
          run_path: the run's folder.
          level: one of the levels above.

        Raises:
          DataNotFoundError: an event file may not be read.
        """
        self._name = run_path.name
        self._level = level
        folders = {split: run_path / split for split in SPLITS} | {"run": run_path}
        self._writers = {
            name: event_files.EventWriter(folder)
            for name, folder in folders.items()
            if level != "none"
        }

    @property
    def has_pictures(self) -> bool:
        """Whether more than scalars is wanted."""
        return self._level in ("default", "full")

    @property
    def has_gradients(self) -> bool:
        """Whether histograms of gradients are wanted."""
        return self._level == "full"

    def writer(self, split: str) -> event_files.EventWriter:
        """Returns the writer of a split, or of the whole `run`; the level is not `none`."""
        return self._writers[split]

    def begin_session(self, configuration: Mapping[str, bool | int | float | str | None]) -> None:
        """Has HParams show the run: those fields of its configuration that are often compared.

        Its columns are those that the first run of a folder names, so that each names all.

        Raises:
          StorageError: an event file could not be written.
        """
        if self._level == "none":
            return
        columns = hparams.hparams_config_pb(
            [api.HParam(field) for field in _HPARAMS],
            [
                api.Metric(f"metrics/{name}", group=split, display_name=f"{split} {name}")
                for name in ("accuracy", "loss")
                for split in ("validation", "test")
            ],
        )
        # A value of None would hide the run.
        values = {field: configuration.get(field) for field in _HPARAMS}
        given = {field: value for field, value in values.items() if value is not None}
        started = hparams.hparams_pb(given, trial_id=self._name)
        self.writer("run").raw(0, [columns, started])

    def training(
        self, step: int, metrics: TrainMetrics, learning_rate: float, images_per_second: float
    ) -> None:
        """Shows what the steps up to `step` amounted to.

        Raises:
          StorageError: an event file could not be written.
        """
        if self._level == "none":
            return
        kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        values = {f"metrics/{name}": value for name, value in metrics.values().items()}
        self.writer("train").scalars(
            step,
            values
            | {
                "optimizer/objective": metrics.objective,
                "optimizer/learning_rate": learning_rate,
                "optimizer/gradient_norm": metrics.gradient_norm,
                "speed/images_per_second": images_per_second,
                "speed/peak_memory_megabytes": kib / 1024,
            },
        )

    def evaluation(self, split: str, step: int, metrics: EvalMetrics) -> None:
        """Shows an evaluation, and the accuracy of each class where there are some.

        Raises:
          StorageError: an event file could not be written.
        """
        if self._level == "none":
            return
        values = {
            f"metrics/{name}": value
            for name, value in metrics.values().items()
            if isinstance(value, float)
        }
        if self.has_pictures and metrics.has_accuracy:
            matrix = metrics.confusion_matrix
            names = metrics.class_names
            if len(names) != len(matrix):  # not known, or a model has more logits than classes
                names = tuple(map(str, range(len(matrix))))
            values |= {
                f"class/accuracy/{name}": float(row[label] / row.sum())
                for label, (name, row) in enumerate(zip(names, matrix, strict=True))
                if row.sum()
            }
        self.writer(split).scalars(step, values)

    def weights(self, step: int, variables: Sequence, ratios: Mapping[str, float]) -> None:
        """Shows a histogram of each variable.

        Args:
          step: the step after which they have their values.
          variables: of the model.
          ratios: by the path of a variable, the norm of its last update to its own.

        Raises:
          StorageError: an event file could not be written.
        """
        if self.has_pictures:
            values = {f"weights/{one.path}": one.numpy() for one in variables}
            self.writer("train").histograms(step, values)
            scalars = {f"optimizer/update_ratio/{path}": value for path, value in ratios.items()}
            self.writer("train").scalars(step, scalars)

    def gradients(self, step: int, gradients: Mapping[str, np.ndarray]) -> None:
        """Shows a histogram of each gradient, by the path of its variable.

        Raises:
          StorageError: an event file could not be written.
        """
        if self.has_gradients:
            values = {f"gradients/{path}": gradient for path, gradient in gradients.items()}
            self.writer("train").histograms(step, values)

    def end_session(self, step: int) -> None:
        """Has HParams show that the run is finished.

        Raises:
          StorageError: an event file could not be written.
        """
        if self._level != "none":
            ended = session.session_end_pb(api_pb2.STATUS_SUCCESS)
            self.writer("run").raw(step, [ended])

    def flush(self) -> None:
        """Writes out what is buffered.

        Raises:
          StorageError: the event files could not be written.
        """
        for writer in self._writers.values():
            writer.flush()

    def close(self) -> None:
        """Closes the files.

        Raises:
          StorageError: what was buffered cannot be written.
        """
        for writer in self._writers.values():
            writer.close()
