"""The flags of the scripts, and how they become a `TrainConfig`.

Defaults are read from the recipes and from `TrainConfig`; none is written here.
"""

from __future__ import annotations

import dataclasses
import typing

from absl import flags

from mnist_lib import errors, models
from mnist_lib.datasets import catalog
from mnist_lib.runs import config as configs
from mnist_lib.runs import recipes, run_directory

flags.disclaim_key_flags()  # --help shows them as flags of the script

FLAGS = flags.FLAGS
_DATA_FIELDS = ("dataset", "data_dir", "manual_dir", "download")


def _names(names) -> str:
    return " | ".join(names)


_HELP = {
    "dataset": _names(catalog.DATASET_NAMES),
    "data_dir": "where TFDS keeps prepared data (default: ~/tensorflow_datasets)",
    "manual_dir": "folder with the original files: four .gz, the same unpacked, or <name>.npz",
    "download": "download the original files if nothing else has them",
    "validation_size": "training images held out for validation; 0 trains on all",
    "train_size": "training images to use, a stratified choice (default: all)",
    "augmentation": f"random changes of the training images: {_names(configs.AUGMENTATION_NAMES)}",
    "model": _names(models.MODEL_OPTIONS),
    "activation": f"{_names(models.ACTIVATION_NAMES)} (default: the model's own)",
    "pooling": f"{_names(models.POOLING_NAMES)} (default: the model's own)",
    "dropout": "rate before the output layer, in [0, 1) (default: the model's own)",
    "loss": _names(configs.LOSS_NAMES),
    "label_smoothing": "share of the label's probability spread over all classes, in [0, 1)",
    "optimizer": _names(configs.OPTIMIZER_NAMES),
    "learning_rate": "peak of the schedule",
    "lr_schedule": _names(configs.SCHEDULE_NAMES),
    "warmup_steps": "steps of warm-up (default: 30 % of a one_cycle, none otherwise)",
    "weight_decay": "decoupled weight decay of --optimizer=adamw (default: 0.004)",
    "beta_1": "momentum of the gradient's mean in adam and adamw (default: 0.9)",
    "beta_2": "momentum of the gradient's square in adam and adamw (default: 0.999)",
    "clip_norm": "largest norm of the global gradient (default: no limit)",
    "ema_momentum": "evaluate a moving average of the weights, with this momentum (default: none)",
    "batch_size": "images per step, on all replicas together",
    "accumulation_steps": "parts in which each replica sees its images; the same step, less memory",
    "epochs": "passes over the training images",
    "train_steps": "optimizer steps; instead of --epochs",
    "seed": "decides initial weights, order and dropout",
    "strategy": _names(configs.STRATEGY_NAMES),
    "num_replicas": "logical devices to split one CPU into, for trying out replicas (0: the real)",
    "worker_timeout_seconds": "seconds in which workers must join, and a lost one is noticed",
    "steps_per_loop": "steps between two looks at the loop: logging, signals",
    "eval_every": "steps between two validations (default: an epoch)",
    "checkpoint_every": "steps between two checkpoints (default: an epoch)",
    "summaries": f"what TensorBoard shows: {_names(configs.SUMMARY_NAMES)}",
    "deterministic": "use deterministic operations only",
    "jit_compile": "compile the model with XLA (slows convolutions on a CPU down)",
    "mixed_precision": _names(models.PRECISION_NAMES),
    "progress": "show a progress bar on a terminal",
}


def define_data_flags() -> None:
    """Defines the flags that say where data comes from."""
    _define_fields(_DATA_FIELDS)


def define_train_flags() -> None:
    """Defines one flag per field of `TrainConfig`, and those of the run."""
    _define_fields([field.name for field in dataclasses.fields(configs.TrainConfig)])
    flags.DEFINE_string("workdir", None, "run directory; resumes the run in it, if there is one")
    flags.DEFINE_string(
        "recipe",
        None,
        f"named configuration: {_names(recipes.RECIPES)} (default: that of --model, or "
        f"{recipes.DEFAULT_RECIPE}); other flags override it",
    )
    flags.DEFINE_bool(
        "allow_other_replicas", False, "resume with another strategy or number of replicas"
    )


def train_config() -> configs.TrainConfig:
    """Returns what the flags ask for.

    The run in `--workdir`, if there is one, else the recipe (that of the model, if a
    model is named), with the flags that were given in place of single values.

    Raises:
      ConfigError: a value or a combination that cannot be used.
    """
    given = given_fields()
    if given.keys() >= {"epochs", "train_steps"}:
        raise errors.ConfigError("train_steps", "give either --epochs or --train_steps, not both")
    stored = run_directory.RunDirectory(FLAGS.workdir).read_config() if FLAGS.workdir else None
    if stored is None or FLAGS.recipe is not None:
        base = recipes.recipe(FLAGS.recipe or recipes.recipe_of_model(given.get("model")))
    else:
        base = stored
    return recipes.override(base, given)


def given_fields() -> dict:
    """Returns the fields of `TrainConfig` whose flags are on the command line."""
    names = (field.name for field in dataclasses.fields(configs.TrainConfig))
    return {name: FLAGS[name].value for name in names if name in FLAGS and FLAGS[name].present}


def data_options() -> dict:
    """Returns the arguments of `load_dataset` that the flags ask for."""
    options = {name: FLAGS[name].value for name in _DATA_FIELDS}
    return {"name": options.pop("dataset"), **options}


def _define_fields(names) -> None:
    defaults = recipes.recipe(recipes.DEFAULT_RECIPE)
    types = typing.get_type_hints(configs.TrainConfig)
    define = {
        bool: flags.DEFINE_bool,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        str: flags.DEFINE_string,
    }
    for name in names:
        kind, *_none = typing.get_args(types[name]) or (types[name],)  # `int | None` is an int
        define[kind](name, getattr(defaults, name), _HELP[name])
