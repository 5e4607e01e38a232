"""All of EMNIST's letters as a TFDS builder: that of TFDS 4.9.10 reads a part of them."""

from __future__ import annotations

from typing import ClassVar

import tensorflow_datasets as tfds
from tensorflow_datasets.image_classification import mnist as tfds_mnist

from mnist_lib.datasets import catalog

_NAME = "emnist/letters"


class Letters(tfds.image_classification.EMNIST, skip_registration=True):  # type: ignore[call-arg]
    """`emnist/letters`, 124,800 and 20,800 of them, under a version that TFDS does not have.

    TFDS's own 3.1.0 reads the first 88,800 and 14,800 out of files with more; where those are in
    the order of the alphabet the last letters are missing.
    """

    name = "emnist"
    VERSION = tfds.core.Version(catalog.dataset_info(_NAME).version)
    BUILDER_CONFIGS: ClassVar[list] = []  # TFDS's letters are among those that are inherited

    def __init__(self, **options):
        info = catalog.dataset_info(_NAME)
        configuration = tfds_mnist.EMNISTConfig(
            name=_NAME.partition("/")[2],
            class_number=info.first_label + len(info.class_names),
            train_examples=info.num_train,
            test_examples=info.num_test,
            description="EMNIST Letters, all of them",
        )
        super().__init__(config=configuration, **options)
