"""Finds training images whose label is likely wrong, by cross-validation.

mnist-lib suspects --dataset=mnist --workdir=runs/suspects
mnist-lib suspects --dataset=emnist/letters --model=cnn --folds=10 --workdir=runs/letters

The training images are cut into folds, and for each an ordinary run is trained on all others, in
a folder of its own; started again with the same flags it goes on. The workdir gets suspects.json,
with all suspects by their numbers in the original files, and suspects.png, to look at.
"""

import dataclasses
import json
import os
from collections.abc import Sequence

from absl import flags as absl_flags

from mnist_lib import errors
from mnist_lib.commands import command_line, flags, startup

FLAGS = absl_flags.FLAGS


def run(arguments: Sequence[str] | None = None) -> None:
    """Runs the command; `arguments` are its flags, by default those of the process."""
    absl_flags.DEFINE_integer("folds", 5, "networks that are trained", module_name="Suspects")
    absl_flags.DEFINE_bool("json", False, "print JSON instead of a table", module_name="Suspects")
    flags.define_train_flags()
    command_line.run(_suspects, __doc__, arguments)


def _suspects() -> None:
    if FLAGS.workdir is None:
        raise errors.ConfigError("workdir", "name a folder for the runs, such as runs/suspects")
    config = flags.train_config()
    if not FLAGS["summaries"].present:  # they would take longer than a short run
        config = dataclasses.replace(config, summaries="none")
    startup.start_tensorflow(config)
    from mnist_lib.studies import suspect_tables, suspects

    report = suspects.find_suspects(config, FLAGS.workdir, num_folds=FLAGS.folds)
    if FLAGS.json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        suspect_tables.print_suspects(report)
        print(f"The picture: {os.path.join(FLAGS.workdir, suspects.PICTURE_NAME)}")
