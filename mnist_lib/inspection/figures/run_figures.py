"""The figures that a run leaves behind."""

from __future__ import annotations

import logging
import os
import pathlib
from collections.abc import Callable

import keras
import numpy as np
from matplotlib.figure import Figure

from mnist_lib import errors, paths
from mnist_lib.inspection.figures import (
    classification,
    networks,
    probabilities,
    representations,
    style,
    training_curves,
)
from mnist_lib.inspection.history import History
from mnist_lib.inspection.predictions import Predictions

_logger = logging.getLogger(__name__)


def draw_run(
    folder: str | os.PathLike[str],
    *,
    predictions: Predictions,
    history: History,
    model: keras.Model,
    run: str,
    step: int,
    features: np.ndarray | None = None,
    format: str = "png",  # noqa: A002
) -> list[pathlib.Path]:
    """Draws a run and writes curves, confusion, mistakes, reliability, precision_recall, filters
    and embedding, a file each.

    Args:
      folder: gets the files; it is made.
      predictions: of the split that the run is judged by.
      history: what the run has logged.
      model: with the weights that predicted.
      run: the run's name, for the captions.
      step: the optimizer step of the weights.
      features: as for `draw_embedding`, of a choice of 2,000 images; None: they are computed.
      format: a name in `style.FORMATS`.

    Returns:
      The files. What cannot be drawn of this model or history is left out, and logged.

    Raises:
      OutputError, StorageError: a file cannot be written.
    """
    split, names = predictions.split, predictions.class_names
    of_run = style.describe_source(run=run, step=step)
    of_data = style.describe_source(run=run, step=step, data=f"{predictions.dataset} {split.name}")
    figures: dict[str, Callable[[], Figure]] = {
        "curves": lambda: training_curves.draw_curves({run: history}, caption=of_run),
        "confusion": lambda: classification.draw_confusion(predictions, caption=of_data),
        "mistakes": lambda: classification.draw_mistakes(predictions, caption=of_data),
        "reliability": lambda: probabilities.draw_reliability(predictions, caption=of_data),
        "precision_recall": lambda: probabilities.draw_precision_recall(
            predictions, caption=of_data
        ),
        "filters": lambda: networks.draw_filters(model, names, caption=of_run),
        "embedding": lambda: representations.draw_embedding(
            model, split, names, features=features, caption=of_data
        ),
    }
    written = []
    for name, draw in figures.items():
        try:
            figure = draw()
        except errors.ConfigError as error:
            _logger.info("figure %s is left out: %s", name, error)
            continue
        path = paths.local("output", folder) / f"{name}.{format}"
        written.append(style.save(figure, path, format))
    return written
