"""mnist_lib: MNIST training with tf.distribute that is exact, resumable and fast.

    data = mnist_lib.load_dataset("mnist")
    config = mnist_lib.recipe("fast", seed=1)
    results = mnist_lib.train_and_evaluate(config, "runs/first")
    probabilities = mnist_lib.predict("runs/first", data.validation.images)

Importing the package does not import TensorFlow; the first use of a name that
needs it does. Keras then loads `.keras` files of the library's models, whichever of the
two is imported first. What the library raises is in `mnist_lib.errors`, the settings of
the process in `mnist_lib.runtime`.
"""

from __future__ import annotations

import importlib
import threading
import typing

from mnist_lib import errors as errors
from mnist_lib import runtime as runtime
from mnist_lib.models import registration as _registration
from mnist_lib.version import __version__

if typing.TYPE_CHECKING:
    from mnist_lib.datasets.loading import ImageDataset as ImageDataset
    from mnist_lib.datasets.loading import load_arrays as load_arrays
    from mnist_lib.datasets.loading import load_dataset as load_dataset
    from mnist_lib.datasets.pipelines import eval_batches as eval_batches
    from mnist_lib.datasets.pipelines import train_batches as train_batches
    from mnist_lib.datasets.preparation import prepare_dataset as prepare_dataset
    from mnist_lib.datasets.splits import Split as Split
    from mnist_lib.distribution.batches import distribute_batches as distribute_batches
    from mnist_lib.distribution.strategies import create_strategy as create_strategy
    from mnist_lib.inspection import figures as figures
    from mnist_lib.inspection.history import read_history as read_history
    from mnist_lib.models import build_model as build_model
    from mnist_lib.models.layers import Dropout as Dropout
    from mnist_lib.parity.check import ParityReport as ParityReport
    from mnist_lib.parity.check import check_replica_parity as check_replica_parity
    from mnist_lib.parity.synchronize import synchronize_batch_norm as synchronize_batch_norm
    from mnist_lib.runs.callbacks import RunProgress as RunProgress
    from mnist_lib.runs.checkpoints import checkpoint_of as checkpoint_of
    from mnist_lib.runs.config import TrainConfig as TrainConfig
    from mnist_lib.runs.config import recipe as recipe
    from mnist_lib.runs.experiment import train_and_evaluate as train_and_evaluate
    from mnist_lib.runs.finished_runs import evaluate as evaluate
    from mnist_lib.runs.finished_runs import load_config as load_config
    from mnist_lib.runs.finished_runs import load_model as load_model
    from mnist_lib.runs.past_run import load_run as load_run
    from mnist_lib.runs.past_run import plot as plot
    from mnist_lib.serving.predictor import load_predictor as load_predictor
    from mnist_lib.serving.predictor import predict as predict
    from mnist_lib.serving.predictor import predict_files as predict_files
    from mnist_lib.training.augmentation import Augmentation as Augmentation
    from mnist_lib.training.evaluator import Evaluator as Evaluator
    from mnist_lib.training.metrics import EvalMetrics as EvalMetrics
    from mnist_lib.training.metrics import TrainMetrics as TrainMetrics
    from mnist_lib.training.optimizers import build_optimizer as build_optimizer
    from mnist_lib.training.trainer import Trainer as Trainer

_MODULE_OF = {
    name: module
    for module, names in {
        "datasets.loading": ("ImageDataset", "load_arrays", "load_dataset"),
        "datasets.pipelines": ("eval_batches", "train_batches"),
        "datasets.preparation": ("prepare_dataset",),
        "datasets.splits": ("Split",),
        "distribution.batches": ("distribute_batches",),
        "distribution.strategies": ("create_strategy",),
        "inspection": ("figures",),
        "inspection.history": ("read_history",),
        "models": ("build_model",),
        "models.layers": ("Dropout",),
        "parity.check": ("ParityReport", "check_replica_parity"),
        "parity.synchronize": ("synchronize_batch_norm",),
        "runs.callbacks": ("RunProgress",),
        "runs.checkpoints": ("checkpoint_of",),
        "runs.config": ("TrainConfig", "recipe"),
        "runs.experiment": ("train_and_evaluate",),
        "runs.finished_runs": ("evaluate", "load_config", "load_model"),
        "runs.past_run": ("load_run", "plot"),
        "serving.predictor": ("load_predictor", "predict", "predict_files"),
        "training.augmentation": ("Augmentation",),
        "training.evaluator": ("Evaluator",),
        "training.metrics": ("EvalMetrics", "TrainMetrics"),
        "training.optimizers": ("build_optimizer",),
        "training.trainer": ("Trainer",),
    }.items()
    for name in names
}

_WITHOUT_TENSORFLOW = (
    "datasets.preparation",
    "datasets.splits",
    "inspection.history",
    "models",
    "runs.config",
    "runs.past_run",
    "training.metrics",
)
_import_lock = threading.RLock()

# Those whose layers, optimizers and schedules `.keras` files may name.
_registration.register_with_keras(
    (
        "mnist_lib.models.activations",
        "mnist_lib.models.layers",
        "mnist_lib.training.optimizers",
    )
)

__all__ = ["__version__", "errors", "runtime", *sorted(_MODULE_OF)]


if not typing.TYPE_CHECKING:  # to a type checker every name would seem to be there

    def __getattr__(name: str):
        if name not in _MODULE_OF:
            raise AttributeError(f"module 'mnist_lib' has no attribute '{name}'")
        module = _MODULE_OF[name]
        # TensorFlow and Keras import each other, which only one thread at a time can do.
        with _import_lock:
            if module not in _WITHOUT_TENSORFLOW:
                importlib.import_module("keras")
            owner = importlib.import_module(f"mnist_lib.{module}")
            if name == "figures":  # a module, which its package does not import by itself
                importlib.import_module(f"{owner.__name__}.{name}")
            value = getattr(owner, name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
