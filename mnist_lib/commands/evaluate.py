"""Evaluates a run: number correct and incorrect, loss, accuracy, and each class.

mnist-lib evaluate --workdir=runs/mine
mnist-lib evaluate --workdir=runs/mine --checkpoint=best --split=validation
"""

import json
from collections.abc import Sequence

from absl import flags as absl_flags

from mnist_lib import choices, errors
from mnist_lib.commands import command_line, flags, startup

FLAGS = absl_flags.FLAGS
_HELP = {
    "split": ("test", " | ".join(choices.NAMES["split"])),
    "checkpoint": ("last", "last, as in results.json, or best by validation"),
}


def run(arguments: Sequence[str] | None = None) -> None:
    """Runs the command; `arguments` are its flags, by default those of the process."""
    absl_flags.DEFINE_string("workdir", None, "run directory", module_name="Run")
    for name, (default, text) in _HELP.items():
        absl_flags.DEFINE_string(name, default, text, module_name="Run")
    flags.define_data_flags(of_run=True)
    absl_flags.DEFINE_bool("json", False, "print JSON instead of a table", module_name="Output")
    command_line.run(_evaluate, __doc__, arguments)


def _evaluate() -> None:
    if FLAGS.workdir is None:
        raise errors.ConfigError("workdir", "name the directory of a run, such as runs/mine")
    for name in _HELP:
        choices.check(name, FLAGS[name].value)
    startup.start_tensorflow()
    import mnist_lib
    from mnist_lib.inspection import tables

    metrics = mnist_lib.evaluate(
        FLAGS.workdir, split=FLAGS.split, checkpoint=FLAGS.checkpoint, **flags.given_fields()
    )
    if FLAGS.json:
        print(json.dumps(metrics.to_dict(), indent=2))
    else:
        tables.print_evaluation(f"{metrics.dataset} {FLAGS.split}", metrics)
