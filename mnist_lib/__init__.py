"""mnist_lib: MNIST training with tf.distribute that is exact, resumable and fast.

    data = mnist_lib.load_dataset("mnist")
    model = mnist_lib.build_model("cnn")
    results = mnist_lib.train_and_evaluate(mnist_lib.TrainConfig(model="cnn"), "runs/cnn")

Importing the package does not import TensorFlow; the first use of a name that
needs it does.
"""

from __future__ import annotations

import importlib
import typing

from mnist_lib.version import __version__

if typing.TYPE_CHECKING:
    from mnist_lib.datasets.augmentation import Augmentation as Augmentation
    from mnist_lib.datasets.loading import ImageDataset as ImageDataset
    from mnist_lib.datasets.loading import Split as Split
    from mnist_lib.datasets.loading import load_arrays as load_arrays
    from mnist_lib.datasets.loading import load_dataset as load_dataset
    from mnist_lib.datasets.pipelines import eval_batches as eval_batches
    from mnist_lib.datasets.pipelines import train_batches as train_batches
    from mnist_lib.datasets.preparation import prepare_dataset as prepare_dataset
    from mnist_lib.errors import CheckpointError as CheckpointError
    from mnist_lib.errors import ConfigError as ConfigError
    from mnist_lib.errors import CorruptDataError as CorruptDataError
    from mnist_lib.errors import DataNotFoundError as DataNotFoundError
    from mnist_lib.errors import DivergedError as DivergedError
    from mnist_lib.errors import MnistLibError as MnistLibError
    from mnist_lib.errors import OutputError as OutputError
    from mnist_lib.errors import RunInterruptedError as RunInterruptedError
    from mnist_lib.errors import StorageError as StorageError
    from mnist_lib.errors import WorkerLostError as WorkerLostError
    from mnist_lib.inspection.metrics import EvalMetrics as EvalMetrics
    from mnist_lib.models import build_model as build_model
    from mnist_lib.models.layers import Dropout as Dropout
    from mnist_lib.training.config import TrainConfig as TrainConfig
    from mnist_lib.training.evaluator import Evaluator as Evaluator
    from mnist_lib.training.experiment import train_and_evaluate as train_and_evaluate
    from mnist_lib.training.finished_runs import evaluate as evaluate
    from mnist_lib.training.finished_runs import load_config as load_config
    from mnist_lib.training.finished_runs import load_model as load_model
    from mnist_lib.training.finished_runs import predict as predict
    from mnist_lib.training.optimizers import FusedAdam as FusedAdam
    from mnist_lib.training.optimizers import LearningRate as LearningRate
    from mnist_lib.training.optimizers import build_optimizer as build_optimizer
    from mnist_lib.training.parity import ParityReport as ParityReport
    from mnist_lib.training.parity import check_replica_parity as check_replica_parity
    from mnist_lib.training.recipes import RECIPES as RECIPES
    from mnist_lib.training.recipes import recipe as recipe
    from mnist_lib.training.strategies import create_strategy as create_strategy
    from mnist_lib.training.strategies import distribute_batches as distribute_batches
    from mnist_lib.training.trainer import Trainer as Trainer
    from mnist_lib.training.trainer import TrainMetrics as TrainMetrics

_MODULE_OF = {
    name: module
    for module, names in {
        "datasets.augmentation": ("Augmentation",),
        "datasets.loading": ("ImageDataset", "Split", "load_arrays", "load_dataset"),
        "datasets.pipelines": ("eval_batches", "train_batches"),
        "datasets.preparation": ("prepare_dataset",),
        "errors": (
            "CheckpointError",
            "ConfigError",
            "CorruptDataError",
            "DataNotFoundError",
            "DivergedError",
            "MnistLibError",
            "OutputError",
            "RunInterruptedError",
            "StorageError",
            "WorkerLostError",
        ),
        "models": ("build_model",),
        "models.layers": ("Dropout",),
        "training.config": ("TrainConfig",),
        "training.experiment": ("train_and_evaluate",),
        "training.finished_runs": ("evaluate", "load_config", "load_model", "predict"),
        "training.optimizers": ("FusedAdam", "LearningRate", "build_optimizer"),
        "training.parity": ("ParityReport", "check_replica_parity"),
        "training.recipes": ("RECIPES", "recipe"),
        "training.strategies": ("create_strategy", "distribute_batches"),
        "inspection.metrics": ("EvalMetrics",),
        "training.evaluator": ("Evaluator",),
        "training.trainer": ("TrainMetrics", "Trainer"),
    }.items()
    for name in names
}

__all__ = ["__version__", *sorted(_MODULE_OF)]


def __getattr__(name: str):
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'mnist_lib' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"mnist_lib.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
