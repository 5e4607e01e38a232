"""TensorBoard summaries: the same tags in `train/`, `validation/` and `test/`.

The x axis is the optimizer step. When a run is resumed, what was logged after the
checkpoint is taken out of the event files first, so that no step appears twice.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pathlib
from collections.abc import Iterator

import tensorflow as tf

from mnist_lib import errors

_logger = logging.getLogger(__name__)

SPLITS = ("train", "validation", "test")


class RunSummaries:
    """Writes the event files of a run.

    Levels: `none` writes nothing; `scalars` scalars; `default` also the graph of
    the model and the configuration; `full` also histograms of the weights.
    """

    def __init__(self, run_path: pathlib.Path, level: str, step: int = 0):
        """Opens nothing yet; cleans the event files that an earlier process left.

        Args:
          run_path: the run's folder.
          level: one of the levels above.
          step: the step that training goes on from; 0: from nothing.
        """
        self._run_path = run_path
        self._level = level
        self._writers: dict[str, tf.summary.SummaryWriter] = {}
        if level == "none":  # of several workers, all but one
            return
        for split in SPLITS:
            for path in sorted((run_path / split).glob("events.out.tfevents.*")):
                # The test comes last and is repeated whenever a run is not finished.
                if step == 0 or split == "test":
                    path.unlink()
                else:
                    drop_events_after(path, step)

    def scalars(self, split: str, step: int, values: dict[str, float]) -> None:
        """Writes one scalar per tag.

        Raises:
          StorageError: the event file could not be written.
        """
        if self._level != "none":
            with self._write_errors(), self._writer(split).as_default(step=step):
                for tag, value in values.items():
                    tf.summary.scalar(tag, value)

    def configuration(self, config_json: str) -> None:
        """Writes the configuration as text, at step 0."""
        if self._level in ("default", "full"):
            with self._writer("train").as_default(step=0):
                tf.summary.text("config", f"```json\n{config_json}```")

    def graph(self, graph: tf.Graph | None) -> None:
        """Writes the graph of the model, if it is known."""
        if graph is not None and self._level in ("default", "full"):
            with self._writer("train").as_default(step=0):
                tf.summary.graph(graph)

    def weights(self, step: int, variables) -> None:
        """Writes a histogram of each variable."""
        if self._level == "full":
            with self._writer("train").as_default(step=step):
                for variable in variables:
                    tf.summary.histogram(variable.path, variable.value)

    def flush(self) -> None:
        """Writes out what is buffered.

        Raises:
          StorageError: the event files could not be written.
        """
        with self._write_errors():
            for writer in self._writers.values():
                writer.flush()

    def close(self) -> None:
        """Closes the files."""
        for writer in self._writers.values():
            writer.close()

    @contextlib.contextmanager
    def _write_errors(self) -> Iterator[None]:
        try:
            yield
        except tf.errors.OpError as error:
            raise errors.StorageError(
                f"{self._run_path}: event files could not be written ({error.message}). Free some "
                "space and start again with the same --workdir."
            ) from error

    def _writer(self, split: str) -> tf.summary.SummaryWriter:
        if split not in self._writers:
            self._writers[split] = tf.summary.create_file_writer(str(self._run_path / split))
        return self._writers[split]


def drop_events_after(path: pathlib.Path, step: int) -> None:
    """Rewrites an event file without the events after `step`.

    A record that was cut off by the end of the process ends the file.
    """
    kept, num_dropped = [], 0
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            if tf.compat.v1.Event.FromString(record).step > step:
                num_dropped += 1
            else:
                kept.append(record)
    except tf.errors.DataLossError:
        num_dropped += 1
    if not num_dropped:
        return
    temporary = path.with_name("rewritten.tmp")
    with tf.io.TFRecordWriter(str(temporary)) as writer:
        for record in kept:
            writer.write(record)
    os.replace(temporary, path)
    _logger.info("%s: %d records after step %d taken out before resuming", path, num_dropped, step)
