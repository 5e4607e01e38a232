"""Affine distortions about the middle of the image.

Functions are as those in `noises`.
"""

from __future__ import annotations

import math

import numpy as np

from mnist_lib.robustness import exact_images
from mnist_lib.robustness.exact_images import PIXEL, SIZE, WEIGHT


def rotate(images: np.ndarray, words: np.ndarray, degrees: int) -> np.ndarray:
    """Rotates by an angle, to the left or to the right."""
    cosine, sine = (exact_images.rounded(of(math.radians(degrees))) for of in (math.cos, math.sin))
    signs = _signs(words)
    return _warp(images, np.full(len(images), cosine), sine * signs, -sine * signs)


def shear(images: np.ndarray, words: np.ndarray, slope: float) -> np.ndarray:
    """Moves each row sideways by `slope` times its height over the middle, to either side."""
    signs = _signs(words)
    no_change = np.zeros(len(images), np.int64)
    sideways = exact_images.rounded(slope) * signs
    return _warp(images, np.full(len(images), WEIGHT), no_change, sideways)


def scale(images: np.ndarray, _words: np.ndarray, factor: float) -> np.ndarray:
    """Makes the image smaller: `factor` times as high and as wide."""
    no_change = np.zeros(len(images), np.int64)
    diagonal = np.full(len(images), exact_images.rounded(1 / factor))
    return _warp(images, diagonal, no_change, no_change)


def translate(images: np.ndarray, words: np.ndarray, pixels: int) -> np.ndarray:
    """Moves the image that many pixels, in any direction."""
    chosen = exact_images.uniform16(words)[:, 0] * exact_images.NUM_DIRECTIONS >> 16
    right, down = (exact_images.directions()[chosen] * pixels // (WEIGHT // PIXEL)).T
    at = np.arange(SIZE) * PIXEL
    y = np.broadcast_to((at - down[:, None])[:, :, None], images.shape)
    x = np.broadcast_to((at - right[:, None])[:, None, :], images.shape)
    return exact_images.sample(images, y, x)


def _signs(words: np.ndarray) -> np.ndarray:
    """Returns 1 or -1 for each image, int64 `[N]`."""
    return 1 - 2 * (exact_images.uniform16(words)[:, 0] & 1)


def _warp(
    images: np.ndarray, diagonal: np.ndarray, y_of_x: np.ndarray, x_of_y: np.ndarray
) -> np.ndarray:
    """Takes each pixel from where a matrix leads, from the middle of the image.

    Args:
      images: integers `[N, 28, 28]`.
      diagonal, y_of_x, x_of_y: int64 `[N]`, the entries of each matrix, in units of `WEIGHT`.
    """
    down, right = exact_images.pixel_grid()
    middle = (SIZE - 1) * PIXEL // 2
    diagonal, y_of_x, x_of_y = (entry[:, None, None] for entry in (diagonal, y_of_x, x_of_y))
    y = middle + exact_images.divided(diagonal * down + y_of_x * right, WEIGHT)
    x = middle + exact_images.divided(x_of_y * down + diagonal * right, WEIGHT)
    return exact_images.sample(images, y, x)
