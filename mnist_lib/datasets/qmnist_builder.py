"""QMNIST as a TFDS builder, which TFDS 4.9.10 does not have: `qmnist`."""

from __future__ import annotations

import gzip

import numpy as np
import tensorflow_datasets as tfds

from mnist_lib.datasets import catalog, original_formats


class Qmnist(tfds.core.GeneratorBasedBuilder):
    """60,000 digits to train on, and the 50,000 that are not in MNIST's test set.

    Yadav and Bottou, Cold case: the lost MNIST digits, 2019. Examples have their numbers in the
    files as keys, so that TFDS stores those to train on in the order of MNIST's, of which they
    are the reconstruction, one by one.
    """

    name = "qmnist"
    VERSION = tfds.core.Version(catalog.QMNIST.version)
    MANUAL_DOWNLOAD_INSTRUCTIONS = "The four files, verified by mnist_lib.datasets.originals."

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description="The digits of MNIST, made again from NIST's, and 50,000 more to test on.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(28, 28, 1), dtype=np.uint8),
                    "label": tfds.features.ClassLabel(names=catalog.QMNIST.class_names),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://github.com/facebookresearch/qmnist",
        )

    def _split_generators(self, dl_manager):
        info = catalog.QMNIST
        return {
            "train": self._generate_examples(dl_manager.manual_dir, info.files[:2], 0),
            "test": self._generate_examples(dl_manager.manual_dir, info.files[2:], info.first_test),
        }

    def _generate_examples(self, folder, files, first: int):
        images, labels = (
            original_formats.read_array(
                catalog.QMNIST, file, gzip.decompress((folder / file.name).read_bytes())
            )
            for file in files
        )
        for number in range(first, len(labels)):
            yield number, {"image": images[number, ..., np.newaxis], "label": int(labels[number])}
