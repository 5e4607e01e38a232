"""The flags of `benchmark.py`, and how they become a `benchmark.Request`."""

import os
import pathlib
import sys

import flags as shared_flags
from absl import flags

from mnist_lib import benchmark, errors

flags.disclaim_key_flags()  # --help shows them as flags of the script

FLAGS = flags.FLAGS
_PATH_FLAGS = ("--data_dir", "--manual_dir", "--output", "--markdown", "--chart")
# What --suite measures; each model at each batch size.
_SUITE = ("train", "time_to_accuracy", "overhead", "startup", "settings")
_SUITE_BATCH_SIZES = (128, 512)
_SUITE_SETTINGS_MODELS = ("mlp", "cnn")


def define() -> None:
    """Defines the flags."""
    shared_flags.define_data_flags()
    flags.DEFINE_list("measure", ["train"], f"what to measure: {' | '.join(benchmark.MEASURES)}")
    flags.DEFINE_bool("suite", False, "measure all that docs/benchmark.md shows")
    flags.DEFINE_list(
        "contenders",
        None,
        f"what to time, ours first: {' | '.join(benchmark.CONTENDERS)} (default: all that are "
        "installed)",
    )
    flags.DEFINE_list("model", ["mlp"], "networks that all of them train, one after the other")
    flags.DEFINE_list("batch_size", ["128"], "images per step, one after the other")
    flags.DEFINE_integer(
        "num_rounds", None, "turns of each, or repetitions (default: depends)", lower_bound=1
    )
    flags.DEFINE_integer(
        "steps_per_round", None, "steps per turn (default: up to a second of them)", lower_bound=1
    )
    flags.DEFINE_list(
        "recipes", None, "for time_to_accuracy (default: fast, cnn) and startup (fast, mlp)"
    )
    flags.DEFINE_float("target", 0.99, "accuracy of time_to_accuracy", 0, 1)
    flags.DEFINE_string("output", None, "file for the report, as JSON")
    flags.DEFINE_string("markdown", None, "file for the report, as a page")
    flags.DEFINE_string("chart", None, "file for the chart of train, such as benchmark.png")


def measures() -> list[str]:
    """Returns what to measure.

    Raises:
      ConfigError: there is no such measurement, or nothing for the chart to show.
    """
    names = list(_SUITE) if FLAGS.suite else FLAGS.measure
    for name in names:
        if name not in benchmark.MEASURES:
            raise errors.ConfigError(
                "measure", f"'{name}' is not one of {', '.join(benchmark.MEASURES)}"
            )
    if FLAGS.chart and "train" not in names:
        raise errors.ConfigError("chart", "shows what --measure=train measures; measure that too")
    return names


def request() -> benchmark.Request:
    """Returns what the flags ask for.

    Raises:
      ConfigError: a value that is not a number.
    """
    is_suite = FLAGS.suite
    chosen = benchmark.Request(
        contenders=FLAGS.contenders,
        models=benchmark.NETWORKS if is_suite else FLAGS.model,
        batch_sizes=_SUITE_BATCH_SIZES if is_suite else _numbers("batch_size", FLAGS.batch_size),
        settings_models=_SUITE_SETTINGS_MODELS if is_suite else FLAGS.model,
        num_rounds=FLAGS.num_rounds,
        steps_per_round=FLAGS.steps_per_round,
        target=FLAGS.target,
        data_options=shared_flags.data_options(),
        train_command=_train_command(),
    )
    return chosen if FLAGS.recipes is None else chosen.with_recipes(FLAGS.recipes)


def check_writable(path: str | None) -> None:
    """Checks, before anything is measured, that a file can be made.

    Raises:
      OutputError: its folder is not there or not writable.
    """
    if path is not None:
        folder = pathlib.Path(path).absolute().parent
        if not os.access(folder, os.W_OK):
            raise errors.OutputError(f"{folder}: is not a writable directory. Make it first.")


def shown(arguments: list[str]) -> list[str]:
    """Returns the flags of a command line without those that name files."""
    return [flag for flag in arguments[1:] if not flag.startswith(_PATH_FLAGS)]


def relative_chart() -> str | None:
    """Returns the chart's address as the page refers to it."""
    if not FLAGS.chart:
        return None
    return os.path.relpath(FLAGS.chart, pathlib.Path(FLAGS.markdown).parent)


def _train_command() -> list[str]:
    script = str(pathlib.Path(__file__).with_name("train.py"))
    options = shared_flags.data_options()
    named = {"dataset": options["name"], "data_dir": None, "manual_dir": None} | {
        name: options[name] for name in ("data_dir", "manual_dir")
    }
    given = [f"--{name}={value}" for name, value in named.items() if value is not None]
    return [sys.executable, script, *given, f"--{'' if options['download'] else 'no'}download"]


def _numbers(field: str, texts: list[str]) -> list[int]:
    if not all(text.isdecimal() and int(text) for text in texts):
        raise errors.ConfigError(field, f"'{','.join(texts)}' is not a list of whole numbers")
    return [int(text) for text in texts]
