"""Compares finished runs on the same images, with intervals and tests.

mnist-lib compare runs/a runs/b
mnist-lib compare --against_first runs/a runs/b runs/c
"""

import json
from collections.abc import Sequence

from absl import flags as absl_flags

from mnist_lib import choices, errors
from mnist_lib.commands import command_line, flags, startup

FLAGS = absl_flags.FLAGS


def run(arguments: Sequence[str] | None = None) -> None:
    """Runs the command; `arguments` are its flags, by default those of the process."""
    absl_flags.DEFINE_string(
        "split", "test", " | ".join(choices.NAMES["split"]), module_name="Comparison"
    )
    absl_flags.DEFINE_bool(
        "against_first",
        False,
        "test the first run against each of the others, instead of all pairs",
        module_name="Comparison",
    )
    flags.define_data_flags(of_run=True)
    absl_flags.DEFINE_bool("json", False, "print JSON instead of tables", module_name="Output")
    FLAGS.set_gnu_getopt(True)  # the runs may stand before the flags
    command_line.run_with_arguments(_compare, __doc__, arguments)


def _compare(workdirs: list[str]) -> None:
    choices.check("split", FLAGS.split)
    if len(workdirs) < 2:
        raise errors.ConfigError(
            "run", f"{len(workdirs) or 'none'} given; name the directories of two runs or more"
        )
    startup.start_tensorflow(report_devices=False)
    from mnist_lib.studies import compare, result_tables

    compared = compare.compare_runs(
        workdirs, split=FLAGS.split, against_first=FLAGS.against_first, **flags.given_fields()
    )
    if FLAGS.json:
        print(json.dumps(compared.to_dict(), indent=2))
    else:
        result_tables.print_comparison(compared)
