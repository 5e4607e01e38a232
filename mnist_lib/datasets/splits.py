"""Images with their labels, and who is in which split, the same for everybody.

The choice depends only on the labels, in the order in which the prepared data
set stores them. It uses the raw output of NumPy's Philox bit generator, whose
stream NumPy guarantees to stay the same across versions and platforms (the
distributions on top of it carry no such promise).
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import pathlib

import numpy as np

from mnist_lib import errors

# How many training images are held out unless another number is asked for.
VALIDATION_SIZE = 5000

_MANIFEST = pathlib.Path(__file__).with_name("validation_manifest.json")

# Key of the Philox stream that ranks the images. Changing it changes the
# validation images of every experiment.
_SPLIT_KEY = 0x6D6E697374


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Images and their labels.

    Attributes:
      name: `"train"`, `"validation"` or `"test"`.
      images: uint8 `[N, 28, 28, 1]`, 0 is background, 255 is ink.
      labels: int32 `[N]`, in [0, number of classes).
    """

    name: str
    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self):
        if len(self.images) != len(self.labels):
            raise errors.ConfigError(
                self.name,
                f"{len(self.images)} images and {len(self.labels)} labels; there "
                "must be one label per image",
            )

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, size: int) -> Split:
        """Returns a stratified choice of `size` images; smaller ones are in larger ones.

        Raises:
          ConfigError: there are not that many.
        """
        if not 1 <= size <= len(self):
            raise errors.ConfigError(
                f"{self.name}_size", f"{size} is not in [1, {len(self)}], the images there are"
            )
        chosen = np.sort(stratified_order(self.labels)[:size])
        return Split(self.name, self.images[chosen], self.labels[chosen])

    @functools.cached_property
    def sha256(self) -> str:
        """SHA-256 of the image bytes followed by the label bytes, hexadecimal."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels, dtype="<i4").data)
        return digest.hexdigest()


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


def manifest_entry(labels: np.ndarray) -> dict:
    """Returns what the manifest holds of a data set with these training labels.

    Args:
      labels: integers `[N]`, in the order in which the prepared data set stores them.
    """
    indices = np.sort(stratified_order(labels)[:VALIDATION_SIZE])
    return {"sha256": indices_sha256(indices), "indices": indices.tolist()}


def indices_sha256(indices: np.ndarray) -> str:
    """Returns the SHA-256 of indices as little-endian int64, hexadecimal."""
    return hashlib.sha256(np.asarray(indices).astype("<i8").tobytes()).hexdigest()


@functools.cache
def manifest() -> dict[str, dict]:
    """Returns the frozen validation choices: data set name to `manifest_entry`."""
    return json.loads(_MANIFEST.read_text())


def split_indices(
    labels: np.ndarray, validation_size: int, dataset: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Divides the training images into those trained on and those held out.

    Args:
      labels: integers `[N]`, the labels of all training images.
      validation_size: how many images to hold out, in [0, N).
      dataset: if the manifest has a data set of this name, the choice must agree.

    Returns:
      `(train, validation)`: sorted int64 indices, disjoint, together `range(N)`.

    Raises:
      ConfigError: `validation_size` is out of range.
      CorruptDataError: the labels are not those that the manifest was made from.
    """
    if not 0 <= validation_size < len(labels):
        raise errors.ConfigError(
            "validation_size",
            f"{validation_size} of {len(labels)} training images cannot be held "
            f"out; choose a number from 0 to {len(labels) - 1}",
        )
    order = stratified_order(labels)
    frozen = manifest().get(dataset or "")
    if frozen and indices_sha256(np.sort(order[:VALIDATION_SIZE])) != frozen["sha256"]:
        raise errors.CorruptDataError(
            f"{dataset}: its training labels are not those that the validation images were chosen "
            "from. Delete the prepared data set and run again to rebuild it."
        )
    return np.sort(order[validation_size:]), np.sort(order[:validation_size])
