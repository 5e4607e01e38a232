"""The embedded data set as a TFDS builder: `synthetic_digits`."""

from __future__ import annotations

import numpy as np
import tensorflow_datasets as tfds

from mnist_lib.datasets import catalog, synthetic_digits

_SPLIT_SEEDS = {"train": 1, "test": 2}
_BLOCK_SIZE = 2000


class SyntheticDigits(tfds.core.GeneratorBasedBuilder):
    """60,000 and 10,000 digits, 28x28, drawn from strokes; see `synthetic_digits`."""

    name = "synthetic_digits"
    VERSION = tfds.core.Version(catalog.SYNTHETIC_DIGITS.version)

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description="Handwriting-like digits in the format of MNIST, drawn from strokes.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(28, 28, 1), dtype=np.uint8),
                    "label": tfds.features.ClassLabel(names=catalog.SYNTHETIC_DIGITS.class_names),
                }
            ),
            supervised_keys=("image", "label"),
            disable_shuffling=True,  # every prefix is balanced as it is
        )

    def _split_generators(self, dl_manager):
        del dl_manager  # nothing is downloaded
        info = catalog.SYNTHETIC_DIGITS
        return {
            "train": self._generate_examples("train", info.num_train),
            "test": self._generate_examples("test", info.num_test),
        }

    def _generate_examples(self, split: str, num_images: int):
        for first in range(0, num_images, _BLOCK_SIZE):
            size = min(_BLOCK_SIZE, num_images - first)
            images, labels = synthetic_digits.draw_digits(size, _SPLIT_SEEDS[split], first)
            for offset, (image, label) in enumerate(zip(images, labels, strict=True)):
                yield first + offset, {"image": image, "label": int(label)}
