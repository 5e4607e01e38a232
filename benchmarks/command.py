"""Times the training loop against Keras fit, Orbit, PyTorch and JAX, interleaved in one run.

  python scripts/benchmark.py --model=mlp,cnn --batch_size=128,512
  python scripts/benchmark.py --measure=time_to_accuracy,overhead,startup
  python scripts/benchmark.py --suite --markdown=docs/benchmark.md --notes=docs/benchmark_notes.md

Orbit, PyTorch and JAX are timed if they are installed. A report is made of all that was
measured; --output keeps it.
"""

from __future__ import annotations

import json
import pathlib
import shlex

from benchmarks import flags, page, suite, terminal
from mnist_lib.commands import command_line


def run() -> None:
    """Defines and parses the flags, measures, and ends the process."""
    flags.define()
    command_line.run(main, __doc__)


def main() -> None:
    """Does what the flags, which have been parsed, ask for."""
    values = flags.FLAGS
    for path in (values.output, values.markdown, values.chart):
        flags.check_writable(path)
    measures, request, notes = flags.measures(), flags.request(), flags.notes()
    report = suite.measure(measures, request)
    terminal.print_report(report)
    if values.output:
        pathlib.Path(values.output).write_text(json.dumps(report, indent=2) + "\n")
    if values.chart:
        page.write_chart(report, values.chart)
    if values.markdown:
        command = shlex.join(["python", "scripts/benchmark.py", *flags.shown()])
        text = page.markdown(report, command, notes=notes, chart=flags.relative_chart())
        pathlib.Path(values.markdown).write_text(text)
