"""What TensorBoard shows of a finished run: figures, curves per class, and its projector."""

from __future__ import annotations

import math
import pathlib
import struct
from collections.abc import Iterable

import numpy as np
import tensorflow as tf
from tensorboard.compat.proto import summary_pb2
from tensorboard.plugins.image import metadata as image_plugin
from tensorboard.plugins.pr_curve import summary as pr_curve
from tensorboard.plugins.projector import projector_config_pb2
from tensorboard.util import tensor_util

from mnist_lib import files, os_errors
from mnist_lib.inspection import calibration, event_files, opening_summaries, summaries
from mnist_lib.inspection.predictions import Predictions

# A figure's file, and what it is called beside the scalars.
_TAGS = {
    "confusion": "errors/confusion_matrix",
    "mistakes": "errors/most_confident",
    "reliability": "metrics/reliability",
    "precision_recall": "class/precision_recall_zoomed",
    "filters": "weights/filters",
    "embedding": "class/embedding",
    "curves": "metrics/curves",
}
_NUM_THRESHOLDS = 127
_PROJECTOR = "projector"


def end(
    run: summaries.RunSummaries,
    step: int,
    predictions: Predictions,
    figures: Iterable[pathlib.Path],
) -> None:
    """Shows what a run came to on the test split.

    Args:
      run: the summaries of the run, of a level with pictures.
      step: the last optimizer step.
      predictions: of the test split.
      figures: PNG files, called as in `figures.draw_run`.

    Raises:
      StorageError: an event file could not be written.
    """
    writer = run.writer("test")
    for path in figures:
        if path.stem in _TAGS:
            _write_png(writer, step, _TAGS[path.stem], path.read_bytes())
    labels = predictions.split.labels
    curves = [
        pr_curve.pb(
            f"class/precision_recall/{name}",
            labels == label,
            predictions.probabilities[:, label],
            num_thresholds=_NUM_THRESHOLDS,
        )
        for label, name in enumerate(predictions.class_names)
    ]
    writer.raw(step, curves)
    bins = {
        "equal_width": calibration.equal_width_bins,
        "equal_mass": calibration.equal_mass_bins,
    }
    errors = {
        f"metrics/calibration_error_{name}": make(
            predictions.confidence, predictions.is_correct
        ).error
        for name, make in bins.items()
    }
    writer.scalars(step, errors)


def write_projector(folder: pathlib.Path, predictions: Predictions, features: np.ndarray) -> None:
    """Writes what TensorBoard's projector shows: points, their labels, and their images.

    Args:
      folder: one with event files; gets `projector_config.pbtxt` and, beside it, the files that
        it names, which must not be anywhere else.
      predictions: of the images that are shown, n of them.
      features: float32 `[n, d]`, where the network puts each.

    Raises:
      OutputError, StorageError: a file cannot be written.
    """
    images, names = predictions.split.images, predictions.class_names
    numbers = predictions.split.numbers
    rows = ["label\tprediction\tnumber"]
    for index, label in enumerate(predictions.split.labels):
        number = "" if numbers is None else numbers[index]
        rows.append(f"{names[label]}\t{names[predictions.predicted[index]]}\t{number}")
    points = "\n".join("\t".join(f"{value:.4g}" for value in row) for row in features)
    # As many rows as columns: the projector finds no image otherwise.
    columns = math.ceil(math.sqrt(len(images)))
    whole = np.zeros((columns * columns, *images.shape[1:]), np.uint8)
    whole[: len(images)] = images
    sprite = opening_summaries.tiled(whole, columns)
    config = projector_config_pb2.ProjectorConfig()
    embedding = config.embeddings.add()
    embedding.tensor_name = "penultimate layer"
    embedding.tensor_path = f"{_PROJECTOR}/points.tsv"
    embedding.metadata_path = f"{_PROJECTOR}/labels.tsv"
    embedding.sprite.image_path = f"{_PROJECTOR}/images.png"
    embedding.sprite.single_image_dim.extend([images.shape[2], images.shape[1]])
    written = {
        embedding.tensor_path: points.encode(),
        embedding.metadata_path: "\n".join(rows).encode(),
        embedding.sprite.image_path: tf.io.encode_png(sprite).numpy(),
        "projector_config.pbtxt": str(config).encode(),  # last: it names the others
    }
    with os_errors.writing(folder, "Pass another --workdir."):
        (folder / _PROJECTOR).mkdir(parents=True, exist_ok=True)
        for name, content in written.items():
            files.replace_file(folder / name, content)


def _write_png(writer: event_files.EventWriter, step: int, tag: str, content: bytes) -> None:
    width, height = struct.unpack(">II", content[16:24])  # of the header chunk
    summary = summary_pb2.Summary()
    summary.value.add(
        tag=tag,
        metadata=image_plugin.create_summary_metadata(
            display_name=tag, description="", converted_to_tensor=True
        ),
        tensor=tensor_util.make_tensor_proto([str(width).encode(), str(height).encode(), content]),
    )
    writer.raw(step, [summary])
