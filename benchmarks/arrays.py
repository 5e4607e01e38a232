"""The images that every contender trains on, in one file that needs no TensorFlow."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import tempfile
import typing
from collections.abc import Iterator

import mnist_lib
from benchmarks import workers
from mnist_lib import runtime

if typing.TYPE_CHECKING:
    import numpy as np


@dataclasses.dataclass(frozen=True)
class Arrays:
    """Images uint8 `[N, 28, 28, 1]` and labels int32 `[N]`, in memory."""

    train_images: np.ndarray
    train_labels: np.ndarray
    validation_images: np.ndarray
    validation_labels: np.ndarray


@contextlib.contextmanager
def exported(data_options: dict) -> Iterator[tuple[str, dict]]:
    """Keeps a file with the images for as long as the context lasts.

    Args:
      data_options: arguments of `load_dataset`.

    Yields:
      The path of the file, and `dataset`, `num_train` and `num_validation`.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder, "arrays.npz"))
        # In a process of its own: reading the data imports TensorFlow.
        yield path, workers.ask_once("arrays", {"data_options": data_options, "path": path})


def write(data_options: dict, path: str) -> dict:
    """Loads a data set and writes it; returns what `exported` yields beside the path."""
    runtime.configure_before_tensorflow()
    import numpy as np

    data = mnist_lib.load_dataset(**data_options)
    np.savez(
        path,
        train_images=data.train.images,
        train_labels=data.train.labels,
        validation_images=data.validation.images,
        validation_labels=data.validation.labels,
    )
    return {
        "dataset": data.name,
        "num_train": len(data.train),
        "num_validation": len(data.validation),
    }


def read(path: str) -> Arrays:
    """Reads what `write` wrote."""
    import numpy as np

    with np.load(path) as file:
        return Arrays(**{field.name: file[field.name] for field in dataclasses.fields(Arrays)})
