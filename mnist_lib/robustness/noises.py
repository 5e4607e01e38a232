"""Noise of single pixels: of counted light, of a sensor, of broken pixels.

Functions take integers `[N, 28, 28]` in [0, 255], random words uint64 `[N, W]` and a level, and
return integers of that shape, which may be out of range.
"""

from __future__ import annotations

import functools

import numpy as np
from scipy import special

from mnist_lib.robustness import exact_images


def shot_noise(images: np.ndarray, words: np.ndarray, photons: int) -> np.ndarray:
    """Counts light: each pixel is Poisson, with a mean of `photons` where it is white."""
    table, num_counts = _poisson_table(photons)
    inked = np.nonzero(images)
    values = images[inked].astype(np.int64)
    drawn = exact_images.pixel_uniform16(words)[inked]
    counts = np.searchsorted(table, values * 65_537 + drawn, "right") - values * num_counts
    noisy = np.zeros(images.shape, np.int64)
    noisy[inked] = exact_images.divided(counts * 255, photons)
    return noisy


@functools.cache
def _poisson_table(photons: int) -> tuple[np.ndarray, int]:
    """Returns the distribution functions for all 256 means, one after the other, and the length
    of each; in 65,536ths, and those of value v raised by 65,537 v, so that all are in order."""
    num_counts = photons + 12 * round(photons**0.5) + 12
    means = np.arange(256)[:, None] * photons / 255
    shares = np.rint(special.pdtr(np.arange(num_counts), means) * 65_536).astype(np.int64)
    return (shares + np.arange(256)[:, None] * 65_537).ravel(), num_counts


def gaussian_noise(images: np.ndarray, words: np.ndarray, deviation: int) -> np.ndarray:
    """Adds normal noise, independent in each pixel."""
    return images + exact_images.divided(exact_images.pixel_normal(words) * deviation, 4096)


def impulse_noise(images: np.ndarray, words: np.ndarray, percent: int) -> np.ndarray:
    """Makes some pixels white and as many black, `percent` of all together."""
    drawn = exact_images.pixel_uniform16(words)
    each = 65_536 * percent // 200
    return np.where(drawn < each, 255, np.where(drawn >= 65_536 - each, 0, images))
