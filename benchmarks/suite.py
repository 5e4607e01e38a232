"""Several measurements in one report."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence

from benchmarks import (
    comparison,
    contenders,
    environment,
    input_cost,
    overhead,
    settings_cost,
    startup,
    summaries_cost,
    time_to_accuracy,
)

# Below the library's logger, whose lines the command shows.
_logger = logging.getLogger("mnist_lib.benchmarks")


@dataclasses.dataclass(frozen=True)
class Request:
    """What to measure; None: each measurement's own default.

    Attributes:
      contenders: keys of `contenders.CONTENDERS`; None for all that are installed.
      models, batch_sizes: `train` is done for each pair.
      settings_models: `settings` is done for each, at the first batch size.
      num_rounds: how often.
      steps_per_round: steps per turn of `train` and `settings`.
      time_recipes, startup_recipes, summaries_recipes: recipes of `time_to_accuracy`, of
        `startup` and of `summaries`.
      epochs: of the runs of `summaries`.
      target: accuracy of `time_to_accuracy`, in (0, 1].
      data_options: arguments of `load_dataset`.
      train_command: how `scripts/train.py` is called; for `startup`.
    """

    contenders: Sequence[str] | None = None
    models: Sequence[str] = ("mlp",)
    batch_sizes: Sequence[int] = (128,)
    settings_models: Sequence[str] = ("mlp",)
    num_rounds: int | None = None
    steps_per_round: int | None = None
    time_recipes: Sequence[str] = ("fast", "cnn")
    startup_recipes: Sequence[str] = ("fast", "mlp")
    summaries_recipes: Sequence[str] = ("fast",)
    epochs: int | None = None
    target: float = 0.99
    data_options: dict = dataclasses.field(default_factory=dict)
    train_command: Sequence[str] = ()

    def with_recipes(self, names: Sequence[str]) -> Request:
        """Returns the same with these recipes for all that trains recipes."""
        return dataclasses.replace(
            self, time_recipes=names, startup_recipes=names, summaries_recipes=names
        )


def measure(measures: Sequence[str], request: Request) -> dict:
    """Measures one thing after the other.

    Args:
      measures: keys of `MEASURES`.
      request: what to measure.

    Returns:
      `environment`; `left_out`, the contenders that are not installed, with the reason;
      and for each name in `measures` what it measured, lists for `train`, `settings` and
      `summaries`.

    Raises:
      ConfigError: something in the request that cannot be used.
      MnistLibError: a process failed, or a contender has not learned.
    """
    left_out: dict[str, str] = {}
    if request.contenders is None:
        names, left_out = contenders.installed(contenders.DEFAULT_CONTENDERS)
    else:
        names = list(request.contenders)
        contenders.check(names)
    if {"train", "time_to_accuracy"} & set(measures):
        for name, reason in left_out.items():
            _logger.info("%s is left out: %s", name, reason)
    report: dict = {"environment": environment.describe(), "left_out": left_out}
    for name in measures:
        report[name] = MEASURES[name](request, names)
    return report


def _train(request: Request, names: Sequence[str]) -> list[dict]:
    pairs = [(model, size) for model in request.models for size in request.batch_sizes]
    reports = []
    for model, batch_size in pairs:
        _logger.info("Training: %s, %d images per step", model, batch_size)
        options = _turn_options(request, model, batch_size)
        reports.append(comparison.compare(names, **options))
    return reports


def _settings(request: Request, names: Sequence[str]) -> list[dict]:
    reports = []
    for model in request.settings_models:
        _logger.info("Settings of the process: %s", model)
        options = _turn_options(request, model, request.batch_sizes[0])
        reports.append(settings_cost.measure_settings(**options))
    return reports


def _time_to_accuracy(request: Request, names: Sequence[str]) -> dict:
    peers = ["fit"] if request.contenders is None else _others(names)
    _logger.info("Time to accuracy: %s", ", ".join([*request.time_recipes, *peers]))
    return time_to_accuracy.measure_time_to_accuracy(
        request.time_recipes,
        peers,
        target=request.target,
        num_rounds=request.num_rounds or 1,
        data_options=request.data_options,
    )


def _overhead(request: Request, names: Sequence[str]) -> dict:
    _logger.info("Overhead of logging, validation and checkpoints")
    return overhead.measure_overhead("cnn", request.data_options)


def _summaries(request: Request, names: Sequence[str]) -> list[dict]:
    reports = []
    for recipe in request.summaries_recipes:
        _logger.info("Cost of summaries: %s", recipe)
        reports.append(
            summaries_cost.measure_summaries(
                recipe,
                epochs=request.epochs,
                num_rounds=request.num_rounds or 4,
                data_options=request.data_options,
            )
        )
    return reports


def _startup(request: Request, names: Sequence[str]) -> dict:
    _logger.info("Start-up: %s", ", ".join(request.startup_recipes))
    return startup.measure_startup(
        request.train_command, request.startup_recipes, request.num_rounds or 3
    )


def _input(request: Request, names: Sequence[str]) -> dict:
    return input_cost.measure_input(request.data_options)


MEASURES = {
    "train": _train,
    "time_to_accuracy": _time_to_accuracy,
    "overhead": _overhead,
    "summaries": _summaries,
    "startup": _startup,
    "settings": _settings,
    "input": _input,
}


def _others(names: Sequence[str]) -> list[str]:
    return [name for name in names if not contenders.CONTENDERS[name].is_ours]


def _turn_options(request: Request, model: str, batch_size: int) -> dict:
    return {
        "model": model,
        "batch_size": batch_size,
        "num_rounds": request.num_rounds or 5,
        "steps_per_round": request.steps_per_round,
        "data_options": request.data_options,
    }
