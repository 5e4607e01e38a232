"""Event files that processes of a run append to, in which no tag has a step twice.

Each process writes files of its own and leaves those of earlier ones as they are: a
TensorBoard that has them open reads on. What an earlier process has logged beyond the
checkpoint is not logged again when the steps are taken again.
"""

from __future__ import annotations

import contextlib
import errno
import logging
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
from mnist_lib.datasets import record_framing
from mnist_lib.inspection import event_records

_logger = logging.getLogger(__name__)

_PREFIX = "events.out.tfevents."
_MOST_TAGS = 100_000


class EventWriter:
    """Writes the events of one folder, each step of a tag once."""

    def __init__(self, folder: pathlib.Path):
        """Opens nothing yet; reads what earlier processes have logged there."""
        self._folder = folder
        self._last, damaged = last_steps(folder)
        self._behind = _behind_damage(damaged)
        self._next_behind = next(self._behind, None)
        self._writer: tf.summary.SummaryWriter | None = None
        self._checked: dict[pathlib.Path, int] = {}  # up to where each file is whole
        self._unseen: set[tuple[str, int]] = set()  # tags and steps that were written since

    def has(self, tag: str, step: int) -> bool:
        """Whether a step of a tag, or one after it, is there already."""
        return self._last.get(tag, -1) >= step

    @contextlib.contextmanager
    def at(self, step: int, tag: str) -> Iterator[bool]:
        """Has `tf.summary` write a step of a tag here; yields False if it is there already.

        What is not written is missed by the next `flush`.

        Raises:
          StorageError: the file cannot be written.
        """
        if self.has(tag, step):
            yield False
            return
        self._write_again(step)
        with self._write_errors(), self._open().as_default(step=step):
            yield True
        self._note(step, tag)

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
        self._write_again(step)
        self._write(step, new)

    def _write_again(self, step: int) -> None:
        """Writes what is whole behind damage, of before `step`; later steps are logged anew."""
        while self._next_behind is not None and self._next_behind.step < step:
            event, self._next_behind = self._next_behind, next(self._behind, None)
            values = [v for v in event.summary.value if not self.has(v.tag, event.step)]
            if values:
                self._write(event.step, values)

    def _write(self, step: int, new: Sequence[Any]) -> None:
        event = tf.compat.v1.Summary()
        for value in new:
            event.value.add().ParseFromString(value.SerializeToString())
        with self._write_errors(), self._open().as_default(step=step):
            tf.summary.experimental.write_raw_pb(event.SerializeToString())
        for value in new:
            self._note(step, value.tag)

    def _note(self, step: int, tag: str) -> None:
        self._last[tag] = step
        self._unseen.add((tag, step))

    def flush(self) -> None:
        """Writes out what is buffered.

        Raises:
          StorageError: the file cannot be written.
        """
        if self._writer is not None:
            with self._write_errors():
                self._writer.flush()
                self._check_written()

    def close(self) -> None:
        """Closes the file.

        Raises:
          StorageError: what was buffered cannot be written.
        """
        if self._writer is not None:
            with self._write_errors():
                self._writer.close()
                self._check_written()

    def _open(self) -> tf.summary.SummaryWriter:
        if self._writer is None:
            self._wait_for_a_later_name()
            self._checked = {path: path.stat().st_size for path in _files(self._folder)}
            self._writer = tf.summary.create_file_writer(os.fsencode(self._folder))
        return self._writer

    def _check_written(self) -> None:
        """Reads what was written: of a write that fails but once TensorFlow says nothing."""
        is_whole = True
        for path in _files(self._folder):
            end = self._checked.get(path, 0)
            for record, held in record_framing.whole_records(path, end):
                event = tf.compat.v1.Event.FromString(held)
                self._unseen -= {(tag, event.step) for tag in _tags(event)}
                end = record.end
            is_whole &= end >= path.stat().st_size
            self._checked[path] = end
        if self._unseen or not is_whole:
            raise OSError(errno.EIO, "a part of what was written is not there")

    def _wait_for_a_later_name(self) -> None:
        """Waits out a second in which a file was begun: readers go by the seconds in names."""
        begun = {path.name.removeprefix(_PREFIX).partition(".")[0] for path in _files(self._folder)}
        while str(now := int(time.time())) in begun:
            time.sleep(max(0.0, now + 1 - time.time()))

    @contextlib.contextmanager
    def _write_errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            cause = os_errors.cause(error) if isinstance(error, OSError) else error.message
            raise errors.StorageError(
                f"{self._folder}: event files could not be written ({cause}). Free some "
                "space and start again with the same --workdir."
            ) from error


def last_steps(folder: pathlib.Path) -> tuple[dict[str, int], list[pathlib.Path]]:
    """Returns the last step of each tag in the event files of a folder, and damaged files.

    Of a damaged file what comes before the damage counts: TensorBoard reads no further. What
    is lost is logged.

    Raises:
      DataNotFoundError: a file may not be read.
      CorruptDataError: there are more tags than a run can have.
    """
    last: dict[str, int] = {}
    damaged: list[pathlib.Path] = []
    for path in _files(folder):
        damage = event_records.Damage()
        for event in event_records.read_events(path, damage):
            if damage.offset is None:
                _count(event, last)
            if len(last) > _MOST_TAGS:
                raise errors.CorruptDataError(
                    f"{path}: has more than {_MOST_TAGS:,} tags, which no run writes. Restore it "
                    "from a copy, or pass a new --workdir."
                )
        if damage.offset is not None:
            damaged.append(path)
            _logger.warning(
                "%s: of what is at byte %d and after %d records (%d bytes) are damaged and lost, "
                "and %d are whole, which are written again as the run goes on",
                *(path, damage.offset, damage.num_records, damage.num_bytes, damage.num_after),
            )
    return last, damaged


def _count(event: tf.compat.v1.Event, last: dict[str, int]) -> None:
    for tag in _tags(event):
        last[tag] = max(last.get(tag, -1), event.step)


def _tags(event: tf.compat.v1.Event) -> list[str]:
    tags = [value.tag for value in event.summary.value]
    return [*tags, "graph"] if event.HasField("graph_def") else tags


def _behind_damage(damaged: Sequence[pathlib.Path]) -> Iterator[tf.compat.v1.Event]:
    """Yields the whole events of some files that come after damage."""
    for path in damaged:
        damage = event_records.Damage()
        for event in event_records.read_events(path, damage):
            if damage.offset is not None:
                yield event


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(path for path in folder.glob(f"{_PREFIX}*") if path.is_file())
