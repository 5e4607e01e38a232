"""Takes the lines of ruled and checked paper out of what is taken for ink."""

from __future__ import annotations

import numpy as np

# How far a line may lean, as rise over run, and how much of it has to be seen.
_LEANINGS = np.linspace(-0.16, 0.16, 41)
_LEAST_COVERAGE = 0.6
_THICKEST = 0.016  # of the picture's longer side


def find_lines(ink: np.ndarray) -> np.ndarray:
    """Finds thin straight lines that go from one side of a picture to the other.

    Where a line crosses a stroke, ink is higher than the line is thick, and is none of it: so
    staff lines are taken out of scores, see C. Dalitz et al., A Comparative Study of Staff
    Removal Algorithms, IEEE Transactions on Pattern Analysis and Machine Intelligence 30 (2008).

    Args:
      ink: bool `[H, W]`, what stands out from the paper, however faint.

    Returns:
      bool `[H, W]`, the places that are lines only.
    """
    return _level_lines(ink) | _level_lines(ink.T).T


def _level_lines(ink: np.ndarray) -> np.ndarray:
    """Returns bool `[H, W]`: where there are lines that lie more or less level."""
    thickest = max(3, round(_THICKEST * max(ink.shape)))
    thin = ink & (_vertical_runs(ink) <= thickest)
    height, width = thin.shape
    step = max(1, width // 96)
    columns = np.arange(0, width, step)
    outer = max(1, len(columns) // 12)
    seen = thin[:, columns].any(axis=0)
    if seen.mean() < _LEAST_COVERAGE or not (seen[:outer].any() and seen[-outer:].any()):
        return np.zeros_like(thin)
    # Pairs of rows, each with what is just above: a line may lie between two.
    num_pairs = -(-height // 2)
    pairs = np.pad(thin[:, columns], ((1, 2 * num_pairs - height), (0, 0)))
    pairs = pairs[:-1] | pairs[1:]
    pairs = (pairs[0::2] | pairs[1::2]).T
    reach = int(np.ceil(np.abs(_LEANINGS).max() * width / 4)) + 1
    pairs = np.pad(pairs, ((0, 0), (reach, reach)))
    found = np.zeros_like(pairs)
    for leaning in _LEANINGS:
        shifts = np.rint(leaning * (columns - width / 2) / 2).astype(int) + reach
        places = [slice(shift, shift + num_pairs) for shift in shifts]
        along = np.array([row[place] for row, place in zip(pairs, places, strict=True)])
        is_line = along.mean(axis=0) >= _LEAST_COVERAGE
        is_line &= along[:outer].any(axis=0) & along[-outer:].any(axis=0)
        if is_line.any():
            for row, place in zip(found, places, strict=True):
                row[place] |= is_line
    beside = found.copy()
    beside[:, 1:] |= found[:, :-1]
    beside[:, :-1] |= found[:, 1:]
    near = beside[:, reach : reach + num_pairs].repeat(2, axis=1)[:, :height]
    return near[np.minimum(np.arange(width) // step, len(columns) - 1)].T & thin


def _vertical_runs(mask: np.ndarray) -> np.ndarray:
    """Returns int32 `[H, W]`: how many pixels of ink lie in one piece above each other there."""
    padded = np.zeros((mask.shape[0] + 2, mask.shape[1]), np.int8)
    padded[1:-1] = mask
    steps = np.diff(padded, axis=0).T  # by columns, so that starts and ends pair up
    columns, starts = np.nonzero(steps == 1)
    _, ends = np.nonzero(steps == -1)
    lengths = np.zeros((mask.shape[1], mask.shape[0] + 1), np.int32)
    lengths[columns, starts] = ends - starts
    lengths[columns, ends] -= ends - starts
    return np.cumsum(lengths, axis=1)[:, :-1].T
