"""How TFRecord files, and so event files, are cut into records.

A record is its length, uint64, a CRC of that, its bytes, and a CRC of those, all little-endian
(https://www.tensorflow.org/tutorials/load_data/tfrecord, "TFRecords format details"). TensorFlow
takes as much memory as a length says before it reads: here it is compared with the file's size.
"""

from __future__ import annotations

import os
import pathlib
import struct
import typing

import google_crc32c
import numpy as np

_HEADER, _FOOTER = struct.Struct("<QI"), 4
_WINDOW = 2**20
_CRC32C = 0x82F63B78  # Castagnoli's polynomial, bits reversed
_MASK = 0xA282EAD8


class Record(typing.NamedTuple):
    """Where a record stands in its file.

    Attributes:
      offset: of its header, bytes from the beginning.
      end: of its last byte, and 1.
    """

    offset: int
    end: int


def records(stream: typing.BinaryIO, offset: int, longest: int) -> typing.Iterator[Record]:
    """Yields the records from an offset on; ends before the first that cannot be one.

    Args:
      stream: a file.
      offset: where a record begins.
      longest: bytes that one may hold.
    """
    size = os.fstat(stream.fileno()).st_size
    while offset + _HEADER.size <= size:
        stream.seek(offset)
        header = stream.read(_HEADER.size)
        if len(header) < _HEADER.size:
            return
        length, stored = _HEADER.unpack(header)
        if checksum(header[:8]) != stored:
            return
        end = offset + _HEADER.size + length + _FOOTER
        if length > longest or end > size:
            return
        yield Record(offset, end)
        offset = end


def whole_records(path: pathlib.Path, offset: int) -> typing.Iterator[tuple[Record, bytes]]:
    """Yields records and what they hold, up to the first that is not whole.

    Args:
      path: a file whose lengths are to be trusted.
      offset: where a record begins, or the file's end.

    Raises:
      OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        for record in records(stream, offset, os.fstat(stream.fileno()).st_size):
            held = content(stream, record)
            if held is None:
                return
            yield record, held


def content(stream: typing.BinaryIO, record: Record) -> bytes | None:
    """Returns what a record holds; None: it is damaged."""
    stream.seek(record.offset + _HEADER.size)
    held = stream.read(record.end - record.offset - _HEADER.size)
    held, stored = held[:-_FOOTER], held[-_FOOTER:]
    return held if checksum(held).to_bytes(_FOOTER, "little") == stored else None


def next_offset(stream: typing.BinaryIO, offset: int, longest: int) -> int | None:
    """Returns where, after an offset, the next record begins; None: nowhere.

    Args:
      stream, longest: as for `records`.
      offset: where none begins, or a damaged one.
    """
    size = os.fstat(stream.fileno()).st_size
    at = offset + 1
    while at + _HEADER.size <= size:
        stream.seek(at)
        window = np.frombuffer(stream.read(_WINDOW + _HEADER.size - 1), np.uint8)
        if len(window) < _HEADER.size:
            return None
        for found in map(int, np.flatnonzero(_are_headers(window))):
            length = int.from_bytes(window[found : found + 8].tobytes(), "little")
            if length <= longest and at + found + _HEADER.size + length + _FOOTER <= size:
                return at + found
        at += len(window) - _HEADER.size + 1
    return None


def check_lengths(path: pathlib.Path, longest: int) -> None:
    """Checks that a file has no record of which TensorFlow would take too much memory.

    Raises:
      ValueError: it has one.
      OSError: it cannot be read.
    """
    size = path.stat().st_size
    offset = number = 0
    with path.open("rb") as stream:
        while offset < size:
            header = stream.read(_HEADER.size)
            length = int.from_bytes(header[:8], "little")
            offset += _HEADER.size + length + _FOOTER
            if length > longest or offset > size:
                raise ValueError(
                    f"record {number} has {length:,} bytes by its length, more than "
                    f"{min(longest, size):,}"
                )
            stream.seek(length + _FOOTER, os.SEEK_CUR)
            number += 1


def _tables() -> np.ndarray:
    """Returns what each byte of 8 adds to their CRC-32C, uint32 `[8, 256]`."""
    table: np.ndarray = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> 1) ^ np.where(table & 1, np.uint32(_CRC32C), np.uint32(0))
    tables = [table]
    for _ in range(7):
        before = tables[-1]
        tables.append((before >> 8) ^ table[before & 0xFF])
    return np.stack(tables[::-1])


_TABLES = _tables()


def checksum(content: bytes) -> int:
    """Returns the CRC of some bytes as it is stored: turned by 15 bits, a constant added."""
    crc = google_crc32c.value(content)
    return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF


def _are_headers(content: np.ndarray) -> np.ndarray:
    """Returns at which offsets of uint8 `[N]` eight bytes and their CRC stand, bool `[N - 11]`."""
    count = len(content) - _HEADER.size + 1
    crc = np.zeros(count, np.uint32)
    stored = np.zeros(count, np.uint32)
    for place in range(8):
        byte = content[place : place + count]
        crc ^= _TABLES[place][byte ^ np.uint8(0xFF) if place < 4 else byte]
    for place in range(4):
        stored |= content[8 + place : 8 + place + count].astype(np.uint32) << (8 * place)
    crc = ~crc
    return ((crc >> 15 | crc << 17) + np.uint32(_MASK)) == stored
