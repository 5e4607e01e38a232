"""Functional-API models, by name. Logits out, channels last.

    model = build_model("cnn", activation="relu", dropout=0.5, seed=0)

Every model takes uint8 images `[N, 28, 28, 1]`, scales them to [0, 1] itself and
returns float32 logits `[N, num_classes]`. TensorFlow is imported when a model is
built, not before.
"""

from __future__ import annotations

import importlib
import typing

from mnist_lib import errors

if typing.TYPE_CHECKING:
    import keras

# Which options each model understands; the model's own defaults apply otherwise.
MODEL_OPTIONS: dict[str, tuple[str, ...]] = {
    "linear": (),
    "mlp": ("activation", "dropout"),
    "lenet5": ("activation", "pooling", "dropout"),
    "cnn": ("activation", "pooling", "dropout"),
    "fast_cnn": ("activation",),
}
ACTIVATION_NAMES = ("relu", "sigmoid", "tanh", "leaky_relu", "elu", "maxout")
POOLING_NAMES = ("max", "average")
PRECISION_NAMES = ("float32", "bfloat16", "float16")


def check_options(
    model: str, activation: str | None, pooling: str | None, dropout: float | None
) -> None:
    """Checks a model's name and options without building it; None: not given.

    Raises:
      ConfigError: a name that does not exist, or an option the model lacks.
    """
    _check_choice("model", model, MODEL_OPTIONS)
    options = {"activation": activation, "pooling": pooling, "dropout": dropout}
    for option, value in options.items():
        if value is not None and option not in MODEL_OPTIONS[model]:
            raise errors.ConfigError(
                option, f"model {model} has no {option}; leave it out or choose another model"
            )
    if activation is not None:
        _check_choice("activation", activation, ACTIVATION_NAMES)
    if pooling is not None:
        _check_choice("pooling", pooling, POOLING_NAMES)
    if dropout is not None and not 0 <= dropout < 1:
        raise errors.ConfigError("dropout", f"{dropout} is not a rate in [0, 1)")


def build_model(
    name: str,
    *,
    activation: str | None = None,
    pooling: str | None = None,
    dropout: float | None = None,
    num_classes: int = 10,
    seed: int = 0,
    mixed_precision: str = "float32",
) -> keras.Model:
    """Builds one of the library's models.

    Args:
      name: a key of `MODEL_OPTIONS`.
      activation: a name in `ACTIVATION_NAMES`; None for the model's own.
      pooling: a name in `POOLING_NAMES`; None for the model's own.
      dropout: rate before the output layer, in [0, 1); None for the model's own.
      num_classes: number of logits.
      seed: decides the initial weights and the dropout masks; any integer >= 0.
      mixed_precision: `"bfloat16"` or `"float16"` to compute in that and keep float32
        weights and logits; `"float32"` leaves Keras's dtype policy as it is.

    Returns:
      A `keras.Model`, uint8 `[N, 28, 28, 1]` to float32 logits `[N, num_classes]`.

    Raises:
      ConfigError: an unknown name, or an option that the model does not have.
    """
    check_options(name, activation, pooling, dropout)
    _check_choice("mixed_precision", mixed_precision, PRECISION_NAMES)
    import keras

    given = {"activation": activation, "pooling": pooling, "dropout": dropout}
    options = {option: value for option, value in given.items() if value is not None}
    build = getattr(importlib.import_module(f"mnist_lib.models.{name}"), f"build_{name}")
    policy = keras.config.dtype_policy()
    if mixed_precision != "float32":
        keras.config.set_dtype_policy(f"mixed_{mixed_precision}")
    try:
        return build(num_classes=num_classes, seed=seed, **options)
    finally:
        keras.config.set_dtype_policy(policy)


def _check_choice(field: str, value: str, choices) -> None:
    if value not in choices:
        raise errors.ConfigError(field, f"'{value}' is not one of {', '.join(choices)}")
