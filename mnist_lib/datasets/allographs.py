"""Reads the table of strokes: shapes as arrays of control points, and the spans between them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np

from mnist_lib.datasets import digit_strokes


@dataclasses.dataclass(frozen=True)
class Allograph:
    """One way to write a digit, with K control points and M spans of curve.

    Attributes:
      shapes: float64 `[E, K, 2]`, the points (x, y) of E shapes, in about [-0.5, 0.5].
      stroke_of_point: int64 `[K]`, the stroke that each point belongs to.
      spans: int64 `[M, 4]`, for each pair of neighbours in a stroke: the point before
        the pair, the pair, and the point after it.
    """

    shapes: np.ndarray
    stroke_of_point: np.ndarray
    spans: np.ndarray


def _parse_points(shape: str) -> list[list[float]]:
    """Reads the points (x, y) of a shape, in hundredths."""
    words = shape.replace("*", "").replace("|", "").split()
    return [[float(number) for number in word.split(",")] for word in words]


def _stroke_spans(stroke: list[str], first_point: int) -> Iterator[tuple[int, int, int, int]]:
    """Yields the spans of a stroke whose points are numbered from `first_point`."""
    last = len(stroke) - 1
    for start in range(last):
        end = start + 1
        # The curve does not look beyond a corner or the end of the stroke.
        before = start if start == 0 or stroke[start].endswith("*") else start - 1
        after = end if end == last or stroke[end].endswith("*") else end + 1
        yield first_point + before, first_point + start, first_point + end, first_point + after


def _parse_allograph(text: str) -> Allograph:
    """Reads shapes, one a line, in the notation of `digit_strokes`."""
    shapes = text.strip().splitlines()
    points = np.array([_parse_points(shape) for shape in shapes])
    strokes = [stroke.split() for stroke in shapes[0].split("|")]
    spans: list[tuple[int, int, int, int]] = []
    stroke_of_point: list[int] = []
    for number, stroke in enumerate(strokes):
        spans.extend(_stroke_spans(stroke, len(stroke_of_point)))
        stroke_of_point.extend([number] * len(stroke))
    return Allograph(points / 100 - 0.5, np.array(stroke_of_point), np.array(spans))


@functools.cache
def allographs_of(digit: int) -> tuple[np.ndarray, tuple[Allograph, ...]]:
    """Returns the cumulative weights, int64 `[A]`, and the A allographs of a digit."""
    weights, texts = zip(*digit_strokes.ALLOGRAPHS[digit], strict=True)
    return np.cumsum(weights), tuple(_parse_allograph(text) for text in texts)
