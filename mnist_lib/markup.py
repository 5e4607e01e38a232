"""Pieces of HTML with which objects show themselves in a notebook.

All text is escaped; colours are translucent, for light and dark pages.
"""

from __future__ import annotations

import base64
import html
import struct
import typing
import zlib
from collections.abc import Sequence

if typing.TYPE_CHECKING:
    import numpy as np

_CELL = "text-align: right; padding: 0 0.5em"
_SHADE = "background: rgba(214, 69, 65, {:.2f})"
_PICTURE = "image-rendering: pixelated; margin: 0"


def paragraph(text: str) -> str:
    """Returns a paragraph, in which lines stay lines."""
    return f"<p>{'<br>'.join(map(html.escape, text.splitlines()))}</p>"


def table(
    headings: Sequence[object],
    rows: Sequence[Sequence[object]],
    *,
    caption: str = "",
    shades: Sequence[Sequence[float]] = (),
) -> str:
    """Returns a table.

    Args:
      headings: of its columns.
      rows: their cells; the first of each is the heading of its row.
      caption: what stands above it.
      shades: of the cells after the first, how deep a red is behind each, in [0, 1].
    """
    lines = [f"<caption>{html.escape(caption)}</caption>"] if caption else []
    lines.append(_row([(heading, "") for heading in headings], num_headings=len(headings)))
    for number, cells in enumerate(rows):
        depths = shades[number] if shades else [0.0] * (len(cells) - 1)
        styles = ["", *(_SHADE.format(depth) if depth else "" for depth in depths)]
        lines.append(_row(list(zip(cells, styles, strict=True)), num_headings=1))
    return f"<table>{''.join(lines)}</table>"


def confusion_table(
    names: Sequence[str], matrix: np.ndarray | Sequence[Sequence[int]], caption: str = ""
) -> str:
    """Returns a confusion matrix; the deeper an error is shaded, the more often it was made.

    Args:
      names: one per class.
      matrix: counts `[C, C]`; row: label, column: prediction.
      caption: what stands above it.
    """
    errors = [
        [0 if row == column else int(count) for column, count in enumerate(counts)]
        for row, counts in enumerate(matrix)
    ]
    most = max((max(counts) for counts in errors), default=0) or 1
    rows = [
        [name, *(int(count) or "" for count in counts)]
        for name, counts in zip(names, matrix, strict=True)
    ]
    shades = [
        [0.15 + 0.55 * count / most if count else 0.0 for count in counts] for counts in errors
    ]
    return table(["label \\ prediction", *names], rows, caption=caption, shades=shades)


def pictures(images: np.ndarray, titles: Sequence[str]) -> str:
    """Returns pictures in a row, each above its title.

    Args:
      images: uint8 `[N, H, W]` or `[N, H, W, 3]`.
      titles: N of them.
    """
    cells = "".join(
        f'<td style="text-align: center"><img width="56" style="{_PICTURE}" '
        f'alt="{html.escape(title)}" src="data:image/png;base64,'
        f'{base64.b64encode(png(image)).decode()}"><br>{html.escape(title)}</td>'
        for image, title in zip(images, titles, strict=True)
    )
    return f"<table><tr>{cells}</tr></table>"


def png(image: np.ndarray) -> bytes:
    """Returns an image as a PNG file.

    Args:
      image: uint8 `[H, W]`, 0 is black, or `[H, W, 3]`, red, green and blue.
    """
    height, width = image.shape[:2]
    colour_type = 2 if image.ndim == 3 else 0
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    lines = b"".join(b"\0" + row.tobytes() for row in image)  # 0: as it is, no filter
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in parts)


def _chunk(name: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + data))
    return struct.pack(">I", len(data)) + name + data + checksum


def _row(cells: Sequence[tuple[object, str]], num_headings: int) -> str:
    parts = []
    for number, (content, style) in enumerate(cells):
        tag = "th" if number < num_headings else "td"
        styles = "; ".join(filter(None, (_CELL, style)))
        parts.append(f'<{tag} style="{styles}">{html.escape(str(content))}</{tag}>')
    return f"<tr>{''.join(parts)}</tr>"
