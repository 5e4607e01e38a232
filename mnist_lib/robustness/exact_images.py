"""Random words, and operations on images whose results are the same on every machine.

The random numbers are the raw output of NumPy's Philox bit generator, whose stream NumPy
guarantees. Coordinates, kernels and intensities are whole numbers (of a 256th of a pixel, of a
65,536th), and sums of whole numbers are exact in whatever order a library adds them. Tables
that need a power or a sine are rounded to such numbers, far from where the last bit counts.
"""

from __future__ import annotations

import functools
import hashlib
import math

import numpy as np
from scipy import ndimage, special

from mnist_lib import errors

SIZE = 28
PIXEL = 256  # units of a coordinate
WEIGHT = 65_536  # units of a sine or of the tip of a kernel
NUM_DIRECTIONS = 64
# Of `uniform16` there are four in a word, so that these are enough for a number a pixel.
WORDS_FOR_PIXELS = SIZE * SIZE // 4


def check_images(images: np.ndarray) -> None:
    """Checks that images are of the kind that is corrupted and imitated.

    Raises:
      ConfigError: they are not uint8 `[N, 28, 28, 1]`.
    """
    if images.dtype != np.uint8 or images.shape[1:] != (SIZE, SIZE, 1):
        raise errors.ConfigError(
            "images", f"are {images.dtype} {list(images.shape)}; uint8 [N, 28, 28, 1] are needed"
        )


def random_words(
    seed: int, stream: str, first_index: int, num_images: int, num_words: int
) -> np.ndarray:
    """Returns random words, of which a row depends on the seed, the stream and its index only.

    Args:
      seed: in [0, 2**64).
      stream: a name; other names give independent words.
      first_index: of the first image.
      num_images: N.
      num_words: for each image, a multiple of four: Philox makes four at a time, so that each
        image begins at a counter of its own.

    Returns:
      uint64 `[N, num_words]`.
    """
    of_stream = int.from_bytes(hashlib.sha256(stream.encode()).digest()[:8], "little")
    generator = np.random.Philox(
        key=np.array([seed, of_stream], np.uint64), counter=first_index * (num_words // 4)
    )
    return generator.random_raw(num_images * num_words).reshape(num_images, num_words)


def uniform16(words: np.ndarray) -> np.ndarray:
    """Divides words uint64 `[N, W]` into int64 `[N, 4 W]` in [0, 65536)."""
    return np.ascontiguousarray(words).astype("<u8", copy=False).view("<u2").astype(np.int64)


def pixel_uniform16(words: np.ndarray) -> np.ndarray:
    """Returns a random number in [0, 65536) for each pixel, int64 `[N, 28, 28]`."""
    return uniform16(words[:, :WORDS_FOR_PIXELS]).reshape(-1, SIZE, SIZE)


@functools.cache
def _normal_quantiles() -> np.ndarray:
    """Returns the middle of each of 65,536 equal shares of the bell curve, in 4096ths."""
    return np.rint(4096 * special.ndtri((np.arange(65_536) + 0.5) / 65_536)).astype(np.int64)


def pixel_normal(words: np.ndarray) -> np.ndarray:
    """Returns a normal number for each pixel, int64 `[N, 28, 28]`, standard deviation 4096."""
    return _normal_quantiles()[pixel_uniform16(words)]


@functools.cache
def directions() -> np.ndarray:
    """Returns the cosines and sines of equally spaced angles, int64 `[NUM_DIRECTIONS, 2]`."""
    angles = [2 * math.pi * k / NUM_DIRECTIONS for k in range(NUM_DIRECTIONS)]
    return np.array([(rounded(math.cos(angle)), rounded(math.sin(angle))) for angle in angles])


def rounded(value: float) -> int:
    """Returns a number in units of `WEIGHT`."""
    return round(value * WEIGHT)


def divided(values: np.ndarray, divisor: int) -> np.ndarray:
    """Divides whole numbers by a positive one, to the nearest, halves upwards."""
    return (2 * values + divisor) // (2 * divisor)


def sample(images: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Returns the images at other coordinates, bilinearly; outside of them is background.

    Args:
      images: integers `[N, 28, 28]`.
      y, x: int64 `[N, 28, 28]`, in units of 1 / `PIXEL`; 0 is the middle of the first pixel.

    Returns:
      int64 `[N, 28, 28]`, rounded.
    """
    padded = np.pad(images.astype(np.int64), ((0, 0), (1, 2), (1, 2)))
    flat = padded.reshape(len(images), -1)
    width = padded.shape[2]
    y, x = (np.clip(at, -PIXEL, SIZE * PIXEL).reshape(len(images), -1) for at in (y, x))
    corner = (y // PIXEL + 1) * width + x // PIXEL + 1
    down, right = y % PIXEL, x % PIXEL

    def at(offset: int) -> np.ndarray:
        return np.take_along_axis(flat, corner + offset, axis=1)

    upper = (PIXEL - right) * at(0) + right * at(1)
    lower = (PIXEL - right) * at(width) + right * at(width + 1)
    total = (PIXEL - down) * upper + down * lower
    return divided(total, PIXEL * PIXEL).reshape(images.shape)


def blurred(images: np.ndarray, radius: float) -> np.ndarray:
    """Blurs images with a Gaussian kernel.

    Args:
      images: integers `[N, 28, 28]`, at most 2**20 in size.
      radius: its standard deviation, in pixels, at most 4.

    Returns:
      int64 `[N, 28, 28]`, rounded.
    """
    reach = math.ceil(3 * radius)
    kernel = np.array(
        [rounded(math.exp(-k * k / (2 * radius * radius))) // 64 for k in range(-reach, reach + 1)]
    )
    values = images.astype(np.float64)
    for axis in (1, 2):
        values = ndimage.correlate1d(values, kernel.astype(np.float64), axis, mode="constant")
    return divided(values.astype(np.int64), int(kernel.sum()) ** 2)


def pixel_grid() -> tuple[np.ndarray, np.ndarray]:
    """Returns how far each pixel is below and right of the middle of the image.

    Returns:
      int64 `[28, 1]` and `[1, 28]`, in units of 1 / `PIXEL`.
    """
    offsets = (2 * np.arange(SIZE) - (SIZE - 1)) * (PIXEL // 2)
    return offsets[:, None], offsets[None, :]
