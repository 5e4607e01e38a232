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

from mnist_lib import errors, markup
from mnist_lib.datasets import descriptions, examples

# How many training images are held out unless another number is asked for.
VALIDATION_SIZE = 5000

_MANIFEST = pathlib.Path(__file__).with_name("validation_manifest.json")

# Key of the Philox stream that ranks the images. Changing it changes the
# validation images of every experiment.
_SPLIT_KEY = 0x6D6E697374


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Images and their labels, checked when it is made.

    Attributes:
      name: `"train"`, `"validation"` or `"test"`.
      images: `[N, H, W, C]`: uint8, 0 is background and 255 is ink, or float in
        `value_range`. `[N, H, W]` gets its one channel.
      labels: int32 `[N]`, in [0, number of classes). Other integers, and `[N, 1]`, become so.
      numbers: int64 `[N]`, each image's number in the original files; None where there
        are none.
      value_range: the least and the largest value of float images, for a model that takes
        them as they are; None for uint8.

    Raises:
      ConfigError: images or labels of another kind; the error says how to make them right.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    numbers: np.ndarray | None = None
    value_range: tuple[float, float] | None = None

    def __post_init__(self):
        images = examples.checked_images(self.name, self.images, self.value_range)
        labels = examples.checked_labels(self.name, self.labels, len(images))
        object.__setattr__(self, "images", images)
        object.__setattr__(self, "labels", labels)
        if self.numbers is not None and len(self.numbers) != len(images):
            raise errors.ConfigError(
                self.name,
                f"{len(images)} images and {len(self.numbers)} numbers; leave out numbers, or give "
                "each image its own",
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        kind = descriptions.kind(self.images, self.value_range)
        return f"Split {self.name}: {kind}; {descriptions.counts_line(self.labels)}"

    def _repr_html_(self) -> str:
        return markup.paragraph(repr(self)) + descriptions.split_html(self)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of each image."""
        height, width, channels = self.images.shape[1:]
        return height, width, channels

    def subset(self, size: int) -> Split:
        """Returns a stratified choice of `size` images; smaller ones are in larger ones.

        Raises:
          ConfigError: there are not that many.
        """
        if not 1 <= size <= len(self):
            raise errors.ConfigError(
                f"{self.name}_size", f"{size} is not in [1, {len(self)}], the images there are"
            )
        return self.take(np.sort(stratified_order(self.labels)[:size]))

    def take(self, indices: np.ndarray, name: str | None = None) -> Split:
        """Returns the images at some positions, in their order, as a split.

        Args:
          indices: integers `[M]`, in [0, N).
          name: of the new split; None for the name of this one.
        """
        numbers = None if self.numbers is None else self.numbers[indices]
        return dataclasses.replace(
            self,
            name=name or self.name,
            images=self.images[indices],
            labels=self.labels[indices],
            numbers=numbers,
        )

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
            "from. Pass another --data_dir, where it is built anew; this one is left as it is."
        )
    return np.sort(order[validation_size:]), np.sort(order[:validation_size])
