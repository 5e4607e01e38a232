"""What lies over the paper, or falls on it: light, fog, drops, lines; and edges in its place.

Functions are as those in `noises`.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from mnist_lib.robustness import exact_images
from mnist_lib.robustness.exact_images import PIXEL, SIZE, WEIGHT

# Distances of the lattices that fog is made of, in pixels; each divides the size of the image.
_FOG_SPACINGS = (14, 7, 4, 2)
_FOG_VALUES = tuple((SIZE // spacing + 1) ** 2 for spacing in _FOG_SPACINGS)
FOG_WORDS = -(-sum(_FOG_VALUES) // 16) * 4
_DROP_BLUR, _DROP_GREY = 1.5, 200
_DOT, _DOT_WIDTH = 2 * PIXEL, 3 * PIXEL // 2
_WAVE, _HEIGHT, _LINE_WIDTH = 8 * PIXEL, 2 * PIXEL, PIXEL
_FARTHEST = 7 * PIXEL  # of a line from the middle
# On the scale of Sobel's operator, of which a step from black to white is 1020.
_FAINTEST_EDGE, _CLEAR_EDGE = 100, 200


def brightness(images: np.ndarray, _words: np.ndarray, added: int) -> np.ndarray:
    """Makes all pixels brighter."""
    return images + added


def contrast(images: np.ndarray, _words: np.ndarray, percent: int) -> np.ndarray:
    """Leaves each pixel `percent` of how it differs from the mean of its image."""
    means = exact_images.divided(images.sum((1, 2), np.int64, keepdims=True), SIZE * SIZE)
    return means + exact_images.divided((images - means) * percent, 100)


def stripe(images: np.ndarray, words: np.ndarray, width: int) -> np.ndarray:
    """Inverts a vertical stripe of that width somewhere in the middle half of the image."""
    middle = SIZE // 4 + (exact_images.uniform16(words)[:, 0] * (SIZE // 2) >> 16)
    distance = np.arange(SIZE) - middle[:, None] + width // 2
    inside = (distance >= 0) & (distance < width)
    return np.where(inside[:, None, :], 255 - images, images)


def fog(images: np.ndarray, words: np.ndarray, percent: int) -> np.ndarray:
    """Mixes in `percent` of grey clouds: random lattices, interpolated, the coarse ones most."""
    drawn = exact_images.uniform16(words)
    clouds, first = np.zeros(images.shape, np.int64), 0
    for spacing, count in zip(_FOG_SPACINGS, _FOG_VALUES, strict=True):
        lattice = drawn[:, first : first + count]
        first += count
        size = SIZE // spacing + 1
        between = _interpolation(spacing, size)
        smooth = between @ lattice.reshape(-1, size, size).astype(np.float64) @ between.T
        clouds += spacing * exact_images.divided(smooth.astype(np.int64), spacing * spacing)
    means = clouds // sum(_FOG_SPACINGS)
    grey = 64 + (np.clip(2 * means - 32_768, 0, 65_535) * 191 >> 16)  # means differ little
    return exact_images.divided(images * (100 - percent) + grey * percent, 100)


def _interpolation(spacing: int, size: int) -> np.ndarray:
    """Returns what each point of a lattice adds to each pixel, in parts of `spacing`: whole
    numbers, float64 `[28, size]`."""
    distance = np.abs(np.arange(SIZE)[:, None] - spacing * np.arange(size))
    return np.maximum(spacing - distance, 0).astype(np.float64)


def spatter(images: np.ndarray, words: np.ndarray, percent: int) -> np.ndarray:
    """Covers `percent` of the image with drops."""
    heights = exact_images.blurred(exact_images.pixel_normal(words), _DROP_BLUR)
    flat = heights.reshape(len(images), -1)
    dry = flat.shape[1] * (100 - percent) // 100
    limits = np.partition(flat, dry, axis=1)[:, dry, None, None]
    return np.where(heights >= limits, _DROP_GREY, images)


def dotted_line(images: np.ndarray, words: np.ndarray, count: int) -> np.ndarray:
    """Draws that many dotted straight lines across the image."""
    drawn = images.astype(np.int64)
    for number in range(count):
        along, across = _line_coordinates(words, number)
        line = np.where(along // _DOT & 1, 0, _ink(across, _DOT_WIDTH))
        drawn = np.maximum(drawn, line)
    return drawn


def zigzag(images: np.ndarray, words: np.ndarray, count: int) -> np.ndarray:
    """Draws that many zigzag lines across the image."""
    drawn = images.astype(np.int64)
    for number in range(count):
        along, across = _line_coordinates(words, number)
        wave = np.abs(along % _WAVE - _WAVE // 2) * 4 * _HEIGHT // _WAVE - _HEIGHT
        # The slope is 1: the way to the line is shorter than `across`, by the root of 2.
        drawn = np.maximum(drawn, _ink((across - wave) * 181 // 256, _LINE_WIDTH))
    return drawn


def _line_coordinates(words: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns how far each pixel is along a random line, and off it.

    Args:
      words: two `uniform16` a line.
      number: of the line.

    Returns:
      int64 `[N, 28, 28]` each, in units of 1 / `PIXEL`.
    """
    angle, distance = exact_images.uniform16(words)[:, 2 * number : 2 * number + 2].T
    turned = exact_images.directions()[angle * exact_images.NUM_DIRECTIONS >> 16]
    cosine, sine = turned.T[:, :, None, None]
    offset = (distance * 2 * _FARTHEST >> 16) - _FARTHEST
    down, right = exact_images.pixel_grid()
    along = (right * cosine + down * sine) // WEIGHT
    across = (down * cosine - right * sine) // WEIGHT
    return along, across - offset[:, None, None]


def _ink(distance: np.ndarray, width: int) -> np.ndarray:
    """Returns the ink of a pen of that width at distances from its middle, in [0, 255]."""
    return np.clip((width + PIXEL) // 2 - np.abs(distance), 0, PIXEL - 1)


def canny_edges(images: np.ndarray, _words: np.ndarray, percent: int) -> np.ndarray:
    """Fades the image to its edges, of which at 100 percent nothing else is left.

    Canny, A computational approach to edge detection, 1986: smoothed, thinned across the edge,
    and faint edges kept where they touch clear ones.
    """
    smooth = exact_images.blurred(images * 16, 1.0).astype(np.float64)
    down, right = (_sobel(smooth, *axes).astype(np.int64) // 16 for axes in ((1, 2), (2, 1)))
    strength = down * down + right * right
    thin = _is_ridge(strength, down, right)
    candidates = thin & (strength >= _FAINTEST_EDGE**2)
    in_plane = np.zeros((3, 3, 3), bool)
    in_plane[1] = True
    edges = ndimage.binary_propagation(
        candidates & (strength >= _CLEAR_EDGE**2), in_plane, mask=candidates
    )
    return exact_images.divided(images * (100 - percent) + edges * (255 * percent), 100)


def _sobel(images: np.ndarray, along: int, across: int) -> np.ndarray:
    """Returns Sobel's derivative along an axis; `ndimage.sobel` would smooth over images, too."""
    rise = ndimage.correlate1d(images, [-1.0, 0.0, 1.0], along, mode="constant")
    return ndimage.correlate1d(rise, [1.0, 2.0, 1.0], across, mode="constant")


def _is_ridge(strength: np.ndarray, down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Whether a gradient is the strongest of the three in its direction, of which there are four.

    The tangents of the angles between two directions are 106 / 256 and 618 / 256.
    """
    padded = np.pad(strength, ((0, 0), (1, 1), (1, 1)))
    steep, flat = np.abs(down) * 256, np.abs(right)
    straight = [steep < 106 * flat, steep > 618 * flat]
    falling = ~straight[0] & ~straight[1] & (down * right > 0)
    rising = ~straight[0] & ~straight[1] & ~falling
    ridge = np.zeros(strength.shape, bool)
    steps = ((0, 1), (1, 0), (1, 1), (-1, 1))
    for (y, x), chosen in zip(steps, (*straight, falling, rising), strict=True):
        ahead = padded[:, 1 + y : 1 + y + SIZE, 1 + x : 1 + x + SIZE]
        behind = padded[:, 1 - y : 1 - y + SIZE, 1 - x : 1 - x + SIZE]
        ridge |= chosen & (strength > behind) & (strength >= ahead)
    return ridge
