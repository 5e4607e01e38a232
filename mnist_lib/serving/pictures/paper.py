"""Tells ink from paper, whatever the light: by how far a place stands out from around it."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

# Paper is estimated on a small copy, with a window that is wider than any stroke.
_COPY_SIDE, _WINDOW = 96, 25
_LEAST_CONTRAST = 0.06  # of luminance: below it is what cameras and paper make by themselves


def ink_map(picture: np.ndarray, background: str) -> tuple[np.ndarray, str]:
    """Returns how much ink there is at each place.

    The paper is the morphological closing (on dark paper the opening) of the picture with a
    window of a quarter of its longer side: it follows shadows and uneven light.

    Args:
      picture: float32 `[H, W]`, luminance in 0..1.
      background: `"light"`, `"dark"`, or `"auto"`: that of which there is more.

    Returns:
      float32 `[H, W]`, 0 paper to 1 the strongest contrast there can be, and `"light"` or
      `"dark"`, which of them the background is taken for.
    """
    if background == "auto":
        background = _background_of(picture)
    if background == "light":
        paper = _paper(picture)
        ink = 1 - picture / np.maximum(paper, 0.05)
    else:
        paper = 1 - _paper(1 - picture)
        ink = _evened(np.clip((picture - paper) / np.maximum(1 - paper, 0.3), 0, 1))
    return np.clip(ink, 0, 1), background


def _background_of(picture: np.ndarray) -> str:
    """Tells light paper from dark by what stands out from it: narrow things, inside the picture.

    Shadows are wide, or reach the border. What is narrow on light paper and on dark paper alike,
    as the holes of digits are, lies on one side of the median of what is around.
    """
    small = _small(picture)
    above = small - _middle(small)
    dark = np.minimum(_closing(small) - small, np.maximum(-above, 0))
    light = np.minimum(small + _closing(-small), np.maximum(above, 0))
    threshold = 0.35 * max(dark.max(), light.max())
    inside = [_energy_inside(stands_out, threshold) for stands_out in (dark, light)]
    if max(inside) == 0:
        inside = [float((stands_out**2).sum()) for stands_out in (dark, light)]
    return "light" if inside[0] >= inside[1] else "dark"


def _energy_inside(stands_out: np.ndarray, threshold: float) -> float:
    """Returns the sum of squares over what is above a threshold and not at the border."""
    labels, num_parts = ndimage.label(stands_out > threshold, np.ones((3, 3), bool))
    at_border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    is_inside = np.ones(num_parts + 1, bool)
    is_inside[at_border] = False
    is_inside[0] = False
    return float((stands_out[is_inside[labels]] ** 2).sum())


def _middle(small: np.ndarray) -> np.ndarray:
    """Returns the median over half of the longer side, down and then across, `[H, W]`."""
    step = max(1, -(-max(small.shape) // 32))
    coarse = small[::step, ::step]
    window = max(coarse.shape) // 2 + 1
    for size in ((window, 1), (1, window)):
        coarse = ndimage.median_filter(coarse, size=size, mode="nearest")
    return _resized(coarse, small.shape, Image.Resampling.BILINEAR)


def _small(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape
    scale = _COPY_SIDE / max(height, width)
    if scale >= 1:
        return picture
    shape = (max(1, round(height * scale)), max(1, round(width * scale)))
    return _resized(picture, shape, Image.Resampling.BOX)


def _resized(
    values: np.ndarray, shape: tuple[int, ...], resampling: Image.Resampling
) -> np.ndarray:
    return np.asarray(Image.fromarray(values).resize((shape[1], shape[0]), resampling))


def _window(small: np.ndarray) -> int:
    return max(3, round(_WINDOW * max(small.shape) / _COPY_SIDE))


def _closing(small: np.ndarray) -> np.ndarray:
    return ndimage.grey_closing(small, size=(_window(small),) * 2, mode="nearest")


def _paper(picture: np.ndarray) -> np.ndarray:
    """Returns the light background under dark ink, float32 as large as the picture."""
    paper = ndimage.gaussian_filter(_closing(_small(picture)), 1.5, mode="nearest")
    return _resized(paper, picture.shape, Image.Resampling.BILINEAR)


def _evened(ink: np.ndarray) -> np.ndarray:
    """Makes ink in the shade as strong as ink in the light, up to twice as strong as it was.

    On light paper the ratio of ink to paper does this; of a dark board too little is seen.
    """
    small = _small(ndimage.uniform_filter(ink, 3, mode="nearest"))
    strongest = ndimage.maximum_filter(small, size=_window(small), mode="nearest")
    level = ndimage.gaussian_filter(strongest, _window(small) / 4, mode="nearest")
    overall = float(small.max())
    if overall < _LEAST_CONTRAST:
        return ink
    level = np.maximum(level, overall / 2) / overall
    return ink / _resized(level, ink.shape, Image.Resampling.BILINEAR)


def noise_floor(ink: np.ndarray) -> float:
    """Returns what paper hardly reaches by itself, a value of `ink`, float32 `[H, W]`."""
    # Of differences between neighbours, which strokes hardly take part in.
    steps = np.diff(ink, axis=1) if ink.shape[1] > 1 else np.zeros(1)
    noise = 1.4826 / 2**0.5 * float(np.median(np.abs(steps)))
    return max(_LEAST_CONTRAST, float(np.quantile(ink[::3, ::3], 0.25)) + 4 * noise)


def stroke_threshold(values: np.ndarray, floor: float) -> float:
    """Returns from where on a place belongs to a stroke: Otsu's threshold above the floor.

    N. Otsu, A threshold selection method from gray-level histograms, IEEE Transactions on
    Systems, Man, and Cybernetics 9 (1979).

    Args:
      values: float32, the ink of all places that come into question.
      floor: what `noise_floor` returned.

    Returns:
      A value of ink; infinity where nothing stands out.
    """
    counts, edges = np.histogram(values[values > floor], bins=64, range=(min(floor, 0.99), 1.0))
    if counts.sum() == 0:
        return float("inf")
    centers = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = counts.sum() - below
    sums = np.cumsum(counts * centers)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = sums / below - (sums[-1] - sums) / above
        between = np.where((below > 0) & (above > 0), below * above * gap**2, -1.0)
    return float(edges[1:][np.argmax(between)])
