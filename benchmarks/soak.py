"""Trains for long, and looks whether the process grows: memory, descriptors, threads, traces.

  python -m benchmarks.soak --steps=200000
  python -m benchmarks.soak --steps=200000 --markdown=docs/soak.md --chart=docs/images/soak.png

Logs, validates and saves as a run does. Ends with exit code 70 if something grows.
"""

from __future__ import annotations

import os
import pathlib
import tempfile
import time
import typing

from absl import flags

from benchmarks import environment, page, process_growth, tables, terminal
from benchmarks import flags as benchmark_flags
from mnist_lib import errors, runtime
from mnist_lib.commands import command_line
from mnist_lib.commands import flags as shared_flags

if typing.TYPE_CHECKING:
    import mnist_lib

FLAGS = flags.FLAGS


def soak(config: mnist_lib.TrainConfig, data_options: dict) -> list[process_growth.Sample]:
    """Trains in this process, in a folder that is removed, and samples at each validation.

    Args:
      config: what is trained.
      data_options: arguments of `load_dataset`.
    """
    import keras
    import psutil

    import mnist_lib

    process, samples = psutil.Process(), []
    calls, started, call = [0], time.monotonic(), keras.Model.__call__

    def counted(*args, **kwargs):
        calls[0] += 1
        return call(*args, **kwargs)

    def note(progress: mnist_lib.RunProgress) -> None:
        resident = process.memory_info().rss
        counts = process.num_fds(), process.num_threads(), calls[0]
        seconds = time.monotonic() - started
        samples.append(process_growth.Sample(progress.step, seconds, resident, *counts))

    data = mnist_lib.load_dataset(**data_options)
    keras.Model.__call__ = counted
    try:
        with tempfile.TemporaryDirectory() as folder:
            workdir = pathlib.Path(folder, "run")
            mnist_lib.train_and_evaluate(config, workdir, data=data, callbacks=(note,))
    finally:
        keras.Model.__call__ = call
    return samples


def main() -> None:
    """Does what the flags, which have been parsed, ask for."""
    for path in (FLAGS.markdown, FLAGS.chart):
        benchmark_flags.check_writable(path)
    runtime.configure_before_tensorflow()
    import mnist_lib

    config = mnist_lib.recipe(
        FLAGS.model,
        train_steps=FLAGS.steps,
        steps_per_loop=FLAGS.log_every,
        eval_every=FLAGS.save_every,
        checkpoint_every=FLAGS.save_every,
    )
    samples = soak(config, shared_flags.data_options())
    found = process_growth.growth(samples)
    shown = process_growth.table(samples, found)
    terminal.print_table(shown)
    if FLAGS.chart:
        process_growth.write_chart(samples, found, FLAGS.chart)
    if FLAGS.markdown:
        pathlib.Path(FLAGS.markdown).write_text(_page(shown))
    if not found.is_within_bounds:
        raise errors.MnistLibError(f"soak: the process grows: {shown.note}")


def _page(shown: tables.Table) -> str:
    given = " ".join(FLAGS[name].serialize() for name in _OF_THE_RUN if FLAGS[name].present)
    chart = ""
    if FLAGS.chart:
        address = os.path.relpath(FLAGS.chart, pathlib.Path(FLAGS.markdown).parent)
        chart = f"\n![Memory and counts over the steps]({address})\n"
    described = page.describe_environment(environment.describe())
    return (
        f"# Soak\n\nMade by `python -m benchmarks.soak {given}`. {described}\n\n"
        f"A run of `{FLAGS.model}` logs every {FLAGS.log_every} steps, and validates and saves a "
        f"checkpoint every {FLAGS.save_every:,}.\n{chart}\n{page.section(shown)}"
    )


_OF_THE_RUN = ("steps", "model", "log_every", "save_every", "dataset")


def _define_flags() -> None:
    shared_flags.define_data_flags()
    for name, default, text in (
        ("steps", 200_000, "how long to train"),
        ("log_every", 100, "steps between two log lines and points of the curves"),
        ("save_every", 1000, "steps between two validations, checkpoints and samples"),
    ):
        flags.DEFINE_integer(name, default, text, lower_bound=1, module_name="Soak")
    flags.DEFINE_string("model", "linear", "the recipe to train", module_name="Soak")
    flags.DEFINE_string("markdown", None, "file for the page", module_name="Output")
    flags.DEFINE_string("chart", None, "file for the picture", module_name="Output")


if __name__ == "__main__":
    _define_flags()
    command_line.run(main, __doc__)
