"""Which runs a study is made of: every setting with every seed, each in its own folder."""

from __future__ import annotations

import dataclasses
import itertools
import os
import pathlib
import re
import types
import typing
from collections.abc import Sequence
from typing import Any

from mnist_lib import choices, errors, paths
from mnist_lib.runs import config_checks, overview, recipes, run_directory
from mnist_lib.runs.config import TrainConfig, recipe
from mnist_lib.studies import requests
from mnist_lib.studies.requests import StudyRequest

_MOST_RUNS = 10_000
_SEEDS = re.compile(r"(\d{1,10}):(\d{1,10})")


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """A run of a study.

    Attributes:
      setting: what is varied, such as `"optimizer=adam,learning_rate=0.001"`; the name of the
        recipe if nothing is.
      config: all of it, with its seed.
      path: the run directory, `<workdir>/<setting>/seed-<seed>`.
    """

    setting: str
    config: TrainConfig
    path: pathlib.Path

    @property
    def name(self) -> str:
        """The part of its path that is its own."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def is_finished(self) -> bool:
        """Whether it has come to its end."""
        return run_directory.RunDirectory(self.path).read_results() is not None

    def has_state(self, state: str) -> bool:
        """Whether it is there and in a state of `overview`."""
        is_there = run_directory.RunDirectory(self.path).read_config() is not None
        return is_there and overview.look_at(self.path).state == state


def read_seeds(text: str) -> list[int]:
    """Reads `"0:10"`, of which the 10 is left out, or `"3,5,8"`.

    Raises:
      ConfigError: it is neither, has a seed twice, or none.
    """
    if match := _SEEDS.fullmatch(text):
        first, end = int(match[1]), int(match[2])
        seeds = list(range(first, min(end, first + _MOST_RUNS + 1)))
    else:
        numbers = text.split(",")
        seeds = [int(number) for number in numbers if re.fullmatch(r"\d{1,10}", number)]
        if len(seeds) != len(numbers):
            raise errors.ConfigError("seeds", f"{text!r} is neither like 0:10 nor like 3,5,8")
    if not seeds or len(set(seeds)) < len(seeds):
        raise errors.ConfigError("seeds", f"{text!r} has {'one twice' if seeds else 'none'}")
    return seeds


def read_vary(text: str) -> tuple[str, list[Any]]:
    """Reads `"learning_rate=1e-3,3e-3"`: a field of `TrainConfig` and its values.

    Of a field that may be None, `none` stands for that.

    Raises:
      ConfigError: there is no such field, or a value is not of its kind.
    """
    field, _, values = text.partition("=")
    hints = typing.get_type_hints(TrainConfig)
    choices.check("vary", field, hints)
    if not values:
        raise errors.ConfigError("vary", f"{text!r} has no values; pass {field}=one,other")
    found = [_value(field, hints[field], value) for value in values.split(",")]
    if any(found.index(value) < at for at, value in enumerate(found)):
        raise errors.ConfigError("vary", f"{text!r} has a value twice")
    return field, found


def _value(field: str, hint: Any, text: str) -> Any:
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if text == "none" and type(None) in kinds:
        return None
    try:
        return {"true": True, "false": False}[text] if kinds[0] is bool else kinds[0](text)
    except (KeyError, ValueError) as error:
        kind = "true or false" if kinds[0] is bool else f"of the kind {kinds[0].__name__}"
        raise errors.ConfigError("vary", f"{field}={text} is not {kind}") from error


def plan_runs(workdir: str | os.PathLike[str], request: StudyRequest) -> list[PlannedRun]:
    """Returns the runs of a study, seed after seed, so that all settings grow together.

    Args:
      workdir: the folder of the study.
      request: what it is asked for.

    Raises:
      ConfigError: a configuration cannot be used, or a folder holds a run of another one.
    """
    fields, vary, seeds = request.fields, request.vary, request.seeds
    top = paths.local("workdir", workdir, errors.OutputError)
    _check_fields(fields, vary)
    _check_goes_on(top, request)
    settings = [
        dict(zip(vary, values, strict=True)) for values in itertools.product(*vary.values())
    ]
    if len(settings) * len(seeds) > _MOST_RUNS:
        raise errors.ConfigError("seeds", f"more than {_MOST_RUNS} runs are asked for")
    planned = []
    for seed, setting in itertools.product(seeds, settings):
        given = {**fields, **setting, "seed": seed}
        name = request.recipe_name or recipes.recipe_of_model(given.get("model"))
        config = recipe(name, **given)
        config_checks.check_counts(config)
        label = ",".join(f"{field}={value}" for field, value in setting.items()) or name
        folder = re.sub(r"[^\w.,=+-]", "_", label)
        planned.append(PlannedRun(label, config, top / folder / f"seed-{seed}"))
    if len({run.path for run in planned}) < len(planned):
        raise errors.ConfigError("vary", "two settings would have one folder; use other values")
    _check_settings_differ(planned[: len(settings)])
    for run in planned:
        _check_same(run)
    return planned


def _check_fields(fields: dict[str, Any], vary: dict[str, list[Any]]) -> None:
    """Checks that what is varied can be, beside what is given."""
    hints = {"seed": "name seeds by seeds", "dataset": "make a study of each"}
    for field in vary:
        if field in fields:
            raise errors.ConfigError("vary", f"{field} is given, too; leave one of them out")
        if field in hints or field not in TrainConfig().common_fields():
            hint = hints.get(field, "no result depends on it")
            raise errors.ConfigError("vary", f"{field} is not varied: {hint}")
    given = {name for name, value in fields.items() if value is not None}
    if {"epochs", "train_steps"} <= given | set(vary):
        raise errors.ConfigError(
            "vary" if {"epochs", "train_steps"} & set(vary) else "train_steps",
            "epochs and train_steps both say how long to train; leave one of them out",
        )


def _check_settings_differ(runs: Sequence[PlannedRun]) -> None:
    """Checks that no two settings, of one seed, are the same under two names."""
    seen: dict[tuple[Any, ...], str] = {}
    for run in runs:
        fields = tuple(run.config.common_fields().items())
        if fields in seen:
            raise errors.ConfigError(
                "vary", f"{seen[fields]} and {run.setting} are the same; leave one out"
            )
        seen[fields] = run.setting


def _check_goes_on(top: pathlib.Path, request: StudyRequest) -> None:
    """Checks that a folder in which runs were begun is not of another study."""
    if next(top.glob("*/seed-*/config.json"), None) is None:
        return
    try:
        kept = requests.read_request(top)
    except errors.CorruptDataError:  # its error asks for a whole command, and this may be one
        return
    differing = None if kept is None else requests.difference(kept, request)
    if kept is not None and differing is not None:
        raise errors.ConfigError(
            "workdir",
            f"{top} holds a study of {differing} ({kept.command or 'made from Python'}); pass a "
            "new one, or name what that was started with",
        )


def _check_same(run: PlannedRun) -> None:
    """Checks that what is in the folder of a run, if anything, is that run."""
    directory = run_directory.RunDirectory(run.path)
    directory.check_usable()
    stored = directory.read_config()
    if stored is None:
        return
    ours, theirs = run.config.common_fields(), stored.common_fields()
    if ours["dataset"] == choices.AUTO:  # what it meant when the run was started
        ours["dataset"] = theirs["dataset"]
    differing = [name for name in ours if ours[name] != theirs[name]]
    if differing:
        name = differing[0]
        raise errors.ConfigError(
            "workdir",
            f"{run.path} holds a run with {name} {theirs[name]}, and {ours[name]} is asked for; "
            "pass a new one, or what the study was started with",
        )
