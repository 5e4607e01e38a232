"""Exports a run's model to files that others load, each proved to give the run's answers.

  mnist-lib export --workdir=runs/mine --format=saved_model
  mnist-lib export --workdir=runs/mine --format=litert_int8 --output=mine.tflite
  mnist-lib export --workdir=runs/mine --format=all

What is written is loaded in a fresh process and asked all test images. Float formats must
give the label that the run gives to each; of int8 at most 20 of 10,000 may differ. If not,
the export fails (70) and leaves nothing. Of all, formats that cannot be had are left out.
"""

import json
import logging
from collections.abc import Sequence
from typing import Any

from absl import flags as absl_flags

from mnist_lib import choices, errors, paths
from mnist_lib.commands import command_line, flags, startup

FLAGS = absl_flags.FLAGS
ALL = "all"
_FORMATS = choices.NAMES["export_format"]
_logger = logging.getLogger(__name__)


def run(arguments: Sequence[str] | None = None) -> None:
    """Runs the command; `arguments` are its flags, by default those of the process."""
    define = absl_flags.DEFINE_string
    define("workdir", None, "run directory", module_name="Run")
    define(
        "checkpoint", "last", "last, as in results.json, or best by validation", module_name="Run"
    )
    flags.define_data_flags(of_run=True)
    define("format", None, f"{' | '.join(_FORMATS)} | {ALL}", module_name="Output")
    define(
        "output",
        None,
        "file to write, of saved_model and of all a folder (default: in exports/ of the run)",
        module_name="Output",
    )
    absl_flags.DEFINE_bool("overwrite", False, "replace what is there", module_name="Output")
    absl_flags.DEFINE_bool("json", False, "print JSON instead of a table", module_name="Output")
    command_line.run(_export, __doc__, arguments)


def _export() -> None:
    if FLAGS.workdir is None:
        raise errors.ConfigError("workdir", "name the directory of a run, such as runs/mine")
    if FLAGS.format is None:
        raise errors.ConfigError("format", f"name one of {', '.join(_FORMATS)}, or {ALL}")
    choices.check("format", FLAGS.format, (*_FORMATS, ALL))
    choices.check("checkpoint", FLAGS.checkpoint)
    if FLAGS.output is not None:
        paths.check("output", FLAGS.output)
    startup.start_tensorflow(report_devices=False)
    from mnist_lib.inspection import tables
    from mnist_lib.serving.exports import exporting

    targets = _targets()
    exporter = exporting.RunExporter(
        FLAGS.workdir, checkpoint=FLAGS.checkpoint, **flags.given_fields()
    )
    reports, failures = [], []
    for name, target in targets.items():
        try:
            reports.append(_written(exporter, name, target))
        except errors.MnistLibError as error:
            if FLAGS.format != ALL:
                raise
            if not isinstance(error, errors.ConfigError):
                failures.append(error)
            _logger.warning("%s is left out: %s", name, error)
    if FLAGS.json:
        print(json.dumps(reports, indent=2))
    elif reports:
        tables.print_exports(reports)
    if failures:
        raise failures[0]


def _targets() -> dict[str, Any]:
    """Returns where each format goes, before anything is loaded."""
    from mnist_lib.serving.exports import formats, targets

    if FLAGS.format != ALL:
        chosen = formats.usable_format(FLAGS.format)
        place = targets.checked_target(chosen, FLAGS.workdir, FLAGS.output, FLAGS.overwrite)
        return {FLAGS.format: place}
    found = {}
    for name in _FORMATS:
        try:
            chosen = formats.usable_format(name)
        except errors.ConfigError as error:
            _logger.warning("%s is left out: %s", name, error)
            continue
        output = FLAGS.output and paths.local("output", FLAGS.output) / chosen.file_name
        found[name] = targets.checked_target(chosen, FLAGS.workdir, output, FLAGS.overwrite)
    return found


def _written(exporter: Any, name: str, target: Any) -> dict:
    """Writes a format; what converters say is shown only if they fail unexpectedly."""
    _logger.info("%s: writing %s, and asking it all test images", name, target.path)
    refused: errors.MnistLibError
    with startup.standard_error_caught([]):
        try:
            return exporter.write(name, target)
        except errors.MnistLibError as error:
            refused = error
    raise refused
