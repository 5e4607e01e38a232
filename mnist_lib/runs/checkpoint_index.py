"""Whether the index of a checkpoint can be handed to TensorFlow, which believes it.

An entry that is no message ends the process there, and memory is taken as a shape says. The
format is that of LevelDB's tables (https://github.com/google/leveldb/blob/main/doc/table_format.md)
without compression; its values are the messages of `tensor_bundle.proto`.
"""

from __future__ import annotations

import math
import pathlib
import struct
from collections.abc import Iterator

import tensorflow as tf
from google.protobuf import message
from tensorflow.core.protobuf import tensor_bundle_pb2

from mnist_lib import bounded
from mnist_lib.datasets import record_framing

# What TensorFlow raises where a checkpoint is damaged, or of something else.
READ_ERRORS = (
    *(tf.errors.OpError, RuntimeError, ValueError, TypeError, LookupError),
    message.DecodeError,
)
_MOST_BYTES = 2**26
_LAST_DTYPE = 100  # of values
_FOOTER_BYTES, _TRAILER_BYTES = 48, 5
_MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)


def index_problem(prefix: pathlib.Path) -> str | None:
    """Says what is wrong with the index of a checkpoint; None: nothing.

    Args:
      prefix: the checkpoint.

    Raises:
      OSError: it cannot be read.
    """
    path = prefix.with_name(f"{prefix.name}.index")
    if not path.is_file():
        return "incomplete, it has no .index file"
    try:
        content = bounded.read_file(path, _MOST_BYTES)
        entries = list(_entries_of_table(content))
        _check_entries(prefix, entries)
    except (ValueError, TypeError, IndexError, struct.error, message.DecodeError) as error:
        return f"damaged (its .index: {error or type(error).__name__})"
    return None


def _entries_of_table(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields keys and values, the keys rising."""
    footer = content[-_FOOTER_BYTES:]
    if len(footer) < _FOOTER_BYTES or not footer.endswith(_MAGIC):
        raise ValueError("it is no table")
    at = 0
    for _ in range(2):  # what it says of the blocks that are not used is read, too
        begin, at = _varint(footer, at)
        length, at = _varint(footer, at)
    last = b""
    for _, handle in _entries_of_block(_block(content, begin, length)):
        begin, after = _varint(handle, 0)
        length, _ = _varint(handle, after)
        for key, value in _entries_of_block(_block(content, begin, length)):
            if key <= last and last:
                raise ValueError("its keys are not in order")
            last = key
            yield key, value


def _block(content: bytes, begin: int, length: int) -> bytes:
    end = begin + length
    trailer = content[end : end + _TRAILER_BYTES]
    if len(trailer) < _TRAILER_BYTES or trailer[0] != 0:
        raise ValueError("a block goes beyond its end, or is compressed")
    stored = int.from_bytes(trailer[1:], "little")
    if record_framing.checksum(content[begin : end + 1]) != stored:
        raise ValueError("the checksum of a block is wrong")
    return content[begin:end]


def _entries_of_block(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    (num_restarts,) = struct.unpack("<I", block[-4:])
    end = len(block) - 4 - 4 * num_restarts
    if num_restarts < 1 or end < 0:
        raise ValueError("a block has no room for what it says")
    restarts = set(struct.unpack(f"<{num_restarts}I", block[end:-4]))
    at, key = 0, b""
    while at < end:
        restarts_here = at in restarts
        restarts.discard(at)
        shared, at = _varint(block, at)
        added, at = _varint(block, at)
        size, at = _varint(block, at)
        if shared > len(key) or (restarts_here and shared) or at + added + size > end:
            raise ValueError("an entry goes beyond its block")
        key = key[:shared] + block[at : at + added]
        at += added
        yield key, block[at : at + size]
        at += size
    if restarts - {0}:
        raise ValueError("a block restarts within an entry")


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """Returns a number, 7 bits a byte, and where what follows it begins."""
    value = 0
    for shift in range(0, 64, 7):
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number has more than 64 bits")


def _check_entries(prefix: pathlib.Path, entries: list[tuple[bytes, bytes]]) -> None:
    """Checks that all tensors lie in the files that are there."""
    if not entries or entries[0][0]:
        raise ValueError("it has no header")
    header = tensor_bundle_pb2.BundleHeaderProto.FromString(entries[0][1])
    count = header.num_shards
    if not 1 <= count <= 1000:
        raise ValueError(f"it is of {count} files")
    files = [prefix.with_name(f"{prefix.name}.data-{n:05d}-of-{count:05d}") for n in range(count)]
    sizes = [path.stat().st_size if path.is_file() else -1 for path in files]
    for key, value in entries[1:]:
        name = key.decode()
        entry = tensor_bundle_pb2.BundleEntryProto.FromString(value)
        shape = [side.size for side in entry.shape.dim]
        is_whole = not entry.slices and not entry.shape.unknown_rank and min(shape, default=0) >= 0
        if not is_whole or not 0 <= entry.shard_id < count:
            raise ValueError(f"{name} is in parts, or in a file that is not there")
        if entry.offset < 0 or entry.size < 0 or entry.offset + entry.size > sizes[entry.shard_id]:
            raise ValueError(f"{name} lies beyond the end of its file")
        if entry.dtype > _LAST_DTYPE:
            raise ValueError(f"{name} is a reference")
        needed = _size_of(entry, math.prod(shape), files[entry.shard_id])
        if needed != entry.size:
            raise ValueError(f"{name} has {entry.size:,} bytes, and {shape} take {needed:,}")


def _size_of(entry: tensor_bundle_pb2.BundleEntryProto, count: int, path: pathlib.Path) -> int:
    """Returns how many bytes a tensor has by its shape, or, of texts, by their lengths."""
    dtype = tf.dtypes.as_dtype(entry.dtype)  # TypeError: there is none
    if dtype != tf.string:
        return count * dtype.size
    if count > entry.size:
        raise ValueError("it has more texts than bytes")
    with path.open("rb") as stream:
        stream.seek(entry.offset)
        begin = stream.read(min(entry.size, 10 * count))
    at = total = 0
    for _ in range(count):
        length, at = _varint(begin, at)
        total += length
    return at + 4 + total  # a checksum of the lengths stands after them
