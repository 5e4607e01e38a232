"""Fixtures shared by the tests: small data, several replicas, real MNIST if it is there."""

import dataclasses
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pytest
import tensorflow as tf

import mnist_lib
from mnist_lib import runtime

# Before TensorFlow initialises its devices; tests then use as many as they need.
MAX_REPLICAS = 4
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * MAX_REPLICAS,
)
runtime.make_deterministic(seed=0)


def make_split(name: str, num_examples: int, seed: int) -> mnist_lib.Split:
    """Ten easy classes: class k is a bright square in one of ten places, with noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, num_examples).astype(np.int32)
    images = rng.integers(0, 60, (num_examples, 28, 28, 1)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 4)
        image[row * 8 : row * 8 + 6, column * 7 : column * 7 + 6] += 150
    return mnist_lib.Split(name, images, labels)


@pytest.fixture(scope="session")
def small_dataset() -> mnist_lib.ImageDataset:
    """600 training, 101 validation and 203 test images: no round numbers to hide behind."""
    return mnist_lib.ImageDataset(
        "small",
        make_split("train", 600, seed=1),
        make_split("validation", 101, seed=2),
        make_split("test", 203, seed=3),
    )


@pytest.fixture(scope="session")
def originals_dir() -> pathlib.Path:
    """The folder with the four original MNIST files."""
    folder = os.environ.get("MNIST_LIB_MANUAL_DIR")
    if not folder:
        pytest.skip("MNIST_LIB_MANUAL_DIR is not set to a folder with the four original files")
    return pathlib.Path(folder)


@pytest.fixture(scope="session")
def prepared_mnist_dir(originals_dir, tmp_path_factory) -> pathlib.Path:
    """A TFDS folder with MNIST prepared from the originals, once per session."""
    data_dir = tmp_path_factory.mktemp("tfds")
    mnist_lib.prepare_dataset("mnist", data_dir=data_dir, manual_dir=originals_dir)
    mnist_lib.load_arrays("mnist", data_dir=data_dir)  # keeps the decoded copies
    return data_dir


@dataclasses.dataclass(frozen=True)
class PreparedData:
    """A TFDS folder, the data set in it, and the accuracy that the mlp reaches in an epoch."""

    name: str
    data_dir: pathlib.Path
    accuracy: float


@pytest.fixture(scope="session")
def prepared_data(request, tmp_path_factory) -> PreparedData:
    """MNIST where its files are at hand, else the embedded synthetic digits."""
    if os.environ.get("MNIST_LIB_MANUAL_DIR"):
        return PreparedData("mnist", request.getfixturevalue("prepared_mnist_dir"), 0.95)
    data_dir = tmp_path_factory.mktemp("tfds")
    mnist_lib.prepare_dataset("synthetic_digits", data_dir=data_dir)
    return PreparedData("synthetic_digits", data_dir, 0.85)
