"""Times the training loop against Keras fit, Orbit and PyTorch, interleaved in one run.

  python scripts/benchmark.py --model=mlp,cnn --batch_size=128,512
  python scripts/benchmark.py --measure=time_to_accuracy,overhead,startup
  python scripts/benchmark.py --suite --markdown=docs/benchmark.md

Orbit and PyTorch are timed if they are installed. A report is made of all that was
measured; --output keeps it.
"""

import json
import pathlib
import shlex
import sys

import command_line

from benchmarks import page
from mnist_lib.inspection import tables

flags.define()


def main() -> None:
    flags = flags.FLAGS
    for path in (flags.output, flags.markdown, flags.chart):
        flags.check_writable(path)
    report = benchmark.measure(flags.measures(), flags.request())
    tables.print_benchmark(report)
    if flags.output:
        pathlib.Path(flags.output).write_text(json.dumps(report, indent=2) + "\n")
    if flags.chart:
        page.write_chart(report, flags.chart)
    if flags.markdown:
        command = shlex.join(["python", "scripts/benchmark.py", *flags.shown(sys.argv)])
        chart = flags.relative_chart()
        page = page.markdown(report, command, chart)
        pathlib.Path(flags.markdown).write_text(page)


if __name__ == "__main__":
    command_line.run(main)
