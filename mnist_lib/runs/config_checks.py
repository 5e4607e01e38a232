"""What a configuration must be like: types, names, ranges, combinations."""

from __future__ import annotations

import math
import numbers
import os
import typing

from mnist_lib import choices, errors, paths
from mnist_lib.datasets import catalog
from mnist_lib.distribution import division

TrainConfig = typing.Any  # `config.TrainConfig`, which is above: it calls this when it is made

# At least this, and below 2**31.
_LEAST = {
    "validation_size": 0,
    "train_size": 1,
    "width": 1,
    "weight_decay": 0,
    "batch_size": 1,
    "accumulation_steps": 1,
    "epochs": 1,
    "train_steps": 1,
    "seed": 0,
    "num_replicas": 0,
    "worker_timeout_seconds": 10,
    "worker_port": 1,
    "steps_per_loop": 1,
    "eval_every": 1,
    "checkpoint_every": 1,
    "warmup_steps": 0,
}
_ACCEPTED: dict[type, typing.Any] = {
    int: numbers.Integral,
    float: numbers.Real,
    str: (str, os.PathLike),
}
_KINDS = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}


def check(config: TrainConfig) -> None:
    """Checks a configuration; numbers of other libraries become Python's own.

    Raises:
      ConfigError: names the first field that cannot be used.
    """
    for field, hint in typing.get_type_hints(type(config)).items():
        object.__setattr__(config, field, _typed(field, hint, getattr(config, field)))
    for field in ("data_dir", "manual_dir", "init_from"):
        if (path := getattr(config, field)) is not None:
            paths.check(field, path)
    _check_choices(config)
    _check_ranges(config)
    _check_strategy(config)
    if config.dataset != choices.AUTO:  # which may become anyone's data, of any size
        check_counts(config)
    elif config.train_steps is not None:
        _check_warmup(config, config.train_steps)


def _typed(field: str, hint: typing.Any, value: typing.Any) -> typing.Any:
    """Returns `value` as what the field holds: `bool`, `int`, `float`, `str` or None."""
    kind, *optional = typing.get_args(hint) or (hint,)
    if value is None and optional:
        return None
    if isinstance(value, bool) or kind is bool:
        matches = isinstance(value, bool) and kind is bool
    else:
        matches = isinstance(value, _ACCEPTED[kind])
    if not matches:
        raise errors.ConfigError(field, f"{value!r} is not {_KINDS[kind]}")
    try:
        return os.fspath(value) if kind is str else kind(value)
    except OverflowError as error:
        raise errors.ConfigError(field, "is larger than what is computed with") from error


def _check_choices(config: TrainConfig) -> None:
    for field in choices.NAMES:
        value = getattr(config, field, None)
        if value is not None:
            choices.check(field, value)
    for field, options_of in (
        ("model", choices.MODEL_OPTIONS),
        ("optimizer", choices.OPTIMIZER_OPTIONS),
    ):
        options = {option for options in options_of.values() for option in options}
        given = {option: getattr(config, option) for option in sorted(options)}
        choices.check_options(field, getattr(config, field), given)


def _check_ranges(config: TrainConfig) -> None:
    for field, least in _LEAST.items():
        value = getattr(config, field)
        if value is not None and not least <= value < 2**31:
            raise errors.ConfigError(field, f"{value} must be at least {least} and below 2**31")
    for field in ("learning_rate", "clip_norm"):
        value = getattr(config, field)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise errors.ConfigError(field, f"{value} must be greater than 0")
    for field in ("dropout", "label_smoothing", "beta_1", "beta_2"):
        value = getattr(config, field)
        if value is not None and not 0 <= value < 1:
            raise errors.ConfigError(field, f"{value} is not in [0, 1)")
    if config.ema_momentum is not None and not 0 < config.ema_momentum < 1:
        raise errors.ConfigError("ema_momentum", f"{config.ema_momentum} is not in (0, 1)")
    profiled_steps(config.profile_steps)
    if config.label_smoothing and config.loss != "cross_entropy":
        raise errors.ConfigError(
            "label_smoothing", f"loss {config.loss} has none; choose cross_entropy"
        )


def _check_strategy(config: TrainConfig) -> None:
    if config.num_replicas > 1 and config.strategy in ("default", "one_device"):
        raise errors.ConfigError(
            "num_replicas",
            f"{config.num_replicas} replicas need the strategy mirrored, not {config.strategy}",
        )
    if config.num_replicas and config.strategy == "multi_worker_mirrored":
        raise errors.ConfigError(
            "num_replicas",
            "each worker of multi_worker_mirrored is one replica on a CPU; leave it out, and "
            "start more workers",
        )
    division.check_divides(
        config.batch_size, max(1, config.num_replicas), config.accumulation_steps
    )


def check_counts(config: TrainConfig) -> None:
    """Checks a configuration against the number of images in the catalogue.

    Raises:
      ConfigError: it asks for more than there are.
    """
    available = catalog.dataset_info(config.dataset).num_train
    if config.validation_size >= available:
        raise errors.ConfigError(
            "validation_size",
            f"{config.validation_size} leaves none of the {available} images to train on",
        )
    if config.train_size and config.train_size > available - config.validation_size:
        raise errors.ConfigError(
            "train_size",
            f"{config.train_size} is more than the {available - config.validation_size} images "
            "that are not held out for validation",
        )
    check_sizes(config, config.num_train_examples)


def check_sizes(config: TrainConfig, num_train_examples: int) -> None:
    """Checks a configuration against the images that are trained on.

    Raises:
      ConfigError: they are fewer than a batch, or the warm-up is as long as the run.
    """
    if config.batch_size > num_train_examples:
        raise errors.ConfigError(
            "batch_size",
            f"{config.batch_size} is larger than the {num_train_examples} training images",
        )
    _check_warmup(config, config.total_steps(num_train_examples))


def _check_warmup(config: TrainConfig, total_steps: int) -> None:
    if config.warmup_steps and config.warmup_steps >= total_steps:
        raise errors.ConfigError(
            "warmup_steps",
            f"{config.warmup_steps} must be less than the {total_steps} steps of the run",
        )


def profiled_steps(text: str | None) -> tuple[int, int] | None:
    """Returns between which steps a profile is taken; None: no profile is.

    Raises:
      ConfigError: the text is not two steps such as `20:30`.
    """
    if text is None:
        return None
    first, _, last = text.partition(":")
    if not (first.isdecimal() and last.isdecimal() and int(first) < int(last)):
        raise errors.ConfigError("profile_steps", f"{text!r} is not two steps such as 20:30")
    return int(first), int(last)
