"""The whole configuration of a run: frozen, validated, stored as JSON.

    config = recipe("cnn", epochs=1, seed=3)

Each default is a field's own, or the recipe's; the flags of the commands read them from
here. No TensorFlow is imported.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
from typing import Any

from mnist_lib import bounded, choices, errors
from mnist_lib.datasets import catalog
from mnist_lib.runs import config_checks, recipes


class _FromRecipe:
    """Stands for a value that the recipe of the model decides."""

    def __repr__(self) -> str:
        return "from the recipe"


FROM_RECIPE: Any = _FromRecipe()

# Each worker of a run may have its own of these.
_FREE_FOR_EACH_WORKER = frozenset({"data_dir", "manual_dir", "download", "progress"})
_SHOWN = frozenset({"profile_steps", "summaries", "worker_timeout_seconds", "worker_port"})


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a run; validated when it is made.

    What is left out and has no default of its own comes from the recipe of the model:
    `TrainConfig(model="lenet5")` is `recipe("lenet5")`, and `TrainConfig()` the default.

    Attributes:
      dataset: a name in `choices.NAMES["dataset"]`.
      data_dir: where TFDS keeps prepared data; None for `~/tensorflow_datasets`.
      manual_dir: a folder with the four original files; None for none.
      download: whether the original files may be downloaded.
      validation_size: training images that are held out; 0 trains on all.
      train_size: how many of the others are used, stratified; None for all.
      augmentation: a name in `choices.NAMES["augmentation"]`.
      model: a key of `choices.MODEL_OPTIONS`.
      activation: a name in `choices.NAMES["activation"]`; None for the model's own.
      init_from: the run, or the `.keras` file, whose weights it begins with; None for
        weights drawn by the seed.
      init_without_head: leave out of `init_from` the last layer if it is of another size.
      pooling: a name in `choices.NAMES["pooling"]`; None for the model's own.
      dropout: rate in [0, 1); None for the model's own.
      width: filters of the first layer, at least 1; None for the model's own.
      loss: a name in `choices.NAMES["loss"]`.
      label_smoothing: share of the label's probability that is spread over all classes,
        in [0, 1), for the cross-entropy that is trained on; evaluation uses none.
      optimizer: a name in `choices.NAMES["optimizer"]`.
      learning_rate: the peak of the schedule, greater than 0.
      lr_schedule: a name in `choices.NAMES["lr_schedule"]`.
      warmup_steps: steps of linear warm-up; None: 30 % of a one_cycle, else none.
      weight_decay: decoupled weight decay of adamw, at least 0; None for 0.004.
      beta_1, beta_2: momenta of the first and second moment of adam and adamw, in
        [0, 1); None for 0.9 and 0.999.
      clip_norm: largest norm of the gradient of the global batch, greater than 0; None
        for no limit.
      ema_momentum: momentum of the moving average of the weights, in (0, 1). If it is
        kept, it is what is evaluated, predicted with and compared for `best/`; None: it
        is not.
      batch_size: the global batch size.
      accumulation_steps: equal parts in which each replica sees its rows of the batch.
      epochs: passes over the training images, if `train_steps` is None.
      train_steps: optimizer steps; None derives them from `epochs`.
      seed: decides weights, order and dropout, in [0, 2**31).
      strategy: a name in `choices.NAMES["strategy"]`.
      num_replicas: logical devices to split one CPU into; 0: the real devices.
      worker_timeout_seconds: how long the workers of multi_worker_mirrored wait for each
        other at the start, and after which a lost one ends the others; at least 10.
      worker_port: under Slurm, the port of the first worker of each node, in [1, 2**16); None
        for one that the numbers of job and step decide.
      steps_per_loop: steps between two looks of Python at the loop.
      eval_every: steps between two validations; None for once per epoch.
      checkpoint_every: steps between two checkpoints; None for an epoch, or as many epochs as
        make `steps_per_loop` steps.
      profile_steps: `"20:30"` records what steps 21 to 30 do, for TensorBoard's profiler; None
        for none.
      summaries: a name in `choices.NAMES["summaries"]`.
      deterministic: whether to use only deterministic operations, while the run lasts.
      jit_compile: compile the model with XLA.
      mixed_precision: a name in `choices.NAMES["mixed_precision"]`.
      progress: show a progress bar when standard error is a terminal.
    """

    dataset: str = choices.AUTO
    data_dir: str | None = None
    manual_dir: str | None = None
    download: bool = True
    validation_size: int = 5000
    train_size: int | None = FROM_RECIPE
    augmentation: str = FROM_RECIPE
    model: str = FROM_RECIPE
    activation: str | None = None
    pooling: str | None = None
    dropout: float | None = None
    width: int | None = FROM_RECIPE
    init_from: str | None = None
    init_without_head: bool = False
    loss: str = FROM_RECIPE
    label_smoothing: float = FROM_RECIPE
    optimizer: str = FROM_RECIPE
    learning_rate: float = FROM_RECIPE
    lr_schedule: str = FROM_RECIPE
    warmup_steps: int | None = None
    weight_decay: float | None = FROM_RECIPE
    beta_1: float | None = FROM_RECIPE
    beta_2: float | None = FROM_RECIPE
    clip_norm: float | None = None
    ema_momentum: float | None = FROM_RECIPE
    batch_size: int = FROM_RECIPE
    accumulation_steps: int = 1
    epochs: int = FROM_RECIPE
    train_steps: int | None = FROM_RECIPE
    seed: int = 0
    strategy: str = "mirrored"
    num_replicas: int = 0
    worker_timeout_seconds: int = 60
    worker_port: int | None = None
    steps_per_loop: int = FROM_RECIPE
    eval_every: int | None = FROM_RECIPE
    checkpoint_every: int | None = FROM_RECIPE
    summaries: str = "default"
    profile_steps: str | None = None
    deterministic: bool = True
    jit_compile: bool = False
    mixed_precision: str = "float32"
    progress: bool = True

    def __post_init__(self):
        given = {
            field.name: value
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) is not FROM_RECIPE
        }
        base = recipes.RECIPES[recipes.recipe_of_model(given.get("model"))]
        for name, value in recipes.override(base, given).items():
            object.__setattr__(self, name, value)
        config_checks.check(self)

    @property
    def num_train_examples(self) -> int:
        """Images trained on, by the catalogue's count."""
        available = catalog.dataset_info(self.dataset).num_train - self.validation_size
        return available if self.train_size is None else self.train_size

    def steps_per_epoch(self, num_examples: int) -> int:
        """Steps after which `num_examples` images have all been used once."""
        return math.ceil(num_examples / self.batch_size)

    def steps_between_checkpoints(self, num_examples: int) -> int:
        """Steps after which a run on that many images saves, each time."""
        if self.checkpoint_every is not None:
            return self.checkpoint_every
        # Of few images an epoch is a step or two, which take less time than a save.
        epoch = self.steps_per_epoch(num_examples)
        return math.ceil(self.steps_per_loop / epoch) * epoch

    def total_steps(self, num_examples: int) -> int:
        """Steps of the whole run, for that many training images."""
        if self.train_steps is not None:
            return self.train_steps
        return math.ceil(self.epochs * num_examples / self.batch_size)

    def to_json(self) -> str:
        """Returns the configuration as indented JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> TrainConfig:
        """Reads what `to_json` wrote.

        Raises:
          ConfigError: not such a text, or a value in it cannot be used.
        """
        try:
            values = bounded.parse_object(text)
        except ValueError as error:
            raise errors.ConfigError("config.json", f"not a configuration ({error})") from error
        unknown = set(values) - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise errors.ConfigError(
                "config.json",
                f"unknown fields {', '.join(sorted(unknown))}; it was written by another "
                "version of mnist_lib",
            )
        return cls(**values)

    def differences(self) -> dict[str, bool | int | float | str]:
        """Returns the model, and what is not as its recipe has it.

        Without where data comes from and what is shown; None is left out.
        """
        base = dataclasses.asdict(recipe(recipes.recipe_of_model(self.model)))
        return {
            name: value
            for name, value in dataclasses.asdict(self).items()
            if value is not None
            and (value != base[name] or name == "model")
            and name not in _FREE_FOR_EACH_WORKER | _SHOWN
        }

    def common_fields(self) -> dict:
        """Returns what all workers of a run must have alike."""
        fields = dataclasses.asdict(self)
        return {name: fields[name] for name in fields if name not in _FREE_FOR_EACH_WORKER}


def recipe(name: str, **overrides: Any) -> TrainConfig:
    """Returns the configuration called `name`, with some fields replaced.

    Args:
      name: a key of `recipes.RECIPES`.
      **overrides: fields of `TrainConfig`. What the recipe has for another optimizer, loss
        or length of training than those given goes with them.

    Raises:
      ConfigError: there is none of that name, no such field, or a value cannot be used.
    """
    choices.check("recipe", name, recipes.RECIPES)
    return with_fields(recipes.RECIPES[name], overrides)


def with_fields(base: dict[str, Any], overrides: dict[str, Any]) -> TrainConfig:
    """Returns the configuration of some fields, with others in their place.

    Raises:
      ConfigError: there is no such field, or a value cannot be used.
    """
    names = [field.name for field in dataclasses.fields(TrainConfig)]
    for name in overrides:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise errors.ConfigError(name, f"is no field of a configuration{hint}")
    return TrainConfig(**recipes.override(base, overrides))
