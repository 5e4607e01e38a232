"""Named configurations, as the fields that each of them decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What a recipe decides unless it says otherwise; the lecture's Softmax network uses it as it is.
_PLAIN = {
    "train_size": None,
    "augmentation": "none",
    "model": "mlp",
    "width": None,
    "loss": "cross_entropy",
    "label_smoothing": 0.0,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "lr_schedule": "constant",
    "weight_decay": None,
    "beta_1": None,
    "beta_2": None,
    "ema_momentum": None,
    "batch_size": 128,
    "epochs": 5,
    "train_steps": None,
    "steps_per_loop": 50,
    "eval_every": None,
    "checkpoint_every": None,
}
# What the records of small networks have in common.
_RECORD = {
    **_PLAIN,
    "model": "strided_cnn",
    "label_smoothing": 0.05,
    "optimizer": "adamw",
    "learning_rate": 0.01,
    "lr_schedule": "one_cycle",
    "weight_decay": 0.01,
    "beta_1": 0.9,
    "beta_2": 0.95,
    "batch_size": 256,
}
# In a few epochs more smoothing and less momentum gave more on validation.
_SHORT_RECORD = {
    **_RECORD,
    "label_smoothing": 0.1,
    "learning_rate": 0.015,
    "weight_decay": 0.05,
    "beta_1": 0.85,
}
# As An et al. 2020 (arXiv:2008.10400) train theirs; the rate ends at 1 % where theirs does at 5 %.
_UNPOOLED = {
    **_PLAIN,
    "augmentation": "rotate_shift",
    "lr_schedule": "exponential",
    "ema_momentum": 0.999,
    "batch_size": 120,
    "epochs": 150,
}
RECIPES: dict[str, dict[str, Any]] = {
    "fast": {
        **_PLAIN,
        "model": "fast_cnn",
        "label_smoothing": 0.05,
        "learning_rate": 0.04,
        "lr_schedule": "one_cycle",
        "beta_1": 0.7,
        "beta_2": 0.9,
        "batch_size": 256,
        "train_steps": 270,
        # Enough points for a curve.
        "steps_per_loop": 10,
        "eval_every": 54,
    },
    "good": {**_SHORT_RECORD, "train_steps": 800, "steps_per_loop": 20, "eval_every": 200},
    "quick": {
        **_SHORT_RECORD,
        "model": "shallow_cnn",
        "learning_rate": 0.03,
        "train_steps": 500,
        "steps_per_loop": 10,
        "eval_every": 125,
    },
    "strong": {**_RECORD, "augmentation": "affine", "width": 24, "epochs": 20},
    "best": {**_RECORD, "augmentation": "affine", "width": 32, "epochs": 40},
    "tiny": {**_RECORD, "model": "tiny_cnn", "learning_rate": 0.02, "epochs": 40},
    "few_1000": {
        **_RECORD,
        "train_size": 1000,
        "augmentation": "affine",
        "train_steps": 1500,
        "eval_every": 300,
        "checkpoint_every": 300,  # an epoch has so few steps that saving would take the most time
    },
    "few_100": {
        **_RECORD,
        "train_size": 100,
        "augmentation": "affine",
        "batch_size": 100,
        "train_steps": 1500,
        "eval_every": 300,
        "checkpoint_every": 300,  # an epoch has so few steps that saving would take the most time
    },
    "mlp": _PLAIN,
    "cnn": {**_PLAIN, "model": "cnn"},
    "lenet5": {**_PLAIN, "model": "lenet5", "epochs": 10, "lr_schedule": "cosine"},
    "linear": {**_PLAIN, "model": "linear", "epochs": 20},
    "perceptron": {
        **_PLAIN,
        "model": "linear",
        "loss": "perceptron",
        "epochs": 20,
        "lr_schedule": "cosine",
    },
    **{name: {**_UNPOOLED, "model": name} for name in ("m3", "m5", "m7")},
}
DEFAULT_RECIPE = "fast"


def recipe_of_model(model: str | None) -> str:
    """Returns the name of the first recipe of a model; of the default one without a model.

    A learning rate that suits one model may ruin another: whoever names a model and
    no recipe gets the model's own.
    """
    names = (name for name in RECIPES if RECIPES[name]["model"] == model)
    return next(names, DEFAULT_RECIPE)


def nearest_recipe(fields: Mapping[str, Any]) -> str:
    """Returns the recipe of the same model from which the fewest fields differ.

    Args:
      fields: those of a configuration.
    """

    def num_differences(name: str) -> int:
        return sum(fields[field] != value for field, value in RECIPES[name].items())

    names = [name for name in RECIPES if RECIPES[name]["model"] == fields["model"]]
    return min(names, key=num_differences, default=DEFAULT_RECIPE)


def override(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of `base` with some replaced.

    What `base` has for another optimizer, loss, model or length of training than those
    given goes with them.

    Args:
      base: the fields of a recipe, or of the configuration of a run.
      given: fields and their new values.
    """
    dropped: dict[str, Any] = {}
    if "epochs" in given:
        dropped["train_steps"] = None
    if given.get("optimizer", base["optimizer"]) != base["optimizer"]:
        dropped |= {"beta_1": None, "beta_2": None, "weight_decay": None}
    if given.get("model", base["model"]) != base["model"]:
        dropped["width"] = None
    if given.get("loss", base["loss"]) != base["loss"]:
        dropped["label_smoothing"] = 0.0
    return {**base, **dropped, **given}
