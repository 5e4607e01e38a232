"""Fixtures shared by the tests: small data, several replicas, real MNIST if it is there."""

import dataclasses
import os
import pathlib
import shutil
import signal

# A shell has what it starts in the background ignore SIGINT, and `nohup` SIGHUP; so would what
# tests start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import filelock
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
def made_once(tmp_path_factory):
    """Makes a folder once for all processes of pytest-xdist: `made_once(name, make)`."""
    folders = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folders = folders.parent

    def made(name: str, make) -> pathlib.Path:
        folder, done = folders / f"once-{name}", folders / f"once-{name}.done"
        with filelock.FileLock(folders / f"once-{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of one who failed
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return made


@dataclasses.dataclass(frozen=True)
class PreparedData:
    """A TFDS folder, the data set in it, and the accuracy that the mlp reaches in an epoch."""

    name: str
    data_dir: pathlib.Path
    accuracy: float


@pytest.fixture(scope="session")
def prepared_data(made_once) -> PreparedData:
    """MNIST where its files are at hand, else the embedded synthetic digits; once per session."""
    originals = os.environ.get("MNIST_LIB_MANUAL_DIR")
    name, accuracy = ("mnist", 0.95) if originals else ("synthetic_digits", 0.85)

    def prepare(folder: pathlib.Path) -> None:
        mnist_lib.prepare_dataset(name, data_dir=folder, manual_dir=originals, download=False)
        mnist_lib.load_arrays(name, data_dir=folder)  # keeps the decoded copies

    return PreparedData(name, made_once("tfds", prepare), accuracy)


@pytest.fixture(scope="session")
def prepared_mnist_dir(originals_dir, prepared_data) -> pathlib.Path:
    """A TFDS folder with MNIST prepared from the originals; skips where they are not."""
    return prepared_data.data_dir


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Marks what does more where MNIST's files are: `-m originals` selects it."""
    for item in items:
        if {"originals_dir", "prepared_data"} & set(item.fixturenames):
            item.add_marker("originals")


@pytest.fixture
def prepared(prepared_data):
    """What `prepare_dataset` says of the session's prepared data."""
    return mnist_lib.prepare_dataset(
        prepared_data.name, data_dir=prepared_data.data_dir, download=False
    )


@pytest.fixture
def prepared_copy(prepared, tmp_path):
    """A copy of the prepared data that a test may damage."""
    shutil.copytree(prepared.directory, tmp_path / prepared.info.name / prepared.info.version)
    return mnist_lib.prepare_dataset(prepared.info.name, data_dir=tmp_path, download=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Keeps names that are no text, which some tests log, from those who take none but text."""
    report = yield
    report.sections = [
        (title, content.encode("utf-8", "backslashreplace").decode())
        for title, content in report.sections
    ]
    return report


@pytest.fixture(scope="session")
def fast_run(prepared_data, made_once) -> pathlib.Path:
    """A run of the default recipe, good enough to know digits that are drawn; half a minute."""
    config = mnist_lib.recipe(
        "fast", dataset=prepared_data.name, data_dir=str(prepared_data.data_dir), download=False
    )

    def train(folder: pathlib.Path) -> None:
        mnist_lib.train_and_evaluate(config, folder / "fast")

    return made_once("runs", train) / "fast"
