"""Evaluates a run: number correct and incorrect, loss, accuracy, and each class.

python scripts/evaluate.py --workdir=runs/mine
python scripts/evaluate.py --workdir=runs/mine --checkpoint=best --split=validation
"""

import json

import command_line
import flags
from absl import flags as absl_flags

from mnist_lib import runtime

flags.define_data_flags()
absl_flags.DEFINE_string("workdir", None, "run directory", required=True)
absl_flags.DEFINE_string("split", "test", "train | validation | test")
absl_flags.DEFINE_string("checkpoint", "last", "last, as in results.json, or best by validation")
absl_flags.DEFINE_bool("json", False, "print JSON instead of a table")


def main() -> None:
    runtime.configure_before_tensorflow()
    import mnist_lib
    from mnist_lib.inspection import tables

    metrics = mnist_lib.evaluate(
        flags.FLAGS.workdir,
        split=flags.FLAGS.split,
        checkpoint=flags.FLAGS.checkpoint,
        **flags.given_fields(),
    )
    if flags.FLAGS.json:
        print(json.dumps(metrics.to_dict(), indent=2))
    else:
        tables.print_evaluation(f"{metrics.dataset} {flags.FLAGS.split}", metrics)


if __name__ == "__main__":
    command_line.run(main)
