"""Parts of a run that its user has made: what `config.json` cannot rebuild.

They are passed again whenever the run goes on, and compared with those it was started with.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import random
import re
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from mnist_lib import choices, errors, models
from mnist_lib.runs.callbacks import Callback
from mnist_lib.training import keras_internals, losses, own_metrics
from mnist_lib.training.trainer import Trainer

if typing.TYPE_CHECKING:
    from mnist_lib.runs.config import TrainConfig

# What Keras adds to the name of the second layer of a kind, and of the third.
_NUMBER = re.compile(r"_\d+(?=$|/)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class OwnParts:
    """Functions that make what a run is of, beside its configuration; None: as configured.

    Attributes:
      model: returns a new model, under the strategy's scope.
      optimizer: returns a new optimizer, likewise.
      loss: as for `Trainer`.
      metrics: returns metrics as for `Evaluator`, likewise.
      callbacks: called after each validation.
    """

    model: Callable[[], keras.Model] | None = None
    optimizer: Callable[[], keras.optimizers.Optimizer] | None = None
    loss: losses.Loss | None = None
    metrics: Callable[[], own_metrics.Metrics] | None = None
    callbacks: Sequence[Callback] = ()

    def __post_init__(self):
        for name, part in (
            ("model", self.model),
            ("optimizer", self.optimizer),
            ("metrics", self.metrics),
            *(("callbacks", callback) for callback in self.callbacks),
        ):
            is_keras = isinstance(part, keras.Model | keras.optimizers.Optimizer)
            if part is not None and (is_keras or not callable(part)):
                what = "takes the progress of a run" if name == "callbacks" else "makes it"
                raise errors.ConfigError(
                    name,
                    f"{type(part).__name__} is not a function; pass one that {what}: what has "
                    "variables is made under the strategy of the run",
                )

    @property
    def are_any(self) -> bool:
        """Whether any part of the computation is its user's own."""
        return any(part is not None for part in (self.model, self.optimizer, self.loss))

    def named_in(self, config: TrainConfig) -> TrainConfig:
        """Returns the configuration that says which parts are its user's own.

        Raises:
          ConfigError: an option is given for a part that does not take it; a part of the
            run is not passed.
        """
        given = {"model": self.model, "optimizer": self.optimizer, "loss": self.loss}
        changes: dict[str, Any] = {}
        for field, part in given.items():
            if part is not None and not isinstance(part, str):
                changes[field] = choices.OWN
            elif getattr(config, field) == choices.OWN and part is None:
                raise errors.ConfigError(
                    field, f"is the run's own, which no name can build; pass {field}= again"
                )
        if isinstance(self.loss, str):
            changes["loss"] = self.loss
        if "optimizer" in changes:  # what the recipe has for its own
            changes |= {"beta_1": None, "beta_2": None, "weight_decay": None}
            for field in ("clip_norm", "ema_momentum"):
                if getattr(config, field) is not None:
                    raise errors.ConfigError(
                        field, "is for an optimizer of the configuration; set it in optimizer="
                    )
        if changes.get("loss", config.loss) != "cross_entropy":
            changes["label_smoothing"] = 0.0
        return dataclasses.replace(config, **changes)

    def build_model(self, config: TrainConfig) -> keras.Model:
        """Builds the model, with the seed and the precision of the configuration in force.

        Raises:
          ConfigError: what the function returns is not a built Keras model.
        """
        assert self.model is not None
        with _seeded(config.seed), models.keras_settings(config.mixed_precision):
            model = self.model()
        if not isinstance(model, keras.Model) or not model.built:
            raise errors.ConfigError(
                "model",
                f"returned {model!r}; return a keras.Model that is built: give it an Input, or "
                "call it once on a batch",
            )
        return model

    def facts(self, trainer: Trainer) -> dict[str, Any]:
        """Returns what a run keeps of its own parts, as JSON takes it."""
        facts: dict[str, Any] = {}
        if self.model is not None:
            facts["model"] = _model_facts(trainer.model)
        if self.optimizer is not None:
            facts["optimizer"] = {
                "class": type(trainer.optimizer).__name__,
                "config_sha256": _config_sha256(trainer.optimizer),
            }
        if self.loss is not None:
            facts["loss"] = _described(self.loss)
        averages = keras_internals.moving_averages(
            trainer.optimizer, trainer.model.trainable_variables
        )
        return {"own_parts": facts, "averages_weights": bool(averages)}


def check_same(first: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Checks that the parts are those that a run was started with.

    Args:
      first, facts: what `OwnParts.facts` said then, and says now.

    Raises:
      ConfigError: names the part, and what of it differs.
    """
    now = facts["own_parts"]
    before = first.get("own_parts", now)  # nothing is known: it begins here
    for part in before.keys() | now.keys():
        ours, theirs = before.get(part), now.get(part)
        if ours != theirs:
            raise errors.ConfigError(
                part,
                f"is not what the run was started with: {_difference(ours, theirs)}; pass the "
                "same, or a new --workdir",
            )


def check_same_model(first: Mapping[str, Any], model: keras.Model) -> None:
    """Checks that a model is that of a run, of which `first` tells.

    Raises:
      ConfigError: says what differs.
    """
    ours = first.get("own_parts", {}).get("model")
    theirs = _model_facts(model)
    if ours is not None and ours != theirs:
        raise errors.ConfigError("model", f"is not that of the run: {_difference(ours, theirs)}")


def _model_facts(model: keras.Model) -> dict[str, Any]:
    # The layer and the variable: what stands before them depends on how a model was made.
    names = ["/".join(_plain(v.path).split("/")[-2:]) for v in model.variables]
    shapes = [
        [name, list(v.shape), str(v.dtype)] for name, v in zip(names, model.variables, strict=True)
    ]
    return {
        "num_parameters": model.count_params(),
        "variables_sha256": _sha256(shapes),
        "config_sha256": _config_sha256(model),
    }


def _difference(ours: Any, theirs: Any) -> str:
    if not isinstance(ours, Mapping) or not isinstance(theirs, Mapping):
        return f"{theirs or 'none'} against {ours or 'none'}"
    differing = [key for key in ours if ours[key] != theirs.get(key)]
    shown = (
        f"{key} {str(theirs.get(key))[:20]} against {str(ours[key])[:20]}" for key in differing
    )
    return ", ".join(shown)


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seeds what Keras's layers draw their seeds from; as it was afterwards."""
    before = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


def _config_sha256(thing: Any) -> str | None:
    """Returns the hash of a configuration; None if what its user wrote has none."""
    try:
        config = keras.saving.serialize_keras_object(thing)
        return _sha256(_without_numbers(config))
    except (NotImplementedError, TypeError, ValueError):
        return None


def _without_numbers(config: Any) -> Any:
    """Returns a configuration in which no name depends on what the process made before."""
    if isinstance(config, Mapping):
        return {key: _without_numbers(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [_without_numbers(value) for value in config]
    return _plain(config) if isinstance(config, str) else config


def _plain(name: str) -> str:
    return _NUMBER.sub("", name)


def _sha256(values: Any) -> str:
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _described(loss: losses.Loss) -> Any:
    if isinstance(loss, Mapping):
        return {str(key): _described(one) for key, one in loss.items()}
    if isinstance(loss, str):
        return loss
    if isinstance(loss, Sequence):
        return [_described(one) for one in loss]
    of_class = type(loss)
    return getattr(loss, "__qualname__", f"{of_class.__module__}.{of_class.__qualname__}")
