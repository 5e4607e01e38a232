"""Functional-API models, by name. Logits out, channels last.

    model = build_model("cnn", activation="relu", dropout=0.5, seed=0)

Every model takes uint8 images `[N, 28, 28, 1]`, scales them to [0, 1] itself and
returns float32 logits `[N, num_classes]`. TensorFlow is imported when a model is
built, not before.
"""

from __future__ import annotations

import importlib
import typing

from mnist_lib import choices, errors

if typing.TYPE_CHECKING:
    import keras


def check_options(
    model: str, activation: str | None, pooling: str | None, dropout: float | None
) -> None:
    """Checks a model's name and options without building it; None: not given.

    Raises:
      ConfigError: a name that does not exist, or an option the model lacks.
    """
    names = {"activation": activation, "pooling": pooling}
    choices.check_options("model", model, {**names, "dropout": dropout})
    for option, value in names.items():
        if value is not None:
            choices.check(option, value)
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
    mixed_precision: str | None = None,
) -> keras.Model:
    """Builds one of the library's models.

    Args:
      name: a key of `choices.MODEL_OPTIONS`.
      activation: a name in `choices.NAMES["activation"]`; None for the model's own.
      pooling: a name in `choices.NAMES["pooling"]`; None for the model's own.
      dropout: rate before the output layer, in [0, 1); None for the model's own.
      num_classes: number of logits.
      seed: decides the initial weights and the dropout masks; any integer >= 0.
      mixed_precision: `"bfloat16"` or `"float16"` to compute in that and keep float32
        weights and logits; `"float32"` for all; None leaves Keras's dtype policy as it is.

    Returns:
      A `keras.Model`, uint8 `[N, 28, 28, 1]` to float32 logits `[N, num_classes]`.

    Raises:
      ConfigError: an unknown name, or an option that the model does not have.
    """
    check_options(name, activation, pooling, dropout)
    if mixed_precision is not None:
        choices.check("mixed_precision", mixed_precision)
    import keras

    given = {"activation": activation, "pooling": pooling, "dropout": dropout}
    options = {option: value for option, value in given.items() if value is not None}
    build = getattr(importlib.import_module(f"mnist_lib.models.{name}"), f"build_{name}")
    before = keras.config.dtype_policy(), keras.config.image_data_format()
    if mixed_precision is not None:
        mixed = "" if mixed_precision == "float32" else "mixed_"
        keras.config.set_dtype_policy(f"{mixed}{mixed_precision}")
    keras.config.set_image_data_format("channels_last")
    try:
        return build(num_classes=num_classes, seed=seed, **options)
    finally:
        keras.config.set_dtype_policy(before[0])
        keras.config.set_image_data_format(before[1])
