"""Functional-API models, by name. Logits out, channels last.

    model = build_model("cnn", activation="relu", dropout=0.5, seed=0)

Every model takes uint8 images, MNIST's `[N, 28, 28, 1]` or others, scales them to [0, 1] itself and
returns float32 logits `[N, num_classes]`. TensorFlow is imported when a model is
built, not before.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
import typing
from collections.abc import Iterator

from mnist_lib import choices, errors, runtime

if typing.TYPE_CHECKING:
    import keras

# Of Keras's settings some are those of all threads.
_keras_settings_lock = threading.RLock()


# The modules of models that are not alone in theirs.
_MODULES = dict.fromkeys(("m3", "m5", "m7"), "unpooled_cnns")


def check_options(
    model: str,
    activation: str | None,
    pooling: str | None,
    dropout: float | None,
    width: int | None,
) -> None:
    """Checks a model's name and options without building it; None: not given.

    Raises:
      ConfigError: a name that does not exist, or an option the model lacks.
    """
    names = {"activation": activation, "pooling": pooling}
    choices.check_options("model", model, {**names, "dropout": dropout, "width": width})
    for option, value in names.items():
        if value is not None:
            choices.check(option, value)
    if dropout is not None and not 0 <= dropout < 1:
        raise errors.ConfigError("dropout", f"{dropout} is not a rate in [0, 1)")
    if width is not None and not 1 <= width < 2**15:
        raise errors.ConfigError("width", f"{width} must be at least 1 and below 2**15")


def build_model(
    name: str,
    *,
    activation: str | None = None,
    pooling: str | None = None,
    dropout: float | None = None,
    width: int | None = None,
    num_classes: int = 10,
    image_shape: tuple[int, int, int] = (28, 28, 1),
    seed: int = 0,
    mixed_precision: str | None = None,
) -> keras.Model:
    """Builds one of the library's models.

    Args:
      name: a key of `choices.MODEL_OPTIONS`.
      activation: a name in `choices.NAMES["activation"]`; None for the model's own.
      pooling: a name in `choices.NAMES["pooling"]`; None for the model's own.
      dropout: rate before the output layer, in [0, 1); None for the model's own.
      width: filters of the first layer, on which those of the others depend, at least 1;
        None for the model's own.
      num_classes: number of logits.
      image_shape: height, width and channels of the images.
      seed: decides the initial weights and the dropout masks; any integer >= 0.
      mixed_precision: `"bfloat16"` or `"float16"` to compute in that and keep float32
        weights and logits; `"float32"` for all; None leaves Keras's dtype policy as it is.

    Returns:
      A `keras.Model`, uint8 `[N, H, W, C]` to float32 logits `[N, num_classes]`.

    Raises:
      ConfigError: an unknown name, an option that the model does not have, or images that
        are too small for it.
    """
    check_options(name, activation, pooling, dropout, width)
    if mixed_precision is not None:
        choices.check("mixed_precision", mixed_precision)
    if len(image_shape) != 3 or min(image_shape) < 1:
        raise errors.ConfigError(
            "image_shape", f"{list(image_shape)} is not height, width and channels"
        )
    runtime.check_not_forked()
    given = {"activation": activation, "pooling": pooling, "dropout": dropout, "width": width}
    options = {option: value for option, value in given.items() if value is not None}
    build = getattr(
        importlib.import_module(f"mnist_lib.models.{_MODULES.get(name, name)}"), f"build_{name}"
    )
    with keras_settings(mixed_precision):
        try:
            return build(
                num_classes=num_classes, image_shape=tuple(image_shape), seed=seed, **options
            )
        except ValueError as error:  # Keras's, of a layer that would leave nothing
            raise errors.ConfigError(
                "image_shape", f"{list(image_shape)} is too small for {name}; give larger images"
            ) from error


@contextlib.contextmanager
def keras_settings(mixed_precision: str | None) -> Iterator[None]:
    """Has layers that are made take channels last, and a precision; then all is as before.

    Args:
      mixed_precision: as for `build_model`.
    """
    import keras

    with _keras_settings_lock:
        before = keras.config.dtype_policy(), keras.config.image_data_format()
        if mixed_precision is not None:
            mixed = "" if mixed_precision == "float32" else "mixed_"
            keras.config.set_dtype_policy(f"{mixed}{mixed_precision}")
        keras.config.set_image_data_format("channels_last")
        try:
            yield
        finally:
            keras.config.set_dtype_policy(before[0])
            keras.config.set_image_data_format(before[1])
