"""The flags of `scripts/benchmark.py`, and how they become a `suite.Request`."""

from __future__ import annotations

import os
import pathlib
import sys

from absl import flags

from benchmarks import contenders, suite
from mnist_lib import choices, errors
from mnist_lib.commands import flags as shared_flags

FLAGS = flags.FLAGS
_OUTPUTS = {
    "output": "file for the report, as JSON",
    "markdown": "file for the report, as a page",
    "notes": "file with Markdown, written by hand, that the page is to hold",
    "chart": "file for the chart of train, such as benchmark.png",
}
# What the page shows of the command line, in this order; and what stays with who ran it.
SHOWN = (
    *("suite", "measure", "contenders", "model", "batch_size", "num_rounds", "steps_per_round"),
    *("epochs", "recipes", "target", "dataset", "download"),
)
PATHS = ("data_dir", "manual_dir", *_OUTPUTS)
# What --suite measures; each model at each batch size.
_SUITE = ("train", "time_to_accuracy", "overhead", "summaries", "startup", "settings")
_SUITE_BATCH_SIZES = (128, 512)
_SUITE_SETTINGS_MODELS = ("mlp", "cnn")


def define() -> None:
    """Defines the flags, in the groups that `--help` shows."""
    shared_flags.define_data_flags()
    _define_measurement("Measurement")
    for name, text in _OUTPUTS.items():
        flags.DEFINE_string(name, None, text, module_name="Output")


def _define_measurement(group: str) -> None:
    for name, default, text in (
        ("measure", ["train"], f"what to measure: {' | '.join(suite.MEASURES)}"),
        (
            "contenders",
            None,
            f"what to time, ours first: {' | '.join(contenders.CONTENDERS)} (default: all that are "
            "installed but augmented)",
        ),
        ("model", ["mlp"], f"what they train, in turn: {' | '.join(contenders.NETWORKS)}"),
        ("batch_size", ["128"], "images per step, one after the other"),
        (
            "recipes",
            None,
            "of time_to_accuracy (default: fast, cnn), startup (fast, mlp) and summaries (fast)",
        ),
    ):
        flags.DEFINE_list(name, default, text, module_name=group)
    for name, text in (
        ("num_rounds", "turns of each, or repetitions (default: depends)"),
        ("steps_per_round", "steps per turn (default: up to a second of them)"),
        ("epochs", "of the runs of summaries (default: the recipe's own)"),
    ):
        flags.DEFINE_integer(name, None, text, lower_bound=1, module_name=group)
    flags.DEFINE_float("target", 0.99, "accuracy of time_to_accuracy", 0, 1, module_name=group)
    text = "measure all that docs/benchmark.md shows, in place of --measure"
    flags.DEFINE_bool("suite", False, text, module_name=group)


def measures() -> list[str]:
    """Returns what to measure.

    Raises:
      ConfigError: there is no such measurement, or nothing for the chart to show.
    """
    names = list(_SUITE) if FLAGS.suite else FLAGS.measure
    for name in names:
        choices.check("measure", name, suite.MEASURES)
    if FLAGS.chart and "train" not in names:
        raise errors.ConfigError("chart", "shows what --measure=train measures; measure that too")
    return names


def request() -> suite.Request:
    """Returns what the flags ask for.

    Raises:
      ConfigError: a value that is not a number.
    """
    is_suite = FLAGS.suite
    chosen = suite.Request(
        contenders=FLAGS.contenders,
        models=tuple(contenders.NETWORKS) if is_suite else FLAGS.model,
        batch_sizes=_SUITE_BATCH_SIZES if is_suite else _numbers("batch_size", FLAGS.batch_size),
        settings_models=_SUITE_SETTINGS_MODELS if is_suite else FLAGS.model,
        num_rounds=FLAGS.num_rounds,
        steps_per_round=FLAGS.steps_per_round,
        epochs=FLAGS.epochs,
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


def notes() -> str:
    """Returns what `--notes` holds; nothing without the flag.

    Raises:
      ConfigError: it cannot be read, or there is no page to put it into.
    """
    if FLAGS.notes is None:
        return ""
    if not FLAGS.markdown:
        raise errors.ConfigError("notes", "go into the page of --markdown; name that too")
    try:
        return pathlib.Path(FLAGS.notes).read_text(encoding="utf-8")
    except OSError as error:
        raise errors.ConfigError("notes", f"{FLAGS.notes}: {error.strerror}") from error


def shown() -> list[str]:
    """Returns the flags that were given, but for those that name files.

    They are written out from what was parsed: a command line has many spellings of them.
    """
    return [FLAGS[name].serialize() for name in SHOWN if FLAGS[name].present]


def relative_chart() -> str | None:
    """Returns the chart's address as the page refers to it."""
    if not FLAGS.chart:
        return None
    return os.path.relpath(FLAGS.chart, pathlib.Path(FLAGS.markdown).parent)


def _train_command() -> list[str]:
    script = str(pathlib.Path(__file__).parent.parent / "scripts" / "train.py")
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
