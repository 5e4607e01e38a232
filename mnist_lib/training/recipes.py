"""Named configurations. Explicit flags override single values of them."""

from __future__ import annotations

import dataclasses

from mnist_lib import errors
from mnist_lib.training.config import TrainConfig

RECIPES: dict[str, TrainConfig] = {
    "fast": TrainConfig(
        model="fast_cnn",
        label_smoothing=0.05,
        learning_rate=0.04,
        lr_schedule="one_cycle",
        beta_1=0.7,
        beta_2=0.9,
        batch_size=256,
        train_steps=270,
    ),
    "mlp": TrainConfig(model="mlp"),
    "cnn": TrainConfig(model="cnn"),
    "lenet5": TrainConfig(model="lenet5", epochs=10, lr_schedule="cosine"),
    "linear": TrainConfig(model="linear", epochs=20),
    "perceptron": TrainConfig(model="linear", loss="perceptron", epochs=20, lr_schedule="cosine"),
}
DEFAULT_RECIPE = "fast"


def recipe_of_model(model: str | None) -> str:
    """Returns the name of the first recipe of a model; of the default one without a model.

    A learning rate that suits one model may ruin another: whoever names a model and
    no recipe gets the model's own.
    """
    if model is None:
        return DEFAULT_RECIPE
    return next((name for name in RECIPES if RECIPES[name].model == model), DEFAULT_RECIPE)


def override(base: TrainConfig, given: dict) -> TrainConfig:
    """Returns `base` with some fields replaced.

    What `base` has for another optimizer, another loss or another length of training
    than those given goes with them.

    Args:
      base: a recipe, or the configuration of a run.
      given: fields and their new values.
    """
    dropped: dict = {}
    if "epochs" in given:
        dropped["train_steps"] = None
    if given.get("optimizer", base.optimizer) != base.optimizer:
        dropped |= {"beta_1": None, "beta_2": None, "weight_decay": None}
    if given.get("loss", base.loss) != base.loss:
        dropped["label_smoothing"] = 0.0
    return dataclasses.replace(base, **{**dropped, **given})


def recipe(name: str) -> TrainConfig:
    """Returns the configuration called `name`.

    Raises:
      ConfigError: there is none of that name.
    """
    if name not in RECIPES:
        raise errors.ConfigError("recipe", f"'{name}' is not one of {', '.join(RECIPES)}")
    return RECIPES[name]
