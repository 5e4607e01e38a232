"""Whether a model is less sure of what it has never seen: letters, other alphabets, noise."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mnist_lib import choices, errors
from mnist_lib.datasets import catalog, loading, preparation
from mnist_lib.inspection import separation
from mnist_lib.progress import Progress
from mnist_lib.robustness import exact_images, subjects

# Those of whose classes a run has none are unknown to it.
_DATASETS = ("emnist/letters", "kmnist", "fashion_mnist", "mnist")
_MIDDLE, _DEVIATION = 128, 64  # of normal noise
_BLOCK = 500  # images whose noise is made at once: 31 kB each on the way
_logger = logging.getLogger(__name__)


def unknown_datasets(class_names: tuple[str, ...]) -> list[str]:
    """Returns the names of the data sets that share no class with a run of these classes."""
    return [
        name
        for name in _DATASETS
        if name in choices.NAMES["dataset"]
        and not set(catalog.dataset_info(name).class_names) & set(class_names)
    ]


def noise_images(images: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Returns images of noise, three kinds, as many and of the shape of those that are given.

    Args:
      images: uint8 `[N, 28, 28, 1]`.
      seed: in [0, 2**64); an image is a function of it, its index and, if permuted, the original.

    Returns:
      `uniform_noise`; `gaussian_noise`, of mean 128 and standard deviation 64; and
      `permuted_pixels`, each image's own in an order of its own. uint8 `[N, 28, 28, 1]`.
    """
    starts = range(0, max(len(images), 1), _BLOCK)
    blocks = [_noise_block(images[start : start + _BLOCK], start, seed) for start in starts]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def _noise_block(images: np.ndarray, first_index: int, seed: int) -> dict[str, np.ndarray]:
    count, size = len(images), exact_images.SIZE**2

    def words(stream: str, num_words: int) -> np.ndarray:
        return exact_images.random_words(seed, stream, first_index, count, num_words)

    few = exact_images.WORDS_FOR_PIXELS
    normal = exact_images.pixel_normal(words("gaussian", few)) * _DEVIATION
    grey = np.clip(_MIDDLE + exact_images.divided(normal, 4096), 0, 255)
    order = np.argsort(words("permuted", size), axis=1, kind="stable")
    flat = images.reshape(count, size)
    noises = {
        "uniform_noise": exact_images.pixel_uniform16(words("uniform", few)) >> 8,
        "gaussian_noise": grey,
        "permuted_pixels": np.take_along_axis(flat, order, axis=1),
    }
    return {name: noise.reshape(images.shape).astype(np.uint8) for name, noise in noises.items()}


def try_alphabets(subject: subjects.Subject, show: Callable[..., Progress]) -> dict[str, Any]:
    """Says how far a model is surer of its own images than of unknown ones.

    Of a data set the test images are taken, as many as the run's own at most, a stratified
    choice; of those that are not prepared it is said how they can be.

    Args:
      subject: the model and its images.
      show: makes a `Progress` of its arguments.

    Raises:
      ConfigError: its images are not uint8 `[N, 28, 28, 1]`.
    """
    exact_images.check_images(subject.split.images)
    known = separation.log_odds(subject.clean_logits)
    skipped: dict[str, str] = {}
    # What a run is asked of may be another data set than its own.
    names = [name for name in unknown_datasets(subject.class_names) if name != subject.dataset]
    bar = show(len(names) + 3, description="alphabets", unit="set")
    rows = []
    for name, images in _unknown_images(subject, names, skipped):
        unknown = separation.log_odds(subject.logits(images))
        rows.append(
            {
                "unknown": name,
                "num_known": len(known),
                "num_unknown": len(unknown),
                "mean_confidence": float((1 / (1 + np.exp(-unknown))).mean()),
                **dataclasses.asdict(separation.separate(known, unknown)),
            }
        )
        bar.update(len(rows) + len(skipped))
    bar.close()
    mean = float((1 / (1 + np.exp(-known))).mean())
    return {"known": {"num_known": len(known), "mean_confidence": mean}, "rows": rows} | {
        "skipped": skipped
    }


def _unknown_images(
    subject: subjects.Subject, names: list[str], skipped: dict[str, str]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yields names and images; notes in `skipped` what is not there."""
    for name in names:
        try:
            prepared = preparation.prepare_dataset(name, data_dir=subject.data_dir, download=False)
            test = loading.read_split(prepared, "test")
        except errors.DataNotFoundError:
            root = subject.data_dir or preparation.default_data_dir()
            skipped[name] = (
                f"not prepared in {root}; prepare_data --dataset={name} --data_dir={root} does it"
            )
        except (errors.ConfigError, errors.CorruptDataError) as error:
            skipped[name] = str(error)
        else:
            yield name, test.subset(min(len(subject.split), len(test))).images
            continue
        _logger.warning("%s is left out: %s", name, skipped[name])
    yield from noise_images(subject.split.images, subject.seed).items()
