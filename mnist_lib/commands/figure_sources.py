"""What each figure is drawn from: data and runs, read when a figure first needs them."""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable

import keras
from matplotlib.figure import Figure

from mnist_lib import choices, errors
from mnist_lib.datasets import catalog
from mnist_lib.datasets.loading import ImageDataset
from mnist_lib.datasets.splits import Split
from mnist_lib.inspection import figures, history, predictions
from mnist_lib.inspection.predictions import Predictions
from mnist_lib.runs import configured, finished_runs, run_directory
from mnist_lib.runs.config import TrainConfig
from mnist_lib.training import augmentation


class FigureSources:
    """Data, run and predictions that the flags of a command name."""

    def __init__(
        self,
        workdirs: tuple[str, ...],
        fields: dict,
        *,
        split: str,
        checkpoint: str,
        augmentation: str,
        projection: str,
    ):
        """Reads nothing yet.

        Args:
          workdirs: run directories; only curves take more than one.
          fields: of `TrainConfig`, where the data is, in place of those of the run.
          split: which images of the run's data.
          checkpoint: as for `finished_runs.load_model`.
          augmentation: which one to draw.
          projection: of the embedding.
        """
        self.workdirs = workdirs
        self.augmentation = augmentation
        self.projection = projection
        self._fields = fields
        self._split = split
        self._checkpoint = checkpoint

    @functools.cached_property
    def config(self) -> TrainConfig:
        """The configuration of the run, or of none, with the fields that were given."""
        config = finished_runs.load_config(self.workdirs[0]) if self.workdirs else TrainConfig()
        return dataclasses.replace(config, **self._fields)

    @functools.cached_property
    def whole_data(self) -> ImageDataset:
        """The data set with all of its training images in `train`."""
        self._check_known_data()
        config = dataclasses.replace(self.config, validation_size=0, train_size=None)
        return configured.load_dataset(config)

    @functools.cached_property
    def data(self) -> ImageDataset:
        """The data set as the run divides it.

        Raises:
          ConfigError: it is not that of the run.
        """
        self._check_known_data()
        data = configured.load_dataset(self.config)
        if "dataset" not in self._fields:
            self._run.check_same_data(configured.data_facts(data))
        elif len(data.class_names) != self.model.output_shape[-1]:
            raise errors.ConfigError(
                "dataset",
                f"{data.name} has {len(data.class_names)} classes, the run's data has not",
            )
        return data

    @functools.cached_property
    def images(self) -> Split:
        """The images of the run's data that were asked for."""
        images = getattr(self.data, self._split)
        if not len(images):
            raise errors.ConfigError(
                "split", f"{self.data.name} has no {self._split} images (validation_size is 0)"
            )
        return images

    @functools.cached_property
    def model(self) -> keras.Model:
        """The run's model with its weights."""
        return finished_runs.load_model(self.workdirs[0], self._checkpoint)

    @functools.cached_property
    def predictions(self) -> Predictions:
        """What the model says of the images."""
        return predictions.predict_split(
            self.model, self.images, self.data.class_names, self.data.name
        )

    @property
    def histories(self) -> dict[str, history.History]:
        """What each run has logged, by the last part of its path, or all where two have one."""
        names = [pathlib.Path(os.path.abspath(workdir)).name for workdir in self.workdirs]
        shown = names if len(set(names)) == len(names) else self.workdirs
        return {
            name: history.read_history(workdir)
            for name, workdir in zip(shown, self.workdirs, strict=True)
        }

    def of_run(self) -> str:
        """Returns the caption of a figure of the run's model."""
        step = finished_runs.checkpoint_step(self._run, self._checkpoint)
        return figures.describe_source(run=self.workdirs[0], step=step)

    def of_images(self) -> str:
        """Returns the caption of a figure of the run's model and images."""
        return f"{self.of_run()}, {self.data.name} {self._split}"

    @functools.cached_property
    def _run(self) -> run_directory.RunDirectory:
        return run_directory.RunDirectory(self.workdirs[0])

    def _check_known_data(self) -> None:
        first = self._run.first_facts() if self.workdirs else {}
        name = first.get("dataset", self.config.dataset)
        known = name in choices.NAMES["dataset"] and not first.get("own_data")
        if not known and "dataset" not in self._fields:
            raise errors.ConfigError(
                "dataset",
                f"the run was trained on {name}, which the catalogue lacks "
                f"({', '.join(catalog.CATALOG)}); draw it by mnist_lib.inspection.figures",
            )


def _samples(sources: FigureSources) -> Figure:
    data = sources.whole_data
    return figures.draw_samples(data.train, data.class_names, caption=f"{data.name} train")


def _labels(sources: FigureSources) -> Figure:
    data = sources.whole_data
    labels = {"training": data.train.labels, "test": data.test.labels}
    return figures.draw_labels(labels, data.class_names, caption=data.name)


def _augmentation(sources: FigureSources) -> Figure:
    data, name = sources.whole_data, sources.augmentation
    augment = augmentation.named_augmentation(name, sources.config.seed)
    caption = f"{data.name} train"
    return figures.draw_augmentation(
        data.train, augment, data.class_names, name=name, caption=caption
    )


def _curves(sources: FigureSources) -> Figure:
    return figures.draw_curves(sources.histories, caption=f"run {', '.join(sources.workdirs)}")


def _feature_maps(sources: FigureSources) -> Figure:
    data, images = sources.data, sources.images
    image = images.images[0 if images.numbers is None else images.numbers.argmin()]
    return figures.draw_feature_maps(
        sources.model, image, data.class_names, caption=sources.of_images()
    )


def _embedding(sources: FigureSources) -> Figure:
    return figures.draw_embedding(
        sources.model,
        sources.images,
        sources.data.class_names,
        projection=sources.projection,
        caption=sources.of_images(),
    )


# By the names in `choices.NAMES["figure"]`.
DRAW: dict[str, Callable[[FigureSources], Figure]] = {
    "samples": _samples,
    "labels": _labels,
    "augmentation": _augmentation,
    "curves": _curves,
    "confusion": lambda it: figures.draw_confusion(it.predictions, caption=it.of_images()),
    "mistakes": lambda it: figures.draw_mistakes(it.predictions, caption=it.of_images()),
    "reliability": lambda it: figures.draw_reliability(it.predictions, caption=it.of_images()),
    "precision_recall": lambda it: figures.draw_precision_recall(
        it.predictions, caption=it.of_images()
    ),
    "filters": lambda it: figures.draw_filters(it.model, it.data.class_names, caption=it.of_run()),
    "feature_maps": _feature_maps,
    "embedding": _embedding,
    "saliency": lambda it: figures.draw_saliency(
        it.model, it.images, it.data.class_names, caption=it.of_images()
    ),
    "model": lambda it: figures.draw_model(it.model, caption=it.of_run()),
    "activations": lambda _: figures.draw_activations(),
    "noise": lambda _: figures.draw_noise(),
    "separability": lambda _: figures.draw_separability(),
}
