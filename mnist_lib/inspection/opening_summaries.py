"""What TensorBoard shows of a run before its first step: text, graphs, samples, charts."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import summary as custom_scalar

from mnist_lib.inspection import event_files, summaries

_logger = logging.getLogger(__name__)

# One chart each, with a line for each split of a run.
_CHARTS = {
    "Loss": r"metrics/loss",
    "Accuracy": r"metrics/accuracy",
    "Learning rate": r"optimizer/learning_rate",
    "Accuracy of each class": r"class/accuracy/.*",
}
_KERAS_GRAPH = "graph_keras_model"


@dataclasses.dataclass(frozen=True)
class Beginning:
    """What is shown of a run before its first step.

    Attributes:
      configuration: all fields of the configuration.
      differences: fields of the configuration that are not as its recipe has them; values as
        HParams takes them: numbers, texts, bools.
      facts: what else its text table holds, by name.
      model: shown as a graph of layers, if Keras can write it.
      graph: of a training step.
      samples: images `[n, H, W, C]`, the first ones of the training split; empty: none.
      augmented: the same as the model sees them, float in [0, 255] or uint8; empty: none.
    """

    configuration: Mapping[str, bool | int | float | str | None]
    differences: Mapping[str, bool | int | float | str]
    facts: Mapping[str, str]
    model: keras.Model
    graph: tf.Graph | None
    samples: np.ndarray
    augmented: np.ndarray


def begin(run: summaries.RunSummaries, beginning: Beginning) -> None:
    """Shows what a run is of.

    Raises:
      StorageError: an event file could not be written.
    """
    run.begin_session(beginning.configuration)
    if not run.has_pictures:
        return
    run.writer("run").raw(0, [custom_scalar.pb(_layout())])
    train = run.writer("train")
    with train.at(0, "run") as is_new:
        if is_new:
            tf.summary.text("run", _table(beginning))
    if beginning.graph is not None:
        with train.at(0, "graph") as is_new:
            if is_new:
                tf.summary.graph(beginning.graph)
    _write_keras_graph(train, beginning.model)
    pictures = {"input/samples": beginning.samples, "input/augmented": beginning.augmented}
    for tag, images in pictures.items():
        if len(images):
            with train.at(0, tag) as is_new:
                if is_new:
                    tf.summary.image(tag, tiled(images)[np.newaxis])


def tiled(images: np.ndarray, columns: int = 5) -> np.ndarray:
    """Returns images `[n, H, W, C]` as one, uint8 `[rows * H, columns * W, C]`, row by row."""
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    grid = np.zeros((rows * columns, height, width, channels), np.uint8)
    grid[:count] = np.clip(np.rint(images), 0, 255)
    grid = grid.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return grid.reshape(rows * height, columns * width, channels)


def _layout() -> layout_pb2.Layout:
    def chart(title: str, tag: str) -> layout_pb2.Chart:
        return layout_pb2.Chart(
            title=title, multiline=layout_pb2.MultilineChartContent(tag=[f"^{tag}$"])
        )

    charts = [chart(title, tag) for title, tag in _CHARTS.items()]
    return layout_pb2.Layout(category=[layout_pb2.Category(title="Training", chart=charts)])


def _table(beginning: Beginning) -> str:
    """Returns a table in Markdown."""
    rows = [*beginning.facts.items(), *beginning.differences.items()]
    lines = (f"| {name} | `{str(value).replace('|', '/')}` |" for name, value in rows)
    return "\n".join(["| | |", "|---|---|", *lines])


def _write_keras_graph(writer: event_files.EventWriter, model: keras.Model) -> None:
    if writer.has("keras", 0):
        return
    try:
        description = model.to_json()
    except (NotImplementedError, TypeError, ValueError) as error:  # a class of somebody's own
        _logger.info("TensorBoard's graph of layers is left out: %s", error)
        return
    metadata = tf.compat.v1.SummaryMetadata()
    metadata.plugin_data.plugin_name = _KERAS_GRAPH
    metadata.plugin_data.content = b"1"
    with writer.at(0, "keras"):
        tf.summary.write(tag="keras", tensor=tf.constant(description), metadata=metadata)
