"""Predicts images and picture files with the model of a run, loaded once and used many times.

predictor = load_predictor("runs/mine")
probabilities = predictor.predict(images)
"""

from __future__ import annotations

import itertools
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mnist_lib import choices, errors, runtime
from mnist_lib.runs import finished_runs, run_directory
from mnist_lib.serving import inputs, read_ahead
from mnist_lib.serving.file_predictions import FilePrediction, digit_scores

_BATCH_SIZE = 500
_Workdir = str | os.PathLike[str]


class Predictor:
    """The model of a run, ready to predict; `load_predictor` returns it.

    Threads may share one.

    Attributes:
      class_names: one name per class.
      dataset: name of the data that it was trained on.
      model: the Keras model, images to logits.
      kind: which images it takes.
    """

    def __init__(self, model: keras.Model, class_names: tuple[str, ...], dataset: str):
        """Keeps its arguments.

        Raises:
          ConfigError: the model is not of images `[N, ...]` to logits `[N, C]`.
        """
        outputs: list[Any] = list(model.outputs or ())
        if len(model.inputs or ()) != 1 or len(outputs) != 1 or len(outputs[0].shape) != 2:
            raise errors.ConfigError(
                "model", f"{model.name} is not of images to logits; use what load_model returns"
            )
        self.model = model
        self.class_names = class_names
        self.dataset = dataset
        shape, dtype = tuple(model.inputs[0].shape[1:]), str(model.inputs[0].dtype)
        like_mnist = shape == (28, 28, 1) and class_names == tuple("0123456789")
        are_digits = dtype == "uint8" and like_mnist
        self.kind = inputs.ImageKind(shape, dtype, are_digits, dataset)
        self._forward = tf.function(
            lambda batch: tf.nn.softmax(model(batch, training=False)),
            autograph=False,
            input_signature=[tf.TensorSpec((None, *shape), dtype)],
        )

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Predicts the class probabilities of images.

        Args:
          images: of the shape and dtype that the run was trained on, for the library's models
            uint8 `[N, 28, 28]` or `[N, 28, 28, 1]`, 0 background, 255 ink.

        Returns:
          float32 `[N, number of classes]`; each row adds up to 1.

        Raises:
          ConfigError: the images have another shape or dtype.
        """
        images = np.asarray(images)
        shape, dtype = self.kind.shape, self.kind.dtype
        without_channel = (shape[:-1],) if shape[-1] == 1 else ()
        if images.dtype != dtype or images.shape[1:] not in (*without_channel, shape):
            expected = " or ".join(
                f"[N, {', '.join(map(str, one))}]" for one in (*without_channel, shape)
            )
            raise errors.ConfigError(
                "images", f"{images.dtype} {list(images.shape)}; expected {dtype} {expected}"
            )
        images = images.reshape(-1, *shape)
        parts = [
            self._forward(tf.convert_to_tensor(images[first : first + _BATCH_SIZE])).numpy()
            for first in range(0, len(images), _BATCH_SIZE)
        ]
        return np.concatenate(parts or [np.zeros((0, self.model.output_shape[-1]), np.float32)])

    def predict_files(
        self,
        files: Iterable[str | os.PathLike[str]],
        *,
        several: bool = False,
        background: str = "auto",
    ) -> Iterator[FilePrediction]:
        """Predicts the images in files, in batches, in the order of the files.

        Pictures are read as `pictures.read_picture` does and looked through by
        `pictures.find_digit`, where the run was trained on digits in the form of MNIST's;
        else they have to have the size of the run's images. `.npy` and IDX files hold images
        as `predict` takes them. Of a folder all pictures in it are taken.

        Args:
          files: their names.
          several: whether a picture shows a line of digits, each of which is predicted.
          background: `"light"`, `"dark"`, or `"auto"`, which tells them apart.

        Yields:
          One per image; of a file that cannot be used one with its `error`.

        Raises:
          ConfigError: `background` is none of these; `several` and the run knows no digits.
        """
        choices.check("background", background)
        if several and not self.kind.are_digits:
            raise errors.ConfigError(
                "several", f"{self.dataset} has no digits to look for in a line"
            )
        return self._predict_files(files, several, background)

    def _predict_files(self, files: Iterable, several: bool, background: str) -> Iterator:
        def read(path: pathlib.Path) -> Iterator[inputs.FoundImage]:
            return inputs.read_images(path, self.kind, several=several, background=background)

        waiting: list[tuple[str, inputs.FoundImage | errors.MnistLibError]] = []
        for name, found in read_ahead.read_ahead(files, read):
            waiting.append((name, found))
            if len(waiting) == _BATCH_SIZE:
                yield from self._predictions(waiting)
                waiting = []
        yield from self._predictions(waiting)

    def _predictions(self, found: list) -> Iterator[FilePrediction]:
        images = [image.image for _, image in found if isinstance(image, inputs.FoundImage)]
        stacked = np.array(images, self.kind.dtype).reshape(-1, *self.kind.shape)
        probabilities = self.predict(stacked)
        rows = iter(probabilities)
        scores: Iterator = itertools.repeat(None)
        if self.kind.are_digits:
            scores = iter(digit_scores(probabilities).tolist())
        for name, image in found:
            if isinstance(image, errors.MnistLibError):
                yield FilePrediction(name, error=image)
                continue
            row, score = next(rows), next(scores)
            label = int(row.argmax())
            yield FilePrediction(
                name,
                image.index,
                self.class_names[label],
                float(row[label]),
                row,
                score,
                image.box,
                image.image,
            )


def load_predictor(
    workdir: _Workdir,
    checkpoint: str = "last",
    *,
    model: Callable[[], keras.Model] | None = None,
) -> Predictor:
    """Loads the model of a run, to predict with it many times.

    Args and errors are those of `load_model`.
    """
    runtime.check_not_forked()
    loaded = finished_runs.load_model(workdir, checkpoint, model=model)
    config = finished_runs.load_config(workdir)
    run = run_directory.RunDirectory(workdir)
    dataset = run.first_facts().get("dataset", config.dataset)
    names = tuple(finished_runs.class_names(run, config))
    return Predictor(loaded, names, dataset)


def predict(
    workdir: _Workdir,
    images: np.ndarray,
    *,
    checkpoint: str = "last",
    model: Callable[[], keras.Model] | None = None,
) -> np.ndarray:
    """Predicts the class probabilities of images with the model of a run.

    To predict more than once, `load_predictor` loads the model once.

    Args:
      workdir: the run directory.
      images: as for `Predictor.predict`.
      checkpoint, model: as for `load_model`.

    Returns:
      float32 `[N, number of classes]`; each row adds up to 1.

    Raises:
      ConfigError: the images have another shape or dtype, or the model is not of
        images `[N, ...]` to logits `[N, C]`.
    """
    return load_predictor(workdir, checkpoint, model=model).predict(images)


def predict_files(
    workdir: _Workdir,
    files: Iterable[str | os.PathLike[str]],
    *,
    several: bool = False,
    background: str = "auto",
    checkpoint: str = "last",
) -> Iterator[FilePrediction]:
    """Predicts picture files, `.npy` and IDX files with the model of a run.

    Args and errors are those of `load_predictor` and `Predictor.predict_files`.
    """
    predictor = load_predictor(workdir, checkpoint)
    return predictor.predict_files(files, several=several, background=background)
