"""Blurs, and what compression leaves.

Functions are as those in `noises`.
"""

from __future__ import annotations

import functools
import io

import numpy as np
from PIL import Image
from scipy import ndimage

from mnist_lib.robustness import exact_images
from mnist_lib.robustness.exact_images import PIXEL, SIZE


def gaussian_blur(images: np.ndarray, _words: np.ndarray, radius: float) -> np.ndarray:
    """Blurs with a Gaussian kernel of that standard deviation, in pixels."""
    return exact_images.blurred(images, radius)


def glass_blur(images: np.ndarray, words: np.ndarray, reach: float) -> np.ndarray:
    """Takes each pixel from up to `reach` pixels away, as frosted glass does, and blurs a bit."""
    drawn = exact_images.pixel_uniform16(words)
    rows, columns = np.indices((SIZE, SIZE))
    farthest = int(reach * PIXEL)
    parts = (2 * (drawn >> 8) - 255, 2 * (drawn & 255) - 255)
    shifts = (exact_images.divided(part * farthest, 255 * PIXEL) for part in parts)
    y, x = (
        np.clip(at + shift, 0, SIZE - 1) for at, shift in zip((rows, columns), shifts, strict=True)
    )
    scattered = images[np.arange(len(images))[:, None, None], y, x]
    return exact_images.blurred(scattered, 0.5)


def motion_blur(images: np.ndarray, words: np.ndarray, reach: int) -> np.ndarray:
    """Moves the image `reach` pixels to and fro while the light falls in, in any direction."""
    half = exact_images.NUM_DIRECTIONS // 2  # to and fro is one direction
    chosen = exact_images.uniform16(words)[:, 0] * half >> 16
    moved = np.empty(images.shape, np.int64)
    for direction in range(half):
        members = np.flatnonzero(chosen == direction)
        if len(members):
            kernel = _line_kernel(direction, reach)
            sums = ndimage.correlate(
                images[members].astype(np.float64), kernel[None], mode="constant"
            )
            moved[members] = exact_images.divided(sums.astype(np.int64), int(kernel.sum()))
    return moved


@functools.cache
def _line_kernel(direction: int, reach: int) -> np.ndarray:
    """Returns weights of a line through the middle, whole numbers, float64 `[K, K]`."""
    cosine, sine = exact_images.directions()[direction].tolist()
    kernel = np.zeros((2 * reach + 3, 2 * reach + 3))
    for step in range(-reach, reach + 1):
        row, down = divmod(step * sine // PIXEL, PIXEL)
        column, right = divmod(step * cosine // PIXEL, PIXEL)
        row, column = row + reach + 1, column + reach + 1
        corner = np.outer((PIXEL - down, down), (PIXEL - right, right))
        kernel[row : row + 2, column : column + 2] += corner
    return kernel


def jpeg(images: np.ndarray, _words: np.ndarray, quality: int) -> np.ndarray:
    """Compresses as JPEG of that quality, from 100 down to 1, and unpacks again."""
    unpacked = np.empty(images.shape, np.int64)
    for number, image in enumerate(images.astype(np.uint8)):
        packed = io.BytesIO()
        Image.fromarray(image).save(packed, "JPEG", quality=quality)
        with Image.open(packed) as picture:
            unpacked[number] = np.asarray(picture)
    return unpacked
