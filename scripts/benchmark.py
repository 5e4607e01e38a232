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

import benchmark_flags
import command_line

from mnist_lib import benchmark
from mnist_lib.inspection import benchmark_page, tables

benchmark_flags.define()


def main() -> None:
    flags = benchmark_flags.FLAGS
    for path in (flags.output, flags.markdown, flags.chart):
        benchmark_flags.check_writable(path)
    report = benchmark.measure(benchmark_flags.measures(), benchmark_flags.request())
    tables.print_benchmark(report)
    if flags.output:
        pathlib.Path(flags.output).write_text(json.dumps(report, indent=2) + "\n")
    if flags.chart:
        benchmark_page.write_chart(report, flags.chart)
    if flags.markdown:
        command = shlex.join(["python", "scripts/benchmark.py", *benchmark_flags.shown(sys.argv)])
        chart = benchmark_flags.relative_chart()
        page = benchmark_page.markdown(report, command, chart)
        pathlib.Path(flags.markdown).write_text(page)


if __name__ == "__main__":
    command_line.run(main)
