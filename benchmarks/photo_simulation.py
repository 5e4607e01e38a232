"""Draws photos of handwritten digits on paper and on boards, from images of MNIST.

Everything is decided by the random generator that is given: the same seed, the same photos.
"""

from __future__ import annotations

import dataclasses
import io

import numpy as np
from PIL import Image
from scipy import ndimage

_INKS = {  # sRGB in 0..1
    "black": (0.08, 0.08, 0.10),
    "blue": (0.12, 0.18, 0.55),
    "light blue": (0.20, 0.42, 0.75),
    "red": (0.70, 0.12, 0.14),
    "green": (0.10, 0.42, 0.20),
    "brown": (0.40, 0.24, 0.14),
    "pencil": (0.42, 0.42, 0.44),
}
_PAPERS = ((0.97, 0.97, 0.96), (0.95, 0.93, 0.86), (0.88, 0.88, 0.90), (0.93, 0.90, 0.72))
_BOARDS = ((0.08, 0.16, 0.12), (0.10, 0.10, 0.11), (0.07, 0.09, 0.20), (0.22, 0.22, 0.23))
_CHALKS = ((0.95, 0.95, 0.93), (0.95, 0.90, 0.55), (0.92, 0.70, 0.72), (0.75, 0.88, 0.95))

_MARGIN = 0.11  # of the page, in which no digit stands: all are whole in the photo


@dataclasses.dataclass(frozen=True)
class Photo:
    """A simulated photo.

    Attributes:
      content: a JPEG file.
      paper: `"plain"`, `"ruled"`, `"checked"` or `"board"`.
    """

    content: bytes
    paper: str


def take_photo(digits: np.ndarray, rng: np.random.Generator) -> Photo:
    """Draws a line of digits somewhere on a page, and takes a photo of it.

    Args:
      digits: uint8 `[N, 28, 28]`, bright ink on 0; one, or several that stand in a line.
      rng: decides size, place, ink, paper, light, shadow, view, blur, noise and quality.
    """
    width, height = int(rng.integers(420, 1000)), int(rng.integers(360, 800))
    ink = _ink_on_page(digits, (height, width), rng)
    kind = str(rng.choice(["plain", "ruled", "checked", "board"], p=[0.3, 0.25, 0.2, 0.25]))
    if kind == "board":
        page = _colours(_BOARDS, rng) * np.ones((height, width, 1), np.float32)
        colour = _colours(_CHALKS, rng)
        strength = rng.uniform(0.75, 1.0)
    else:
        page = _colours(_PAPERS, rng) * np.ones((height, width, 1), np.float32)
        colour = np.array(_INKS[str(rng.choice(list(_INKS)))])
        strength = rng.uniform(0.85, 1.0)
        page = _with_lines(page, kind, rng)
    page *= _texture((height, width), rng)[..., None]
    page += (colour.astype(np.float32) - page) * (strength * ink)[..., None]
    page = _seen_askew(page, rng) * _light((height, width), rng)[..., None]
    page = ndimage.gaussian_filter(page, (*[rng.uniform(0.0, 1.8)] * 2, 0), truncate=2.5)
    page += _noise(page.shape, rng) * np.float32(rng.uniform(0.004, 0.025))
    image = Image.fromarray(np.rint(np.clip(page, 0, 1) * 255).astype(np.uint8))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=int(rng.integers(40, 96)))
    return Photo(stream.getvalue(), kind)


def _colours(colours: tuple, rng: np.random.Generator) -> np.ndarray:
    colour = np.array(colours[rng.integers(len(colours))]) + rng.normal(0, 0.02, 3)
    return np.clip(colour, 0, 1).astype(np.float32)


def _noise(shape: tuple, rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal(shape, dtype=np.float32)


def _ink_on_page(digits: np.ndarray, shape: tuple, rng: np.random.Generator) -> np.ndarray:
    """Returns float `[H, W]` in 0..1 with the digits written in a line."""
    height, width = shape
    largest = min(0.6 * height, 0.85 * width / (0.85 * len(digits)))
    size = rng.uniform(min(50, largest), largest)  # of MNIST's 20 pixels
    strokes = [_written(digit, size) for digit in digits]
    gaps = rng.uniform(0.08, 0.5, len(digits)) * size
    shifts = rng.uniform(-0.08, 0.08, len(digits)) * size * (len(digits) > 1)
    total = sum(stroke.shape[1] for stroke in strokes) + gaps[1:].sum()
    scale = min(1.0, (1 - 2 * _MARGIN) * width / total)
    if scale < 1:
        strokes = [ndimage.zoom(stroke, scale, order=1) for stroke in strokes]
        gaps, shifts, total = gaps * scale, shifts * scale, total * scale
    tallest = max(stroke.shape[0] for stroke in strokes) + 2 * np.abs(shifts).max()
    left = rng.uniform(_MARGIN * width, max((1 - _MARGIN) * width - total, _MARGIN * width + 1))
    middle = rng.uniform(
        _MARGIN * height + tallest / 2, max((1 - _MARGIN) * height - tallest / 2, height / 2)
    )
    page = np.zeros(shape, np.float32)
    for stroke, gap, shift in zip(strokes, [0, *gaps[1:]], shifts, strict=True):
        left += gap
        top = int(np.clip(middle + shift - stroke.shape[0] / 2, 0, height - stroke.shape[0]))
        at = int(np.clip(left, 0, width - stroke.shape[1]))
        part = page[top : top + stroke.shape[0], at : at + stroke.shape[1]]
        np.maximum(part, stroke, out=part)
        left += stroke.shape[1]
    return page


def _written(digit: np.ndarray, size: float) -> np.ndarray:
    """Enlarges the bounding box of an MNIST digit to smooth strokes with sharp edges."""
    rows, columns = np.flatnonzero(digit.any(1)), np.flatnonzero(digit.any(0))
    box = np.pad(digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1) / np.float32(255)
    large = np.clip(ndimage.zoom(box, size / 20, order=3), 0, 1)
    return np.clip((large - 0.15) / 0.6, 0, 1)


def _with_lines(page: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    if kind == "plain":
        return page
    height, width, _ = page.shape
    spacing, thickness = rng.uniform(22, 70), int(rng.integers(1, 4))
    colour = np.array([0.45, 0.55, 0.80]) if rng.random() < 0.7 else np.array([0.5, 0.5, 0.5])
    strength = rng.uniform(0.25, 0.8)
    is_line = np.zeros((height, width), bool)
    for at in np.arange(rng.uniform(0, spacing), height - thickness, spacing).astype(int):
        is_line[at : at + thickness] = True
    if kind == "checked":
        for at in np.arange(rng.uniform(0, spacing), width - thickness, spacing).astype(int):
            is_line[:, at : at + thickness] = True
    page[is_line] += strength * (colour - page[is_line])
    if kind == "ruled" and rng.random() < 0.4:  # the margin
        at = int(rng.uniform(0.05, 0.2) * width)
        page[:, at : at + thickness] += 0.6 * ((0.85, 0.3, 0.35) - page[:, at : at + thickness])
    return page


def _texture(shape: tuple, rng: np.random.Generator) -> np.ndarray:
    """Returns float `[H, W]` around 1: fibres, and spots as large as a finger."""
    height, width = shape
    total = np.ones(shape, np.float32)
    for grain, most in ((2, 0.03), (10, 0.03), (60, 0.05)):
        coarse = _noise((height // grain + 2, width // grain + 2), rng)
        noise = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        total += np.float32(rng.uniform(0, most)) * np.asarray(noise)
    return total


def _light(shape: tuple, rng: np.random.Generator) -> np.ndarray:
    """Returns float `[H, W]` up to 1: light that falls off, and in half of all photos a shadow."""
    height, width = shape
    down, across = np.mgrid[0:height, 0:width].astype(np.float32) / max(shape)
    angle = rng.uniform(0, 2 * np.pi)
    slope = float(np.cos(angle)) * down + float(np.sin(angle)) * across
    slope = (slope - slope.min()) / np.ptp(slope)
    light = rng.uniform(0.8, 1.0) * (1 - rng.uniform(0, 0.45) * slope)
    if rng.random() < 0.5:
        turn = rng.uniform(0, 2 * np.pi)
        side = np.cos(turn) * (down - rng.uniform(0, 0.8)) + np.sin(turn) * (
            across - rng.uniform(0.1, 0.9)
        )
        softness = rng.uniform(0.005, 0.08)
        light = light * (1 - rng.uniform(0.2, 0.55) / (1 + np.exp(-side / softness)))
    return light


def _seen_askew(page: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Looks at the page from another place; what lies beyond its edge goes on as the edge."""
    height, width, _ = page.shape
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    middle = np.array([width, height]) / 2
    turn = np.deg2rad(rng.uniform(-7, 7))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    seen = (corners - middle) @ rotation.T * rng.uniform(0.97, 1.05) + middle
    seen += rng.uniform(-0.04, 0.04, (4, 2)) * (width, height)
    # Mirrored beyond its edges, so that there is paper wherever one looks.
    frame = (height // 4, width // 4)
    rows, targets = [], []
    for (x, y), (u, v) in zip(corners, seen + frame[::-1], strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        targets += [u, v]
    view = tuple(np.linalg.solve(np.array(rows), np.array(targets)))
    planes = []
    for plane in np.moveaxis(page, 2, 0):
        wide = Image.fromarray(np.pad(plane, [(side, side) for side in frame], mode="reflect"))
        planes.append(
            wide.transform(
                (width, height), Image.Transform.PERSPECTIVE, view, Image.Resampling.BILINEAR
            )
        )
    return np.stack([np.asarray(plane) for plane in planes], -1)
