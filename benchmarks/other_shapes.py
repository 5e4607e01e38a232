"""Draws what is no digit: letters, scribbles, shapes and noise, framed as digits are.

The random generator that is given decides everything.
"""

from __future__ import annotations

import string

import numpy as np
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from mnist_lib.serving.pictures import framing

_SIDE = 160
# Left out: capital and small letters that are written as a digit is.
LETTERS = "".join(c for c in string.ascii_letters if c not in "OoDQIlijtSsZzBbgqGyYT")
FONTS = {
    "tuning": ("DejaVu Sans", "DejaVu Serif", "STIXGeneral"),
    "report": ("DejaVu Sans Mono", "cmr10", "cmss10", "cmtt10"),
}


def draw_letters(number: int, fonts: str, rng: np.random.Generator) -> np.ndarray:
    """Returns uint8 `[N, 28, 28]` letters, a little turned, of the fonts of matplotlib."""
    paths = [font_manager.findfont(name) for name in FONTS[fonts]]
    images = []
    for _ in range(number):
        font = ImageFont.truetype(paths[rng.integers(len(paths))], int(rng.integers(90, 110)))
        canvas = Image.new("L", (_SIDE, _SIDE))
        letter = LETTERS[rng.integers(len(LETTERS))]
        draw = ImageDraw.Draw(canvas)
        draw.text((45, 10), letter, fill=255, font=font, stroke_width=int(rng.integers(0, 4)))
        images.append(_framed(canvas.rotate(float(rng.uniform(-12, 12)))))
    return np.stack(images)


def draw_scribbles(number: int, rng: np.random.Generator) -> np.ndarray:
    """Returns uint8 `[N, 28, 28]` smooth random lines, of 6 to 14 turns."""
    images = []
    for _ in range(number):
        num_points = int(rng.integers(6, 15))
        corners = rng.uniform(20, _SIDE - 20, (num_points, 2))
        dense = np.stack([ndimage.zoom(corners[:, k], 20, order=3) for k in range(2)], 1)
        images.append(_framed(_line(dense, int(rng.integers(9, 20)))))
    return np.stack(images)


def draw_shapes(number: int, rng: np.random.Generator) -> np.ndarray:
    """Returns uint8 `[N, 28, 28]` filled or drawn polygons, stars, crosses and garments."""
    images = []
    for _ in range(number):
        canvas = Image.new("L", (_SIDE, _SIDE))
        draw = ImageDraw.Draw(canvas)
        kind = rng.integers(4)
        width = int(rng.integers(8, 18))
        if kind == 0:
            corners = _ring(int(rng.integers(3, 7)), rng.uniform(45, 70), rng)
            draw.polygon(
                corners, fill=255 if rng.random() < 0.5 else None, outline=255, width=width
            )
        elif kind == 1:
            inner, outer = _ring(5, 28, rng), _ring(5, 70, rng)
            draw.polygon([p for pair in zip(outer, inner, strict=True) for p in pair], fill=255)
        elif kind == 2:
            turns = rng.uniform(0, np.pi, 2)
            turns[1] += np.pi / 2
            for turn in turns:
                step = 65 * np.array([np.cos(turn), np.sin(turn)])
                draw.line([*(80 - step), *(80 + step)], fill=255, width=width)
        else:  # a shirt
            draw.rectangle([50, 30, 110, 140], fill=255)
            reach = rng.uniform(25, 45)
            for side in (-1, 1):
                arm = [(80 + side * 25, 30), (80 + side * (30 + reach), 70)]
                draw.line([*arm[0], *arm[1]], fill=255, width=28)
        images.append(_framed(canvas))
    return np.stack(images)


def draw_noise(number: int, rng: np.random.Generator) -> np.ndarray:
    """Returns uint8 `[N, 28, 28]` blots: smoothed noise above a threshold, within 20 x 20."""
    images = []
    for _ in range(number):
        noise = ndimage.gaussian_filter(rng.normal(size=(_SIDE, _SIDE)), rng.uniform(2, 14))
        ink = (noise > np.quantile(noise, rng.uniform(0.6, 0.9))) * 255
        images.append(_framed(Image.fromarray(ink.astype(np.uint8))))
    return np.stack(images)


def _ring(number: int, radius: float, rng: np.random.Generator) -> list[tuple[float, float]]:
    turns = rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(number) / number
    return [(80 + radius * np.cos(turn), 80 + radius * np.sin(turn)) for turn in turns]


def _line(points: np.ndarray, width: int) -> Image.Image:
    canvas = Image.new("L", (_SIDE, _SIDE))
    draw = ImageDraw.Draw(canvas)
    draw.line([tuple(point) for point in points], fill=255, width=width, joint="curve")
    return canvas


def _framed(canvas: Image.Image) -> np.ndarray:
    ink = np.asarray(canvas, np.float32) / 255
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    return framing.frame(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
