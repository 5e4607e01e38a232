"""Trains a model on MNIST and tests it once.

mnist-lib train --strategy=mirrored --model=cnn --epochs=5
mnist-lib train --workdir=runs/mine     # starts a run there, or goes on with it
"""

import dataclasses
import pathlib
import time
from collections.abc import Sequence

from mnist_lib.commands import command_line, flags, invocation, startup


def run(arguments: Sequence[str] | None = None) -> None:
    """Runs the command; `arguments` are its flags, by default those of the process."""
    flags.define_train_flags()
    command_line.run(_train, __doc__, arguments)


def _train() -> None:
    started = time.monotonic()
    from mnist_lib.distribution import clusters
    from mnist_lib.runs import run_directory

    workdir = flags.FLAGS.workdir
    if workdir is not None:
        run_directory.RunDirectory(workdir).check_usable()
    config = flags.train_config()
    if config.strategy == "multi_worker_mirrored":
        clusters.read_cluster(config.worker_port)
    tells_results = startup.start_tensorflow(config)
    import mnist_lib
    from mnist_lib.inspection import tables

    results = mnist_lib.train_and_evaluate(
        config, workdir, allow_other_replicas=flags.FLAGS.allow_other_replicas
    )
    if tells_results:
        workdir = workdir or _newest_run_with(results)
        seconds = time.monotonic() - started
        tables.print_results(workdir, results, seconds, _next_commands(workdir))


def _newest_run_with(results: dict) -> str:
    """Returns the run directory that was made for a run, by what it came to."""
    from mnist_lib.runs import run_directory

    named = f"*-{results['dataset']}-{results['model']}*"
    runs = sorted(pathlib.Path("runs").glob(named), reverse=True)
    return next(
        str(run) for run in runs if run_directory.RunDirectory(run).read_results() == results
    )


def _next_commands(workdir: str) -> list[str]:
    import mnist_lib

    config = mnist_lib.load_config(workdir)
    logdir = f"./{workdir}" if workdir.startswith("-") else workdir
    commands = [
        invocation.called("evaluate", f"--workdir={workdir}"),
        invocation.called_beside_python("tensorboard", "--logdir", logdir),
    ]
    if config.strategy != "multi_worker_mirrored":  # whose workers something else starts
        another = dataclasses.replace(config, seed=config.seed + 1)
        commands.append(invocation.called("train", *flags.flags_of(another)))
    return commands
