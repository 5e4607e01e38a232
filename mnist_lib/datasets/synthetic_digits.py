"""Draws digits that look like MNIST's, from nothing but a seed.

    images, labels = draw_digits(60_000, seed=0)

An image begins as strokes (`digit_strokes`), is bent, slanted and rotated, drawn with a pen
of some width, and normalised as MNIST was: fitted into 20x20 pixels and centred by its
centre of mass in 28x28 (LeCun et al. 1998, section III.A).

The bytes depend only on the seed and the image's index, not on the machine. The random
numbers are the raw output of NumPy's Philox bit generator, whose stream NumPy guarantees. All
that follows is + - * /, square roots, comparisons and rounding, which IEEE 754 defines to the
bit; what may differ between machines (powers, sines, matrix products, float sums) is avoided.
"""

from __future__ import annotations

import numpy as np

from mnist_lib.datasets.allographs import Allograph, allographs_of

IMAGE_SIZE = 28
NUM_CLASSES = 10

_BOX_SIZE = 20  # Pixels that the height or the width of a digit fills.
_BLOCK_SIZE = 2000  # Images drawn together; bounds the memory, changes no image.
_STEPS_PER_SPAN = 4  # Straight segments for the curve between two control points.

# Random words of an image. Philox makes four at a time: with a multiple of four each
# image begins at a counter of its own.
_NUM_WORDS = 48
_SHAPE_WORDS = slice(0, 4)
_POSE_WORDS = slice(4, 16)
_PEN_WORDS = slice(16, 18)
_JITTER_WORDS = slice(18, 48)  # x and y of each stroke, then of each control point.
_MAX_STROKES, _MAX_POINTS = 2, 13

# Standard deviations, in heights of a digit.
_STROKE_JITTER, _POINT_JITTER = 0.04, 0.055


def _random_words(seed: int, first_index: int, num_images: int) -> np.ndarray:
    """Returns uint64 `[N, _NUM_WORDS]`; a row depends only on the seed and its index."""
    generator = np.random.Philox(key=seed, counter=first_index * (_NUM_WORDS // 4))
    return generator.random_raw(num_images * _NUM_WORDS).reshape(num_images, _NUM_WORDS)


def _uniform(words: np.ndarray) -> np.ndarray:
    """Converts random words to float64 in [0, 1)."""
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _normal(words: np.ndarray) -> np.ndarray:
    """Converts random words to nearly normal float64, mean 0, variance 1, in [-3.5, 3.5].

    The sum of the four 16-bit parts of a word: close to the bell curve, and exact.
    """
    parts = [(words >> np.uint64(shift)) & np.uint64(0xFFFF) for shift in (0, 16, 32, 48)]
    total = parts[0] + parts[1] + parts[2] + parts[3]
    return (total.astype(np.float64) - 131070) * (np.sqrt(3.0) / 65536)


def _control_points(allograph: Allograph, words: np.ndarray) -> np.ndarray:
    """Blends two shapes of an allograph and displaces its strokes and points.

    Args:
      allograph: with K points.
      words: uint64 `[n, _NUM_WORDS]`.

    Returns:
      float64 `[n, K, 2]`.
    """
    num_shapes, num_points, _ = allograph.shapes.shape
    one, other, share = _uniform(words[:, _SHAPE_WORDS]).T[1:]
    one = allograph.shapes[(one * num_shapes).astype(np.int64)]
    other = allograph.shapes[(other * num_shapes).astype(np.int64)]
    # From -0.5 to 1.5: beyond the two shapes as often as between them.
    points = one + (2 * share - 0.5)[:, None, None] * (other - one)
    jitter = _normal(words[:, _JITTER_WORDS]).reshape(len(words), _MAX_STROKES + _MAX_POINTS, 2)
    stroke_jitter = jitter[:, allograph.stroke_of_point]
    point_jitter = jitter[:, _MAX_STROKES : _MAX_STROKES + num_points]
    return points + _STROKE_JITTER * stroke_jitter + _POINT_JITTER * point_jitter


def _catmull_rom(points: np.ndarray, spans: np.ndarray) -> np.ndarray:
    """Samples the curves through control points (Catmull and Rom 1974).

    Args:
      points: `[n, K, 2]`.
      spans: int64 `[M, 4]`, see `Allograph`.

    Returns:
      `[n, M, T, 2]`, T = `_STEPS_PER_SPAN` + 1, the ends of the span among them.
    """
    t = (np.arange(_STEPS_PER_SPAN + 1) / _STEPS_PER_SPAN)[:, None]
    before, start, end, after = (points[:, spans[:, i], None] for i in range(4))
    return 0.5 * (
        (-t + 2 * t * t - t * t * t) * before
        + (2 - 5 * t * t + 3 * t * t * t) * start
        + (t + 4 * t * t - 3 * t * t * t) * end
        + (t * t * t - t * t) * after
    )


def _pose(curves: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Bends, stretches, slants and rotates the curves of each image.

    Args:
      curves: `[n, M, T, 2]`.
      words: uint64 `[n, 12]`.

    Returns:
      `[n, M, T, 2]`.
    """
    z = _normal(words).T[:, :, None, None]
    x, y = curves[..., 0], curves[..., 1]
    xx, xy, yy = x * x, x * y, y * y
    x_bend = 0.2 * z[0] * xx + 0.3 * z[1] * xy + 0.15 * z[2] * yy + 0.3 * z[3] * (yy * y)
    y_bend = 0.15 * z[4] * xx + 0.2 * z[5] * xy + 0.2 * z[6] * yy + 0.25 * z[7] * (xx * x)
    x, y = x + x_bend, y + y_bend
    width = np.maximum(0.82 + 0.18 * z[8], 0.35)
    slant = 0.15 + 0.3 * z[9]  # Mostly to the right.
    x = width * x - slant * y
    y = y + 0.08 * z[10] * x
    tangent = 0.08 * z[11]  # Of half of the angle: a rotation without sines.
    cosine = (1 - tangent * tangent) / (1 + tangent * tangent)
    sine = 2 * tangent / (1 + tangent * tangent)
    return np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=-1)


def _fit_into_box(curves: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Scales and moves curves so that their ink touches two sides of the box.

    Args:
      curves: `[n, M, T, 2]`.
      radius: `[n]`, half of the pen's width in pixels.

    Returns:
      `[n, M, T, 2]` in pixels, in [radius, _BOX_SIZE - radius].
    """
    low, high = curves.min(axis=(1, 2)), curves.max(axis=(1, 2))
    scale = (_BOX_SIZE - 2 * radius) / (high - low).max(axis=1)
    middle = 0.5 * (low + high)
    return (curves - middle[:, None, None]) * scale[:, None, None, None] + _BOX_SIZE / 2


def _distance_to_curves(curves: np.ndarray) -> np.ndarray:
    """Measures how far the centre of each pixel is from the nearest segment.

    Args:
      curves: `[n, M, T, 2]`, in pixels.

    Returns:
      `[n, _BOX_SIZE, _BOX_SIZE]` (image, y, x), in pixels.
    """
    num_images, num_spans = curves.shape[:2]
    shape = (num_images, num_spans * _STEPS_PER_SPAN, 2)
    starts = curves[:, :, :-1].reshape(shape)
    steps = curves[:, :, 1:].reshape(shape) - starts
    squared_length = steps[..., :1] * steps[..., :1] + steps[..., 1:] * steps[..., 1:]
    slopes = steps / np.maximum(squared_length, 1e-9)
    centres = np.arange(_BOX_SIZE) + 0.5
    nearest = np.full((num_images, _BOX_SIZE, _BOX_SIZE), np.inf)
    for start, step, slope in zip(
        *(a.swapaxes(0, 1) for a in (starts, steps, slopes)), strict=True
    ):
        x = (centres - start[:, :1])[:, None, :]
        y = (centres - start[:, 1:])[:, :, None]
        # Where on the segment, in [0, 1], is the point nearest to the pixel?
        along = x * slope[:, 0, None, None] + y * slope[:, 1, None, None]
        np.clip(along, 0, 1, out=along)
        dx = x - along * step[:, 0, None, None]
        dy = y - along * step[:, 1, None, None]
        np.minimum(nearest, dx * dx + dy * dy, out=nearest)
    return np.sqrt(nearest)


def _draw_allograph(allograph: Allograph, words: np.ndarray) -> np.ndarray:
    """Draws an image for each row of random words: uint8 `[n, _BOX_SIZE, _BOX_SIZE]`."""
    curves = _pose(
        _catmull_rom(_control_points(allograph, words), allograph.spans), words[:, _POSE_WORDS]
    )
    pen = words[:, _PEN_WORDS]
    z = _normal(pen[:, 0])
    radius = np.maximum(1.2 + 0.38 * z + 0.08 * z * z, 0.6)
    edge = 0.9 + 0.4 * _uniform(pen[:, 1])  # Pixels from full ink to none.
    distance = _distance_to_curves(_fit_into_box(curves, radius))
    ink = (radius[:, None, None] - distance) / edge[:, None, None] + 0.5
    return np.rint(255 * np.clip(ink, 0, 1)).astype(np.uint8)


def _centre_by_mass(boxes: np.ndarray) -> np.ndarray:
    """Moves boxes, by whole pixels, so that the centre of mass is in the middle.

    Args:
      boxes: uint8 `[n, _BOX_SIZE, _BOX_SIZE]`, none of them empty.

    Returns:
      uint8 `[n, IMAGE_SIZE, IMAGE_SIZE]`.
    """
    weights = boxes.astype(np.int64)
    mass = weights.sum(axis=(1, 2))
    pixels = np.arange(_BOX_SIZE)

    def targets(marginal: np.ndarray) -> np.ndarray:
        """Returns where each row or column of a box goes, int64 `[n, _BOX_SIZE]`."""
        moment = (marginal * pixels).sum(axis=1)
        offset = np.rint(IMAGE_SIZE / 2 - moment / mass).astype(np.int64)
        return np.clip(offset, 0, IMAGE_SIZE - _BOX_SIZE)[:, None] + pixels

    rows, columns = targets(weights.sum(axis=2)), targets(weights.sum(axis=1))
    images = np.zeros((len(boxes), IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    images[np.arange(len(boxes))[:, None, None], rows[:, :, None], columns[:, None, :]] = boxes
    return images


def _draw_block(words: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Draws the digits `labels` from random words: uint8 `[n, IMAGE_SIZE, IMAGE_SIZE]`."""
    boxes = np.empty((len(words), _BOX_SIZE, _BOX_SIZE), np.uint8)
    for digit in range(NUM_CLASSES):
        cumulative_weights, allographs = allographs_of(digit)
        choice = _uniform(words[:, _SHAPE_WORDS][:, 0]) * cumulative_weights[-1]
        chosen = np.searchsorted(cumulative_weights, choice, side="right")
        for number, allograph in enumerate(allographs):
            members = np.flatnonzero((labels == digit) & (chosen == number))
            boxes[members] = _draw_allograph(allograph, words[members])
    return _centre_by_mass(boxes)


def draw_digits(num_images: int, seed: int, first_index: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draws the images `first_index` to `first_index + num_images - 1` of a seed.

    Image i shows the digit i modulo 10: the classes are balanced, in cyclic order. It is
    the same image in whatever range it is drawn.

    Args:
      num_images: N, not negative.
      seed: in [0, 2**128); each gives other images.
      first_index: not negative.

    Returns:
      `(images, labels)`: uint8 `[N, 28, 28, 1]`, 0 is background and 255 ink, and int32
      `[N]` in [0, 10).
    """
    labels = (np.arange(first_index, first_index + num_images) % NUM_CLASSES).astype(np.int32)
    images = np.empty((num_images, IMAGE_SIZE, IMAGE_SIZE, 1), np.uint8)
    for start in range(0, num_images, _BLOCK_SIZE):
        block = slice(start, min(start + _BLOCK_SIZE, num_images))
        words = _random_words(seed, first_index + start, block.stop - start)
        images[block, :, :, 0] = _draw_block(words, labels[block])
    return images, labels
