"""Every name that a user can choose, and the one check that refuses others.

What a name stands for is built elsewhere, by its own layer; a test builds each of them.
No TensorFlow is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mnist_lib import errors

# MNIST where it can be had, else the embedded synthetic digits.
AUTO = "auto"

# In the configuration of a run: a part that its user has made, and that no name can build.
OWN = "own"
OWN_FIELDS = ("model", "loss", "optimizer")

LARGEST_TEST_TIME_SHIFT = 8  # pixels

# Which options each model, and each optimizer, understands.
MODEL_OPTIONS: dict[str, tuple[str, ...]] = {
    "linear": (),
    "mlp": ("activation", "dropout"),
    "lenet5": ("activation", "pooling", "dropout"),
    "cnn": ("activation", "pooling", "dropout"),
    "fast_cnn": ("activation",),
    "strided_cnn": ("activation", "width", "dropout"),
    "shallow_cnn": ("activation", "width", "dropout"),
    "tiny_cnn": ("activation",),
    "m3": (),
    "m5": (),
    "m7": (),
}
OPTIMIZER_OPTIONS: dict[str, tuple[str, ...]] = {
    "sgd": (),
    "momentum": (),
    "adam": ("beta_1", "beta_2"),
    "adamw": ("beta_1", "beta_2", "weight_decay"),
    "rmsprop": (),
}

# By the name of the argument, flag or `TrainConfig` field that takes them.
NAMES: dict[str, tuple[str, ...]] = {
    "dataset": (
        *(AUTO, "mnist", "synthetic_digits", "fashion_mnist", "kmnist", "qmnist"),
        *("emnist/digits", "emnist/letters", "emnist/balanced", "emnist/mnist"),
    ),
    "split": ("train", "validation", "test"),
    "augmentation": ("none", "affine", "elastic", "cutout", "full", "rotate_shift"),
    "model": tuple(MODEL_OPTIONS),
    "activation": ("relu", "sigmoid", "tanh", "leaky_relu", "elu", "maxout"),
    "pooling": ("max", "average"),
    "mixed_precision": ("float32", "bfloat16", "float16"),
    "loss": ("cross_entropy", "perceptron", "hinge"),
    "optimizer": tuple(OPTIMIZER_OPTIONS),
    "lr_schedule": ("constant", "cosine", "one_cycle", "exponential"),
    "export_format": ("saved_model", "keras", "litert", "litert_int8", "onnx", "html"),
    "strategy": ("default", "one_device", "mirrored", "multi_worker_mirrored"),
    "summaries": ("none", "scalars", "default", "full"),
    "checkpoint": ("last", "best"),
    "suite": ("calibration", "corruptions", "alphabets", "adversarial", "all"),
    "projection": ("pca", "tsne"),
    "background": ("auto", "light", "dark"),
    "figure": (
        *("samples", "labels", "augmentation"),
        *("curves", "confusion", "mistakes", "reliability", "precision_recall"),
        *("filters", "feature_maps", "embedding", "saliency", "model"),
        *("activations", "noise", "separability"),
    ),
}


def check(field: str, value: Any, names: Iterable[str] | None = None) -> None:
    """Checks that a value is one of those there are.

    Args:
      field: what takes the value; those in `OWN_FIELDS` take `OWN`, too.
      value: what was chosen.
      names: what can be chosen; None for `NAMES[field]`.

    Raises:
      ConfigError: it is none of them; with the reason, where people may expect it.
    """
    names = NAMES[field] if names is None else tuple(names)
    if value not in names and not (value == OWN and field in OWN_FIELDS):
        asked = str(value)
        why = ""
        if field == "strategy" and ("parameter" in asked or asked == "ps"):
            why = "; Keras 3 does not support parameter servers, use multi_worker_mirrored"
        raise errors.ConfigError(field, f"{value!r} is not one of {', '.join(names)}{why}")


def check_options(field: str, value: str, given: Mapping[str, Any]) -> None:
    """Checks the options that were given with a model or an optimizer.

    Args:
      field: `"model"` or `"optimizer"`.
      value: which of them was chosen.
      given: options and their values; None: not given.

    Raises:
      ConfigError: there is no such model or optimizer, or it lacks the option.
    """
    options_of = {"model": MODEL_OPTIONS, "optimizer": OPTIMIZER_OPTIONS}[field]
    check(field, value, options_of)
    for option, setting in given.items():
        if setting is not None and option not in options_of.get(value, ()):
            having = [name for name in options_of if option in options_of[name]]
            raise errors.ConfigError(
                option, f"{field} {value} has none; leave it out or choose {' or '.join(having)}"
            )
