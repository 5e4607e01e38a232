"""Images as they come in practice: noisy, blurred, moved, covered, each at five strengths.

    from mnist_lib.robustness.corruptions import corrupt
    corrupted = corrupt(images, "fog", strength=3)

In the manner of MNIST-C (Mu and Gilmer 2019, arXiv:1906.02337), whose images these are not:
kinds and strengths are our own. An image's corruption depends on the seed and on its index
only, and is the same on every machine (`exact_images`); that of JPEG on libjpeg, too. One
image meets the same random numbers at all strengths.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from mnist_lib import choices, errors
from mnist_lib.progress import Progress
from mnist_lib.robustness import blurs, exact_images, noises, overlays, subjects, warps

NUM_STRENGTHS = 5
_BLOCK_SIZE = 500  # images that are made together; bounds the memory, changes no image


@dataclasses.dataclass(frozen=True)
class Corruption:
    """One kind of corruption.

    Attributes:
      draw: images `[N, 28, 28]`, random words and a level to integers of that shape.
      levels: those of strengths 1 to 5, in the unit that `draw` names.
      num_words: random words that an image takes, a multiple of four.
    """

    draw: Callable[..., np.ndarray]
    levels: tuple[float, ...]
    num_words: int = 4


_PIXELS = exact_images.WORDS_FOR_PIXELS
CORRUPTIONS: dict[str, Corruption] = {
    "shot_noise": Corruption(noises.shot_noise, (16, 8, 4, 2, 1), _PIXELS),
    "impulse_noise": Corruption(noises.impulse_noise, (5, 10, 20, 30, 40), _PIXELS),
    "gaussian_noise": Corruption(noises.gaussian_noise, (25, 50, 75, 100, 125), _PIXELS),
    "glass_blur": Corruption(blurs.glass_blur, (0.75, 1.0, 1.5, 2.0, 2.5), _PIXELS),
    "motion_blur": Corruption(blurs.motion_blur, (2, 3, 4, 5, 6)),
    "gaussian_blur": Corruption(blurs.gaussian_blur, (0.75, 1.0, 1.5, 2.0, 2.5)),
    "shear": Corruption(warps.shear, (0.2, 0.4, 0.6, 0.8, 1.0)),
    "scale": Corruption(warps.scale, (0.85, 0.7, 0.6, 0.5, 0.4)),
    "rotate": Corruption(warps.rotate, (10, 20, 30, 40, 50)),
    "translate": Corruption(warps.translate, (2, 3, 4, 5, 6)),
    "brightness": Corruption(overlays.brightness, (20, 40, 60, 90, 120)),
    "contrast": Corruption(overlays.contrast, (70, 55, 40, 30, 20)),
    "stripe": Corruption(overlays.stripe, (2, 4, 6, 8, 10)),
    "fog": Corruption(overlays.fog, (10, 20, 30, 40, 50), overlays.FOG_WORDS),
    "spatter": Corruption(overlays.spatter, (5, 10, 15, 20, 30), _PIXELS),
    "dotted_line": Corruption(overlays.dotted_line, (1, 2, 3, 4, 5)),
    "zigzag": Corruption(overlays.zigzag, (1, 2, 3, 4, 5)),
    "canny_edges": Corruption(overlays.canny_edges, (20, 40, 60, 80, 100)),
    "jpeg": Corruption(blurs.jpeg, (25, 12, 6, 3, 1)),
}


def corrupt(
    images: np.ndarray, name: str, strength: int, *, seed: int = 0, first_index: int = 0
) -> np.ndarray:
    """Corrupts images.

    Args:
      images: uint8 `[N, 28, 28, 1]`, 0 background, 255 ink; left as they are.
      name: a key of `CORRUPTIONS`.
      strength: from 1 to 5.
      seed: in [0, 2**64); decides what is random.
      first_index: that of the first image; the others have the next ones.

    Returns:
      uint8 `[N, 28, 28, 1]`.

    Raises:
      ConfigError: there is no such corruption or strength, or the images are others.
    """
    choices.check("corruption", name, CORRUPTIONS)
    if strength not in range(1, NUM_STRENGTHS + 1):
        raise errors.ConfigError("strength", f"{strength} is not from 1 to {NUM_STRENGTHS}")
    exact_images.check_images(images)
    check_seed(seed)
    corruption = CORRUPTIONS[name]
    level = corruption.levels[strength - 1]
    corrupted = np.empty(images.shape, np.uint8)
    for start in range(0, len(images), _BLOCK_SIZE):
        block = images[start : start + _BLOCK_SIZE, :, :, 0].astype(np.int64)
        words = exact_images.random_words(
            seed, name, first_index + start, len(block), corruption.num_words
        )
        drawn = corruption.draw(block, words, level)
        corrupted[start : start + len(block), :, :, 0] = np.clip(drawn, 0, 255)
    return corrupted


def check_seed(seed: int) -> None:
    """Checks that a seed can be used.

    Raises:
      ConfigError: it is not in [0, 2**64).
    """
    if not 0 <= seed < 2**64:
        raise errors.ConfigError("suite_seed", f"{seed} is not in [0, 2**64)")


def try_corruptions(subject: subjects.Subject, show: Callable[..., Progress]) -> dict[str, Any]:
    """Counts the images that a model predicts right under each corruption, at each strength.

    Args:
      subject: the model and its images.
      show: makes a `Progress` of its arguments.

    Raises:
      ConfigError: its images are not uint8 `[N, 28, 28, 1]`.
    """
    images = subject.split.images
    exact_images.check_images(images)
    rows: list[dict[str, Any]] = []
    bar = show(len(CORRUPTIONS) * NUM_STRENGTHS, description="corruptions", unit="set")
    for name in CORRUPTIONS:
        for strength in range(1, NUM_STRENGTHS + 1):
            found = subject.count(corrupt(images, name, strength, seed=subject.seed))
            rows.append({"corruption": name, "strength": strength, **found})
            bar.update(len(rows), (name,))
    bar.close()
    clean = subjects.accuracy_of(subject.clean_logits.argmax(-1) == subject.split.labels)
    mean = float(np.mean([row["accuracy"] for row in rows]))
    return {"clean": clean, "mean_accuracy": mean, "rows": rows}
