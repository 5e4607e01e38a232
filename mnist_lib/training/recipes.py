"""Named configurations. Explicit flags override single values of them."""

from __future__ import annotations

from mnist_lib import errors
from mnist_lib.training.config import TrainConfig

RECIPES: dict[str, TrainConfig] = {
    "mlp": TrainConfig(model="mlp"),
    "cnn": TrainConfig(model="cnn"),
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
    "lenet5": TrainConfig(model="lenet5", epochs=10, lr_schedule="cosine"),
    "linear": TrainConfig(model="linear", epochs=20),
    "perceptron": TrainConfig(model="linear", loss="perceptron", epochs=20, lr_schedule="cosine"),
}
DEFAULT_RECIPE = "mlp"


def recipe(name: str) -> TrainConfig:
    """Returns the configuration called `name`.

    Raises:
      ConfigError: there is none of that name.
    """
    if name not in RECIPES:
        raise errors.ConfigError("recipe", f"'{name}' is not one of {', '.join(RECIPES)}")
    return RECIPES[name]
