"""Good files made bad: bits, cuts, splices, and fields that mean something else."""

from __future__ import annotations

import copy
import json
import struct
import zlib
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from mnist_lib.datasets import record_framing

# Counts and lengths at which readers have been wrong.
_NUMBERS = (
    0,
    1,
    2,
    27,
    255,
    256,
    2**15,
    2**16,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**40,
    2**63,
    2**64 - 1,
)
_TEXTS = ("", "\0", "\ud800", "\udcff", "~nosuchuser", "../../x", "a" * 300, "/" * 5000, "NaN", "²")
_JSON_TEXTS = (
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"[" * 500 + b"]" * 500,
    b"9" * 5000,
    b'"\\ud800"',
    b"NaN",
    b"1e999",
    b"",
    b"\xff\xfe{\x00}\x00",
    b"null",
    b"[]",
    b"{}",
)


@st.composite
def damaged(draw, goods: Sequence[bytes]) -> bytes:
    """One of some good files after one to four changes of its bytes."""
    content = bytearray(draw(st.sampled_from(goods)))
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(("flip", "set", "cut", "drop", "insert", "repeat", "number")))
        at = draw(st.integers(0, max(0, len(content) - 1)))
        length = draw(st.sampled_from((1, 2, 4, 8, 64, 4096)))
        if not content or kind == "insert":
            content[at:at] = draw(st.binary(max_size=64))
        elif kind == "flip":
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "set":
            content[at] = draw(st.sampled_from((0, 1, 127, 128, 255)))
        elif kind == "cut":
            del content[at:]
        elif kind == "drop":
            del content[at : at + length]
        elif kind == "repeat":
            content[at:at] = content[at : at + length]
        else:
            number = draw(st.sampled_from(_NUMBERS))
            form = draw(st.sampled_from((">I", "<I", "<Q", ">Q", "<H")))
            size = struct.calcsize(form)
            content[at : at + size] = struct.pack(form, number % 2 ** (8 * size))
    return bytes(content)


@st.composite
def spliced(draw, goods: Sequence[bytes]) -> bytes:
    """The beginning of one good file and the end of another."""
    first, second = draw(st.sampled_from(goods)), draw(st.sampled_from(goods))
    return first[: draw(st.integers(0, len(first)))] + second[draw(st.integers(0, len(second))) :]


def files(goods: Sequence[bytes], magic: bytes = b"") -> st.SearchStrategy[bytes]:
    """What may stand in place of good files."""
    return st.one_of(
        damaged(goods),
        spliced(goods),
        st.binary(max_size=200).map(lambda rest: magic + rest),
    )


_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(_NUMBERS),
    st.sampled_from((-1, 10**400, -(2**63), 1.5, float("nan"), float("inf"), 1e308)),
    st.sampled_from(_TEXTS),
    st.text(st.characters(), max_size=12),
    st.lists(st.integers(-2, 300), max_size=4),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=3),
    st.builds(lambda: [[[[]]]]),  # a new one each time, which may be changed
)


@st.composite
def changed_json(draw, good: Any) -> bytes:
    """A good value in JSON with some of its fields replaced, left out, doubled or renamed."""
    value = copy.deepcopy(good)
    double = None
    for _ in range(draw(st.integers(1, 3))):
        holder, key = draw(_place(value))
        if holder is None:
            value = draw(_VALUES)
            break
        change = draw(
            st.sampled_from(("replace", "replace", "replace", "drop", "double", "rename"))
        )
        if change == "replace":
            holder[key] = draw(_VALUES)
        elif change == "drop" or isinstance(holder, list):
            del holder[key]
        elif change == "rename":
            holder[draw(st.sampled_from(_TEXTS))] = holder.pop(key)
        else:
            double = key
    text = json.dumps(value)
    if double is not None:
        name = json.dumps(double)
        text = text.replace(f"{name}:", f"{name}: 1, {name}:", 1)
    return text.encode()


@st.composite
def _place(draw, value: Any) -> tuple[Any, Any]:
    """Somewhere in a JSON value: what holds it, and under which key; None: the value itself."""
    holder, key = None, None
    while isinstance(value, dict | list) and value and draw(st.integers(0, 5)):
        holder = value
        key = draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
        value = holder[key]
    return holder, key


def json_files(good: Any) -> st.SearchStrategy[bytes]:
    """What may stand in place of a JSON file."""
    return st.one_of(
        changed_json(good),
        changed_json(good),
        damaged([json.dumps(good, indent=2).encode()]),
        st.sampled_from(_JSON_TEXTS),
    )


@st.composite
def reframed(draw, goods: Sequence[Sequence[bytes]]) -> bytes:
    """Records of which some are changed, all with the right checksums, or lengths that lie."""
    records = list(draw(st.sampled_from(goods)))
    at = draw(st.integers(0, len(records) - 1))
    change = draw(st.sampled_from(("damage", "damage", "drop", "repeat", "length", "swap")))
    if change == "damage":
        records[at] = draw(damaged([records[at]]))
    elif change == "drop":
        del records[at]
    elif change == "repeat":
        records.insert(at, records[at])
    elif change == "swap":
        records[at] = records[0]
    content = [framed(record) for record in records]
    if change == "length":
        length = draw(st.sampled_from(_NUMBERS)).to_bytes(8, "little")
        crc = record_framing.checksum(length).to_bytes(4, "little")
        content[at] = length + crc + content[at][12:]
    return b"".join(content)


def framed(record: bytes) -> bytes:
    """A record as a TFRecord file has it."""
    length = len(record).to_bytes(8, "little")
    crcs = (record_framing.checksum(part).to_bytes(4, "little") for part in (length, record))
    return length + next(crcs) + record + next(crcs)


@st.composite
def changed_png(draw, good: bytes) -> bytes:
    """A PNG of which some chunk is changed, dropped, doubled or moved; checksums are right."""
    chunks, at = [], 8
    while at < len(good):
        length = int.from_bytes(good[at : at + 4], "big")
        chunks.append((good[at + 4 : at + 8], good[at + 8 : at + 8 + length]))
        at += 12 + length
    place = draw(st.integers(0, len(chunks) - 1))
    kind, body = chunks[place]
    change = draw(st.sampled_from(("damage", "damage", "size", "drop", "repeat", "bomb")))
    if change == "damage":
        chunks[place] = kind, draw(damaged([body or b"\0"]))
    elif change == "size":
        sides = [draw(st.sampled_from(_NUMBERS)) % 2**32 for _ in range(2)]
        chunks[0] = (
            b"IHDR",
            struct.pack(">II", *sides) + chunks[0][1][8:],
        )
    elif change == "drop":
        del chunks[place]
    elif change == "repeat":
        chunks.insert(place, chunks[place])
    else:
        text = b"zTXt", b"k\0\0" + zlib.compress(bytes(2**24))
        chunks.insert(1, text)
    return good[:8] + b"".join(
        len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
        for kind, body in chunks
    )


def texts(goods: Sequence[str]) -> st.SearchStrategy[str]:
    """What may stand in place of a value of a flag or a variable."""
    return st.one_of(
        st.sampled_from([*goods, *_TEXTS]),
        st.sampled_from(_NUMBERS).map(str),
        st.sampled_from(("-1", "1e999", "nan", "inf", "-0", "0x10", "1_0", "true", "9" * 5000)),
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20),
    )
