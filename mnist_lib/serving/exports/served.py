"""The model of a finished run with what is known of it: what every format is written from."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable

import keras

from mnist_lib import choices, errors
from mnist_lib.inspection import predictions
from mnist_lib.runs import finished_runs, run_directory
from mnist_lib.runs.config import TrainConfig
from mnist_lib.serving.exports import plain_layers


@dataclasses.dataclass(frozen=True, eq=False)
class ServedModel:
    """A trained model on its way out of its run.

    Attributes:
      model: images `[N, H, W, C]` to logits `[N, num_classes]`; with the averages of the
        weights where the run evaluates with them.
      class_names: one name per logit.
      image_shape: height, width and channels.
      dataset: name of the data that the run was trained on.
      checkpoint: `"last"` or `"best"`.
      step: the optimizer step of that checkpoint.
      config: what the run was started with.
    """

    model: keras.Model
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    dataset: str
    checkpoint: str
    step: int
    config: TrainConfig

    @property
    def num_classes(self) -> int:
        """The number of logits."""
        return len(self.class_names)

    @property
    def facts(self) -> dict[str, str | int]:
        """What is told of the run beside an export: data set, model, checkpoint, step."""
        return {
            "dataset": self.dataset,
            "model": self.config.model,
            "checkpoint": self.checkpoint,
            "step": self.step,
        }

    @property
    def precision(self) -> str:
        """What its layers compute in: `"float32"`, or that of those which do not."""
        within = plain_layers.layers_within(self.model)
        used = {layer.compute_dtype for layer in within if layer.count_params()}
        return next(iter(sorted(used - {"float32"})), "float32")

    @property
    def signature_shape(self) -> tuple[int, ...]:
        """The shape of an image in signatures: without the channel where it is the only one."""
        return self.image_shape[:2] if self.image_shape[2] == 1 else self.image_shape


def load_served(
    workdir: str | os.PathLike[str],
    checkpoint: str = "last",
    *,
    model: Callable[[], keras.Model] | None = None,
) -> ServedModel:
    """Loads what is to be exported of a run.

    Args:
      workdir: the run directory.
      checkpoint, model: as for `finished_runs.load_model`.

    Raises:
      DataNotFoundError: the folder holds no run, or one that is not finished.
      CheckpointError, CorruptDataError: as for `finished_runs.load_model`.
      ConfigError: the same, and where the model does not take images to a logit per class.
    """
    config = finished_runs.load_config(workdir)
    choices.check("checkpoint", checkpoint)
    run = run_directory.RunDirectory(workdir)
    if run.read_results() is None:
        raise errors.DataNotFoundError(
            f"{run.results_path}: is not there, so the run is not finished. Let it finish, or "
            f"train on with --workdir={run.path}."
        )
    loaded = finished_runs.load_model(workdir, checkpoint, model=model)
    class_names = tuple(finished_runs.class_names(run, config))
    if not predictions.classifies(loaded) or loaded.output_shape[-1] != len(class_names):
        raise errors.ConfigError(
            "model",
            f"{loaded.name} in {run.path} is not of one image to a logit for each of its "
            f"{len(class_names)} classes; no other can be exported",
        )
    height, width, channels = loaded.input_shape[1:]
    return ServedModel(
        model=loaded,
        class_names=class_names,
        image_shape=(height, width, channels),
        dataset=run.first_facts().get("dataset", config.dataset),
        checkpoint=checkpoint,
        step=finished_runs.checkpoint_step(run, checkpoint),
        config=config,
    )
