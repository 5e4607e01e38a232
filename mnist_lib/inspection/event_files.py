"""Event files that processes of a run append to, in which no tag has a step twice.

Each process writes files of its own and leaves those of earlier ones as they are: a
TensorBoard that has them open reads on. What an earlier process has logged beyond the
checkpoint is not logged again when the steps are taken again.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorboard.plugins.histogram import summary_v2 as histogram_plugin
from tensorboard.plugins.scalar import summary_v2 as scalar_plugin

from mnist_lib import errors, os_errors

_PREFIX = "events.out.tfevents."


class EventWriter:
    """Writes the events of one folder, each step of a tag once."""

    def __init__(self, folder: pathlib.Path):
        """Opens nothing yet; reads what earlier processes have logged there."""
        self._folder = folder
        self._last = last_steps(folder)
        self._writer: tf.summary.SummaryWriter | None = None

    def has(self, tag: str, step: int) -> bool:
        """Whether a step of a tag, or one after it, is there already."""
        return self._last.get(tag, -1) >= step

    @contextlib.contextmanager
    def at(self, step: int, tag: str) -> Iterator[bool]:
        """Has `tf.summary` write a step of a tag here; yields False if it is there already.

        Raises:
          StorageError: the file cannot be written.
        """
        if self.has(tag, step):
            yield False
            return
        with self._write_errors(), self._open().as_default(step=step):
            yield True
        self._last[tag] = step

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Writes scalars by tag.

        Raises:
          StorageError: the file cannot be written.
        """
        self.raw(step, [scalar_plugin.scalar_pb(tag, value) for tag, value in values.items()])

    def histograms(self, step: int, values: Mapping[str, np.ndarray]) -> None:
        """Writes histograms of 30 buckets by tag.

        Raises:
          StorageError: the file cannot be written.
        """
        new = {tag: value for tag, value in values.items() if not self.has(tag, step)}
        self.raw(step, [histogram_plugin.histogram_pb(tag, value) for tag, value in new.items()])

    def raw(self, step: int, summaries: Sequence[Any]) -> None:
        """Writes what plugins have made, `Summary` messages, as one event.

        `tf.summary` would take some milliseconds for each of them.

        Raises:
          StorageError: the file cannot be written.
        """
        values = [value for summary in summaries for value in summary.value]
        new = [value for value in values if not self.has(value.tag, step)]
        if not new:
            return
        event = tf.compat.v1.Summary()
        for value in new:
            event.value.add().ParseFromString(value.SerializeToString())
        with self._write_errors(), self._open().as_default(step=step):
            tf.summary.experimental.write_raw_pb(event.SerializeToString())
        self._last |= {value.tag: step for value in new}

    def flush(self) -> None:
        """Writes out what is buffered.

        Raises:
          StorageError: the file cannot be written.
        """
        if self._writer is not None:
            with self._write_errors():
                self._writer.flush()

    def close(self) -> None:
        """Closes the file.

        Raises:
          StorageError: what was buffered cannot be written.
        """
        if self._writer is not None:
            with self._write_errors():
                self._writer.close()

    def _open(self) -> tf.summary.SummaryWriter:
        if self._writer is None:
            self._wait_for_a_later_name()
            self._writer = tf.summary.create_file_writer(os.fsencode(self._folder))
        return self._writer

    def _wait_for_a_later_name(self) -> None:
        """Waits out a second in which a file was begun: readers go by the seconds in names."""
        begun = {path.name.removeprefix(_PREFIX).partition(".")[0] for path in _files(self._folder)}
        while str(now := int(time.time())) in begun:
            time.sleep(max(0.0, now + 1 - time.time()))

    @contextlib.contextmanager
    def _write_errors(self) -> Iterator[None]:
        try:
            yield
        except tf.errors.OpError as error:
            raise errors.StorageError(
                f"{self._folder}: event files could not be written ({error.message}). Free some "
                "space and start again with the same --workdir."
            ) from error


def last_steps(folder: pathlib.Path) -> dict[str, int]:
    """Returns the last step of each tag in the event files of a folder.

    Raises:
      DataNotFoundError: a file may not be read.
    """
    last: dict[str, int] = {}
    for path in _files(folder):
        for event in read_events(path):
            tags = [value.tag for value in event.summary.value]
            for tag in (*tags, *(["graph"] if event.HasField("graph_def") else [])):
                last[tag] = max(last.get(tag, -1), event.step)
    return last


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(folder.glob(f"{_PREFIX}*"))


def read_events(path: pathlib.Path) -> Iterator[tf.compat.v1.Event]:
    """Yields the events of a file, up to a record that is damaged or was cut off.

    TensorBoard reads no further either.

    Raises:
      DataNotFoundError: the file may not be read.
    """
    with os_errors.reading(path, "Pass a --workdir that you may read."), path.open("rb"):
        pass
    with contextlib.suppress(tf.errors.DataLossError):
        for record in tf.data.TFRecordDataset(os.fsencode(path)).as_numpy_iterator():
            yield tf.compat.v1.Event.FromString(record)
