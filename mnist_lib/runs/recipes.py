"""Named configurations, as the fields that each of them decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What a recipe decides unless it says otherwise; the lecture's Softmax network uses it as it is.
_PLAIN = {
    "model": "mlp",
    "loss": "cross_entropy",
    "label_smoothing": 0.0,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "lr_schedule": "constant",
    "beta_1": None,
    "beta_2": None,
    "batch_size": 128,
    "epochs": 5,
    "train_steps": None,
    "steps_per_loop": 50,
    "eval_every": None,
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
}
DEFAULT_RECIPE = "fast"


def recipe_of_model(model: str | None) -> str:
    """Returns the name of the first recipe of a model; of the default one without a model.

    A learning rate that suits one model may ruin another: whoever names a model and
    no recipe gets the model's own.
    """
    names = (name for name in RECIPES if RECIPES[name]["model"] == model)
    return next(names, DEFAULT_RECIPE)


def override(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of `base` with some replaced.

    What `base` has for another optimizer, another loss or another length of training
    than those given goes with them.

    Args:
      base: the fields of a recipe, or of the configuration of a run.
      given: fields and their new values.
    """
    dropped: dict[str, Any] = {}
    if "epochs" in given:
        dropped["train_steps"] = None
    if given.get("optimizer", base["optimizer"]) != base["optimizer"]:
        dropped |= {"beta_1": None, "beta_2": None, "weight_decay": None}
    if given.get("loss", base["loss"]) != base["loss"]:
        dropped["label_smoothing"] = 0.0
    return {**base, **dropped, **given}
