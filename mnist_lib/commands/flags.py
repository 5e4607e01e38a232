"""The flags of the commands, and how they become a `TrainConfig`.

Defaults are read from `TrainConfig` and names from `choices`; none is written here.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterable

from absl import flags

from mnist_lib import choices, errors
from mnist_lib.runs import config as configs
from mnist_lib.runs import config_checks, recipes

flags.disclaim_key_flags()  # what a script defines through us is the script's

FLAGS = flags.FLAGS
_DATA_FIELDS = ("dataset", "data_dir", "manual_dir", "download")


def _names(field: str) -> str:
    return " | ".join(choices.NAMES[field])


# By the group in which --help shows them.
_HELP = {
    "Data": {
        "dataset": _names("dataset"),
        "data_dir": "where TFDS keeps prepared data (default: ~/tensorflow_datasets)",
        "manual_dir": "where the original files are: as published, unpacked, or <name>.npz",
        "download": "download the original files if nothing else has them",
        "validation_size": "training images held out for validation; 0 trains on all",
        "train_size": "training images to use, a stratified choice (default: all)",
        "augmentation": f"random changes of the training images: {_names('augmentation')}",
    },
    "Model": {
        "model": _names("model"),
        "activation": f"{_names('activation')} (default: the model's own)",
        "pooling": f"{_names('pooling')} (default: the model's own)",
        "dropout": "rate before the output layer, in [0, 1) (default: the model's own)",
        "width": "filters of the first layer (default: the model's own)",
        "init_from": "run directory or .keras file whose weights it begins with",
        "init_without_head": "leave out of --init_from the last layer if its size differs",
        "mixed_precision": _names("mixed_precision"),
        "jit_compile": "compile the model with XLA (slows convolutions on a CPU down)",
    },
    "Loss and optimizer": {
        "loss": _names("loss"),
        "label_smoothing": "share of the label's probability spread over all classes, in [0, 1)",
        "optimizer": _names("optimizer"),
        "learning_rate": "peak of the schedule",
        "lr_schedule": _names("lr_schedule"),
        "warmup_steps": "steps of warm-up (default: the schedule's own)",
        "weight_decay": "decoupled weight decay of --optimizer=adamw (default: Keras's)",
        "beta_1": "momentum of the gradient's mean in adam and adamw",
        "beta_2": "momentum of the gradient's square in adam and adamw",
        "clip_norm": "largest norm of the global gradient (default: no limit)",
        "ema_momentum": "evaluate a moving average of the weights, with this momentum "
        "(default: none)",
    },
    "Training": {
        "batch_size": "images per step, on all replicas together",
        "accumulation_steps": "parts in which each replica sees its images; the same step, less "
        "memory",
        "epochs": "passes over the training images",
        "train_steps": "optimizer steps, instead of --epochs",
        "seed": "decides initial weights, order and dropout",
        "deterministic": "use deterministic operations only",
        "steps_per_loop": "steps between two looks at the loop: logging, signals",
        "eval_every": "steps between two validations (default: an epoch)",
    },
    "Distribution": {
        "strategy": _names("strategy"),
        "num_replicas": "logical devices to split one CPU into, to try out replicas; 0: the real "
        "devices",
        "worker_timeout_seconds": "seconds in which workers must join, and a lost one is noticed",
        "worker_port": "under Slurm, port of a node's first worker; others there have the next "
        "ones (default: by job and step)",
    },
    "Output": {
        "checkpoint_every": "steps between two checkpoints (default: an epoch, or more of them if "
        "--steps_per_loop is longer)",
        "summaries": f"what TensorBoard shows: {_names('summaries')}",
        "profile_steps": "as 20:30, steps of which TensorBoard's profiler is given a trace",
        "progress": "show a progress bar on a terminal",
    },
}


def define_data_flags(*, of_run: bool = False) -> None:
    """Defines the flags that say where data comes from; if `of_run`, by default as the run did."""
    _define_fields("Data", _DATA_FIELDS, "the run's" if of_run else None)


def define_train_flags(*, of_study: bool = False) -> None:
    """Defines one flag per field of `TrainConfig`, and those of the run.

    Of a study, which has many runs, neither seed nor run directory.
    """
    flags.DEFINE_string(
        "recipe",
        None,
        f"named configuration, which other flags override: {' | '.join(recipes.RECIPES)} "
        f"(default: that of --model, or {recipes.DEFAULT_RECIPE})",
        module_name="Recipe",
    )
    for group, fields in _HELP.items():
        if group == "Output" and not of_study:
            define_workdir("resumes the run in it, if there is one (default: a new one in runs/)")
        _define_fields(group, [name for name in fields if not of_study or name != "seed"])
    if of_study:
        return
    flags.DEFINE_bool(
        "allow_other_replicas",
        False,
        "resume with another strategy or number of replicas",
        module_name="Distribution",
    )


def define_workdir(text: str) -> None:
    """Defines `--workdir`."""
    flags.DEFINE_string("workdir", None, f"run directory; {text}", module_name="Output")


def train_config() -> configs.TrainConfig:
    """Returns what the flags ask for.

    The run in `--workdir`, if there is one, else the recipe (that of the model, if a
    model is named), with the flags that were given in place of single values.

    Raises:
      ConfigError: a value or a combination that cannot be used.
    """
    from mnist_lib.runs import run_directory  # takes as long as all that --help needs

    given = given_fields()
    if given.keys() >= {"epochs", "train_steps"}:
        raise errors.ConfigError("train_steps", "give either --epochs or --train_steps, not both")
    stored = run_directory.RunDirectory(FLAGS.workdir).read_config() if FLAGS.workdir else None
    if stored is not None and FLAGS.recipe is None:
        return configs.with_fields(dataclasses.asdict(stored), given)
    name = FLAGS.recipe or recipes.recipe_of_model(given.get("model"))
    config = configs.recipe(name, **given)
    config_checks.check_counts(config)  # before TensorFlow starts; own data has other counts
    return config


def given_fields() -> dict:
    """Returns the fields of `TrainConfig` whose flags are on the command line."""
    names = (field.name for field in dataclasses.fields(configs.TrainConfig))
    return {name: FLAGS[name].value for name in names if name in FLAGS and FLAGS[name].present}


def data_options() -> dict:
    """Returns the arguments of `load_dataset` that the flags ask for."""
    options = {name: FLAGS[name].value for name in _DATA_FIELDS}
    return {"name": options.pop("dataset"), **options}


def flags_of(config: configs.TrainConfig) -> list[str]:
    """Returns the flags that ask for a configuration: a recipe, and where it differs from it."""
    fields = dataclasses.asdict(config)
    name = recipes.nearest_recipe(fields)
    base = dataclasses.asdict(configs.recipe(name))
    asked = []
    if name != recipes.recipe_of_model(config.model):
        asked.append(f"--recipe={name}")
        del fields["model"]
    for name, value in fields.items():
        if isinstance(value, bool) and value != base[name]:
            asked.append(f"--{'' if value else 'no'}{name}")
        elif value is not None and (value != base[name] or name == "model"):
            asked.append(f"--{name}={value}")
    return asked


def _define_fields(group: str, names: Iterable[str], default_text: str | None = None) -> None:
    """Defines flags of a group; `default_text` says what decides in place of their defaults."""
    types = typing.get_type_hints(configs.TrainConfig)
    defaults = {field.name: field.default for field in dataclasses.fields(configs.TrainConfig)}
    define: dict[type, Callable[..., typing.Any]] = {
        bool: flags.DEFINE_bool,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        str: flags.DEFINE_string,
    }
    for name in names:
        kind, *_none = typing.get_args(types[name]) or (types[name],)  # `int | None` is an int
        default, text = defaults[name], _HELP[group][name]
        decides = repr(default) if default is configs.FROM_RECIPE else default_text
        if decides is not None:
            default, text = None, f"{text.partition(' (default')[0]} (default: {decides})"
        define[kind](name, default, text, module_name=group)
