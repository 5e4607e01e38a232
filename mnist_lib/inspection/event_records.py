"""Reads event files past what is damaged in them, and says what that is."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterator

import tensorflow as tf
from google.protobuf import message

from mnist_lib import os_errors
from mnist_lib.datasets import record_framing

# An event of ours has at most some pictures; of one twice as long TensorFlow makes a gigabyte.
_LONGEST_EVENT = 2**23


@dataclasses.dataclass
class Damage:
    """What cannot be read of an event file, other than an end that was cut off.

    Attributes:
      offset: of the first record that is damaged, bytes; None: none is.
      num_records: how many are, or stretches of which even their lengths are lost.
      num_bytes: how many bytes they have.
      num_after: whole records after the first of them.
    """

    offset: int | None = None
    num_records: int = 0
    num_bytes: int = 0
    num_after: int = 0

    def note(self, begin: int, end: int) -> None:
        """Counts what stands there in place of whole records."""
        self.offset = begin if self.offset is None else self.offset
        self.num_records += 1
        self.num_bytes += end - begin


def read_events(path: pathlib.Path, damage: Damage | None = None) -> Iterator[tf.compat.v1.Event]:
    """Yields all whole events of a file, those after damage too.

    Args:
      path: the file. The memory taken is that of one event, which has at most 8 MB.
      damage: where what cannot be read is noted, up to the event that was yielded last.

    Raises:
      DataNotFoundError: the file may not be read.
    """
    damage = Damage() if damage is None else damage
    with os_errors.reading(path, "Pass a --workdir that you may read."), path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        offset = 0
        while offset < size:
            for record in record_framing.records(stream, offset, _LONGEST_EVENT):
                event = _event(record_framing.content(stream, record))
                if event is None:
                    damage.note(record.offset, record.end)
                else:
                    damage.num_after += damage.offset is not None
                    yield event
                offset = record.end
            begin, found = offset, record_framing.next_offset(stream, offset, _LONGEST_EVENT)
            if found is None:  # the end, which may have been cut off
                return
            damage.note(begin, found)
            offset = found


def _event(content: bytes | None) -> tf.compat.v1.Event | None:
    if content is None:
        return None
    try:
        return tf.compat.v1.Event.FromString(content)
    except message.DecodeError:
        return None


def scalar(value: tf.compat.v1.Summary.Value) -> float | None:
    """Returns a value that is one floating-point number; None: it is something else.

    A tensor of any shape can be given by one number, so its shape is looked at first.
    """
    tensor = value.tensor
    is_float = tensor.dtype in (tf.float32.as_datatype_enum, tf.float64.as_datatype_enum)
    if not value.HasField("tensor") or not is_float or tensor.tensor_shape.dim:
        return None
    try:
        return float(tf.make_ndarray(tensor))
    except (ValueError, TypeError):
        return None
