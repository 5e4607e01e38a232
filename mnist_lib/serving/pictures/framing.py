"""Puts the ink of a digit into 28 x 28 pixels as MNIST's makers did.

C. Yadav and L. Bottou, Cold Case: The Lost MNIST Digits (QMNIST), NeurIPS 2019,
https://arxiv.org/abs/1905.10498: the digit's bounding box is scaled with anti-aliasing so that
its longer side has 20 pixels, and placed by whole pixels so that its centre of mass comes
nearest to the centre of the field.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

SIDE, INNER = 28, 20


def frame(ink: np.ndarray) -> np.ndarray:
    """Scales and centres the ink of a digit.

    Args:
      ink: float32 `[h, w]`, its bounding box, 0 paper to 1 ink.

    Returns:
      uint8 `[28, 28]`, 0 background to 255 ink.
    """
    height, width = ink.shape
    scale = INNER / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    filter_ = Image.Resampling.BOX if scale <= 1 else Image.Resampling.BILINEAR
    if size != (width, height):
        ink = np.asarray(Image.fromarray(ink).resize(size, filter_))
    return centred(np.rint(np.clip(ink, 0, 1) * 255).astype(np.uint8))


def centred(image: np.ndarray) -> np.ndarray:
    """Places a uint8 image of at most 20 x 20 in 28 x 28, its centre of mass in the middle."""
    height, width = image.shape
    total = max(int(image.sum()), 1)
    offsets = []
    for axis, length in ((1, height), (0, width)):
        mean = float((image.sum(axis=axis) * np.arange(length)).sum()) / total
        offsets.append(min(max(round(SIDE / 2 - mean), 0), SIDE - length))
    top, left = offsets
    framed = np.zeros((SIDE, SIDE), np.uint8)
    framed[top : top + height, left : left + width] = image
    return framed
