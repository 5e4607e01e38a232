"""The data sets mnist_lib knows: names, counts, original files, checksums.

No TensorFlow is imported here, so that flags can be checked against it.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class SourceFile:
    """One original IDX file.

    Attributes:
      name: file name as published.
      sha256: SHA-256 of the gzip file, hexadecimal.
      num_bytes: size of the gzip file.
    """

    name: str
    sha256: str
    num_bytes: int


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """What is known about a data set before anything is read.

    Attributes:
      name: name in this library and in TFDS.
      version: the TFDS version that is used.
      url: where the original files are downloaded from.
      num_train: images in the training split, before validation is held out.
      num_test: images in the test split.
      class_names: one name per label, label 0 first.
      files: train images, train labels, test images, test labels.
    """

    name: str
    version: str
    url: str
    num_train: int
    num_test: int
    class_names: tuple[str, ...]
    files: tuple[SourceFile, ...]


MNIST = DatasetInfo(
    name="mnist",
    version="3.0.1",
    url="https://storage.googleapis.com/cvdf-datasets/mnist/",
    num_train=60_000,
    num_test=10_000,
    class_names=tuple("0123456789"),
    files=(
        SourceFile(
            "train-images-idx3-ubyte.gz",
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            9_912_422,
        ),
        SourceFile(
            "train-labels-idx1-ubyte.gz",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            28_881,
        ),
        SourceFile(
            "t10k-images-idx3-ubyte.gz",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            1_648_877,
        ),
        SourceFile(
            "t10k-labels-idx1-ubyte.gz",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            4_542,
        ),
    ),
)

CATALOG = {MNIST.name: MNIST}

# What `dataset="auto"` stands for, in order of preference.
AUTO = "auto"
DATASET_NAMES = (AUTO, *CATALOG)


def dataset_info(name: str) -> DatasetInfo:
    """Returns the catalogue entry of `name`; `auto` stands for MNIST."""
    return CATALOG["mnist" if name == AUTO else name]
