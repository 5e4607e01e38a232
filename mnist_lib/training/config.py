"""The whole configuration of a run: frozen, validated, stored as JSON.

Defaults live here and nowhere else; the flags of the scripts read them from
`TrainConfig`. No TensorFlow is imported.
"""

from __future__ import annotations

import dataclasses
import json
import math
import typing

from mnist_lib import errors, models
from mnist_lib.datasets import catalog

STRATEGY_NAMES = ("default", "one_device", "mirrored", "multi_worker_mirrored")
OPTIMIZER_NAMES = ("sgd", "momentum", "adam", "adamw", "rmsprop")
SCHEDULE_NAMES = ("constant", "cosine", "one_cycle", "exponential")
AUGMENTATION_NAMES = ("none", "affine", "elastic", "cutout", "full")
LOSS_NAMES = ("cross_entropy", "perceptron", "hinge")
SUMMARY_NAMES = ("none", "scalars", "default", "full")

# Fields that do not change what is computed at a given step: a run may be resumed
# with other values of these.
FREE_TO_CHANGE = frozenset(
    {
        "data_dir",
        "manual_dir",
        "download",
        "steps_per_loop",
        "checkpoint_every",
        "summaries",
        "progress",
        "worker_timeout_seconds",
    }
)
# Of these, each worker of a run may have its own.
_FREE_FOR_EACH_WORKER = frozenset({"data_dir", "manual_dir", "download", "progress"})
_REPLICA_FIELDS = frozenset({"strategy", "num_replicas"})


def _why_not(name: str) -> str:
    """Returns the reason, where a name that people ask for is not supported."""
    if "parameter" in name or name == "ps":
        return "; Keras 3 does not support parameter servers, use multi_worker_mirrored"
    return ""


def check_choice(field: str, value: str, names) -> None:
    """Checks that a value is one of those there are.

    Raises:
      ConfigError: it is not; with the reason, where people may expect it.
    """
    if value not in names:
        raise errors.ConfigError(
            field, f"'{value}' is not one of {', '.join(names)}{_why_not(value)}"
        )


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a run; validated when it is made.

    Attributes:
      dataset: a name in `catalog.DATASET_NAMES`.
      data_dir: where TFDS keeps prepared data; None for `~/tensorflow_datasets`.
      manual_dir: a folder with the four original files; None for none.
      download: whether the original files may be downloaded.
      validation_size: training images that are held out; 0 trains on all.
      train_size: how many of the others are used, stratified; None for all.
      augmentation: a name in `AUGMENTATION_NAMES`.
      model: a key of `models.MODEL_OPTIONS`.
      activation: a name in `models.ACTIVATION_NAMES`; None for the model's own.
      pooling: a name in `models.POOLING_NAMES`; None for the model's own.
      dropout: rate in [0, 1); None for the model's own.
      loss: a name in `LOSS_NAMES`.
      label_smoothing: share of the label's probability that is spread over all classes,
        in [0, 1), for the cross-entropy that is trained on; evaluation uses none.
      optimizer: a name in `OPTIMIZER_NAMES`.
      learning_rate: the peak of the schedule, greater than 0.
      lr_schedule: a name in `SCHEDULE_NAMES`.
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
      strategy: a name in `STRATEGY_NAMES`.
      num_replicas: logical devices to split one CPU into; 0: the real devices.
      worker_timeout_seconds: how long the workers of multi_worker_mirrored wait for each
        other at the start, and after which a lost one ends the others; at least 10.
      steps_per_loop: steps between two looks of Python at the loop.
      eval_every: steps between two validations; None for once per epoch.
      checkpoint_every: steps between two checkpoints; None for once per epoch.
      summaries: a name in `SUMMARY_NAMES`.
      deterministic: use only deterministic operations. It is a setting of the process
        and applied by the scripts; from Python call `runtime.make_deterministic`.
      jit_compile: compile the model with XLA.
      mixed_precision: a name in `models.PRECISION_NAMES`.
      progress: show a progress bar when standard error is a terminal.
    """

    dataset: str = catalog.AUTO
    data_dir: str | None = None
    manual_dir: str | None = None
    download: bool = True
    validation_size: int = 5000
    train_size: int | None = None
    augmentation: str = "none"
    model: str = "mlp"
    activation: str | None = None
    pooling: str | None = None
    dropout: float | None = None
    loss: str = "cross_entropy"
    label_smoothing: float = 0.0
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    lr_schedule: str = "constant"
    warmup_steps: int | None = None
    weight_decay: float | None = None
    beta_1: float | None = None
    beta_2: float | None = None
    clip_norm: float | None = None
    ema_momentum: float | None = None
    batch_size: int = 128
    accumulation_steps: int = 1
    epochs: int = 5
    train_steps: int | None = None
    seed: int = 0
    strategy: str = "mirrored"
    num_replicas: int = 0
    worker_timeout_seconds: int = 60
    steps_per_loop: int = 50
    eval_every: int | None = None
    checkpoint_every: int | None = None
    summaries: str = "default"
    deterministic: bool = True
    jit_compile: bool = False
    mixed_precision: str = "float32"
    progress: bool = True

    def __post_init__(self):
        self._check_choices()
        self._check_ranges()
        self._check_combinations()

    @property
    def num_train_examples(self) -> int:
        """Images trained on, by the catalogue's count."""
        available = catalog.dataset_info(self.dataset).num_train - self.validation_size
        return available if self.train_size is None else self.train_size

    def steps_per_epoch(self, num_examples: int) -> int:
        """Steps after which `num_examples` images have all been used once."""
        return math.ceil(num_examples / self.batch_size)

    def total_steps(self, num_examples: int) -> int:
        """Steps of the whole run, for that many training images."""
        if self.train_steps is not None:
            return self.train_steps
        return math.ceil(self.epochs * num_examples / self.batch_size)

    def to_json(self) -> str:
        """Returns the configuration as indented JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> TrainConfig:
        """Reads what `to_json` wrote.

        Raises:
          ConfigError: not such a text, or a value in it cannot be used.
        """
        try:
            values = dict(**json.loads(text))
            unknown = set(values) - {field.name for field in dataclasses.fields(cls)}
        except (ValueError, TypeError) as error:
            raise errors.ConfigError("config.json", f"not a configuration ({error})") from error
        if unknown:
            raise errors.ConfigError(
                "config.json",
                f"unknown fields {', '.join(sorted(unknown))}; it was written by another "
                "version of mnist_lib",
            )
        return cls(**values)

    def common_fields(self) -> dict:
        """Returns what all workers of a run must have alike."""
        fields = dataclasses.asdict(self)
        return {name: fields[name] for name in fields if name not in _FREE_FOR_EACH_WORKER}

    def check_resumable_as(self, other: TrainConfig, *, allow_other_replicas: bool = False) -> None:
        """Checks that a run of this configuration may go on as `other`.

        Args:
          other: the configuration asked for.
          allow_other_replicas: whether strategy and number of replicas may differ.

        Raises:
          ConfigError: names the first field that differs and may not.
        """
        free = FREE_TO_CHANGE | (_REPLICA_FIELDS if allow_other_replicas else frozenset())
        for field in dataclasses.fields(self):
            ours, theirs = getattr(self, field.name), getattr(other, field.name)
            if ours != theirs and field.name not in free:
                remedy = "pass a new --workdir, or leave this out to go on as before"
                if field.name in _REPLICA_FIELDS:
                    remedy += ", or pass --allow_other_replicas"
                raise errors.ConfigError(
                    field.name,
                    f"is {theirs}, but the run in --workdir was started with {ours}; {remedy}",
                )

    def _check_choices(self) -> None:
        choices = {
            "dataset": catalog.DATASET_NAMES,
            "augmentation": AUGMENTATION_NAMES,
            "loss": LOSS_NAMES,
            "optimizer": OPTIMIZER_NAMES,
            "lr_schedule": SCHEDULE_NAMES,
            "strategy": STRATEGY_NAMES,
            "summaries": SUMMARY_NAMES,
            "mixed_precision": models.PRECISION_NAMES,
        }
        for field, names in choices.items():
            check_choice(field, getattr(self, field), names)
        models.check_options(self.model, self.activation, self.pooling, self.dropout)

    def _check_ranges(self) -> None:
        minimum = {
            "validation_size": 0,
            "train_size": 1,
            "weight_decay": 0,
            "batch_size": 1,
            "accumulation_steps": 1,
            "epochs": 1,
            "train_steps": 1,
            "seed": 0,
            "num_replicas": 0,
            "worker_timeout_seconds": 10,
            "steps_per_loop": 1,
            "eval_every": 1,
            "checkpoint_every": 1,
            "warmup_steps": 0,
        }
        types = typing.get_type_hints(type(self))
        for field, lowest in minimum.items():
            value = getattr(self, field)
            if value is None:
                continue
            if float not in (types[field], *typing.get_args(types[field])) and (
                isinstance(value, bool) or not isinstance(value, int)
            ):
                raise errors.ConfigError(field, f"{value!r} is not a whole number")
            if not lowest <= value < 2**31:
                raise errors.ConfigError(
                    field, f"{value} must be at least {lowest} and below 2**31"
                )
        for field in ("learning_rate", "clip_norm"):
            value = getattr(self, field)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise errors.ConfigError(field, f"{value} must be greater than 0")
        for field in ("label_smoothing", "beta_1", "beta_2"):
            value = getattr(self, field)
            if value is not None and not 0 <= value < 1:
                raise errors.ConfigError(field, f"{value} is not in [0, 1)")
        if self.ema_momentum is not None and not 0 < self.ema_momentum < 1:
            raise errors.ConfigError("ema_momentum", f"{self.ema_momentum} is not in (0, 1)")

    def _check_combinations(self) -> None:
        available = catalog.dataset_info(self.dataset).num_train
        if self.validation_size >= available:
            raise errors.ConfigError(
                "validation_size",
                f"{self.validation_size} leaves none of the {available} images to train on",
            )
        if self.train_size and self.train_size > available - self.validation_size:
            raise errors.ConfigError(
                "train_size",
                f"{self.train_size} is more than the {available - self.validation_size} images "
                "that are not held out for validation",
            )
        if self.batch_size > self.num_train_examples:
            raise errors.ConfigError(
                "batch_size",
                f"{self.batch_size} is larger than the {self.num_train_examples} training images",
            )
        if self.num_replicas > 1 and self.strategy in ("default", "one_device"):
            raise errors.ConfigError(
                "num_replicas",
                f"{self.num_replicas} replicas need --strategy=mirrored, not {self.strategy}",
            )
        if self.num_replicas and self.strategy == "multi_worker_mirrored":
            raise errors.ConfigError(
                "num_replicas",
                "each worker of multi_worker_mirrored is one replica on a CPU; leave it out, and "
                "start more workers",
            )
        if self.num_replicas and self.batch_size % self.num_replicas:
            raise errors.ConfigError(
                "batch_size",
                f"{self.batch_size} cannot be divided among {self.num_replicas} replicas; "
                f"try {self.batch_size - self.batch_size % self.num_replicas or self.num_replicas}",
            )
        if self.batch_size % (self.accumulation_steps * max(1, self.num_replicas)):
            raise errors.ConfigError(
                "accumulation_steps",
                f"{self.accumulation_steps} parts do not divide the "
                f"{self.batch_size // max(1, self.num_replicas)} images of a replica",
            )
        if self.label_smoothing and self.loss != "cross_entropy":
            raise errors.ConfigError(
                "label_smoothing", f"loss {self.loss} has none; choose --loss=cross_entropy"
            )
        total_steps = self.total_steps(self.num_train_examples)
        if self.warmup_steps and self.warmup_steps >= total_steps:
            raise errors.ConfigError(
                "warmup_steps",
                f"{self.warmup_steps} must be less than the {total_steps} steps of the run",
            )
        if self.weight_decay is not None and self.optimizer != "adamw":
            raise errors.ConfigError(
                "weight_decay", f"optimizer {self.optimizer} has none; choose --optimizer=adamw"
            )
        for field in ("beta_1", "beta_2"):
            if getattr(self, field) is not None and self.optimizer not in ("adam", "adamw"):
                raise errors.ConfigError(
                    field, f"optimizer {self.optimizer} has none; choose --optimizer=adam"
                )
