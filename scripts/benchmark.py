"""Times the training loop against Keras fit, interleaved in one run.

python scripts/benchmark.py --model=mlp
python scripts/benchmark.py --model=cnn --steps_per_round=20
  python scripts/benchmark.py --measure=input
"""

import json
import pathlib

import command_line
import flags
from absl import flags as absl_flags

from mnist_lib import benchmark
from mnist_lib.inspection import tables

flags.define_data_flags()
absl_flags.DEFINE_enum("measure", "train", ["train", "input"], "what to measure")
absl_flags.DEFINE_list(
    "contenders",
    ["mirrored", "default", "fit", "fit_mirrored"],
    f"what to time, ours first: {' | '.join(benchmark.CONTENDERS)}",
)
absl_flags.DEFINE_string("model", "mlp", "network that all of them train")
absl_flags.DEFINE_integer("batch_size", 128, "images per step", lower_bound=1)
absl_flags.DEFINE_integer("num_rounds", 7, "turns of each", lower_bound=1)
absl_flags.DEFINE_integer("steps_per_round", 200, "steps per turn", lower_bound=1)
absl_flags.DEFINE_string("output", None, "file for the report, as JSON")


def main() -> None:
    data_options = flags.data_options()
    if flags.FLAGS.measure == "input":
        report = benchmark.measure_input(data_options)
        print(json.dumps(report, indent=2))
    else:
        report = benchmark.compare(
            flags.FLAGS.contenders,
            model=flags.FLAGS.model,
            batch_size=flags.FLAGS.batch_size,
            num_rounds=flags.FLAGS.num_rounds,
            steps_per_round=flags.FLAGS.steps_per_round,
            data_options=data_options,
        )
        tables.print_benchmark(report)
    if flags.FLAGS.output:
        pathlib.Path(flags.FLAGS.output).write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    command_line.run(main)
