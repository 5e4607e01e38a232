"""Evaluates a run: number correct and incorrect, loss, accuracy, and each class.

  mnist-lib evaluate --workdir=runs/mine
  mnist-lib evaluate --workdir=runs/mine --checkpoint=best --split=validation
  mnist-lib evaluate --workdir=runs/mine --suite=corruptions --suite_images=1000

A suite asks more: whether it is right as often as it says (calibration), on images that are
noisy, blurred, moved or covered (corruptions), whether it is less sure of what is no digit
(alphabets), and under attack (adversarial). What comes of it is kept in the run's
robustness.json, and of corruptions drawn in figures/robustness.png.
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
    absl_flags.DEFINE_string("suite", None, " | ".join(choices.NAMES["suite"]), module_name="Suite")
    absl_flags.DEFINE_integer(
        "suite_images",
        None,
        "the first images, as the original files number them (default: all, to be attacked 1000)",
        module_name="Suite",
    )
    absl_flags.DEFINE_integer("suite_seed", 0, "decides what is random", module_name="Suite")
    absl_flags.DEFINE_bool("json", False, "print JSON instead of a table", module_name="Output")
    command_line.run(_evaluate, __doc__, arguments)


def _evaluate() -> None:
    if FLAGS.workdir is None:
        raise errors.ConfigError("workdir", "name the directory of a run, such as runs/mine")
    for name in _HELP:
        choices.check(name, FLAGS[name].value)
    if FLAGS.suite is not None:
        choices.check("suite", FLAGS.suite)
    elif FLAGS["suite_images"].present or FLAGS["suite_seed"].present:
        raise errors.ConfigError("suite", "name the one that --suite_images or --suite_seed is of")
    startup.start_tensorflow()
    if FLAGS.suite is None:
        _evaluate_split()
    else:
        _evaluate_suite()


def _evaluate_split() -> None:
    import mnist_lib
    from mnist_lib.inspection import tables

    metrics = mnist_lib.evaluate(
        FLAGS.workdir, split=FLAGS.split, checkpoint=FLAGS.checkpoint, **flags.given_fields()
    )
    if FLAGS.json:
        print(json.dumps(metrics.to_dict(), indent=2))
    else:
        tables.print_evaluation(f"{metrics.dataset} {FLAGS.split}", metrics)


def _evaluate_suite() -> None:
    from mnist_lib.robustness import report_tables, suites

    report = suites.evaluate_robustness(
        FLAGS.workdir,
        suite=FLAGS.suite,
        split=FLAGS.split,
        checkpoint=FLAGS.checkpoint,
        num_images=FLAGS.suite_images,
        seed=FLAGS.suite_seed,
        **flags.given_fields(),
    )
    if FLAGS.json:
        print(json.dumps(report, indent=2))
    else:
        report_tables.print_report(report)
