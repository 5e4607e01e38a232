"""Train, validation and test: who is in which, the same for everybody.

The choice depends only on the labels, in the order in which the prepared data
set stores them. It uses the raw output of NumPy's Philox bit generator, whose
stream NumPy guarantees to stay the same across versions and platforms (the
distributions on top of it carry no such promise).
"""

from __future__ import annotations

import numpy as np

from mnist_lib import errors

# Key of the Philox stream that ranks the images. Changing it changes the
# validation images of every experiment.
_SPLIT_KEY = 0x6D6E697374


def stratified_order(labels: np.ndarray) -> np.ndarray:
    """Returns an order of all images of which every prefix is stratified.

    Within each class the images are ranked at random; the classes are then
    interleaved in proportion to their frequency. The first n images of the order
    therefore hold each class in proportion to within one image, and the first m < n
    are among the first n.

    Args:
      labels: integers `[N]`.

    Returns:
      int64 `[N]`, a permutation of `range(N)`.
    """
    labels = np.asarray(labels)
    random_keys = np.random.Philox(key=_SPLIT_KEY).random_raw(len(labels))
    position = np.empty(len(labels), np.float64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        ranked = members[np.argsort(random_keys[members], kind="stable")]
        position[ranked] = (np.arange(len(ranked)) + 0.5) / len(ranked)
    return np.lexsort((random_keys, position))


def split_indices(labels: np.ndarray, validation_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Divides the training images into those trained on and those held out.

    Args:
      labels: integers `[N]`, the labels of all training images.
      validation_size: how many images to hold out, in [0, N).

    Returns:
      `(train, validation)`: sorted int64 indices, disjoint, together `range(N)`.

    Raises:
      ConfigError: `validation_size` is out of range.
    """
    if not 0 <= validation_size < len(labels):
        raise errors.ConfigError(
            "validation_size",
            f"{validation_size} of {len(labels)} training images cannot be held "
            f"out; choose a number from 0 to {len(labels) - 1}",
        )
    order = stratified_order(labels)
    return np.sort(order[validation_size:]), np.sort(order[:validation_size])
