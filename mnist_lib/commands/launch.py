"""Starts a command as several workers on this machine, to try a multi-worker run.

  mnist-lib launch --num_workers=2 -- train --strategy=multi_worker_mirrored --workdir=runs/mine

What follows `--` is a command of this program, a Python script or any other program.
"""

import sys
from collections.abc import Sequence

from absl import flags

from mnist_lib.commands import command_line, invocation
from mnist_lib.distribution import local_cluster


def run(arguments: Sequence[str] | None = None) -> None:
    """Runs the command; `arguments` are its flags, by default those of the process."""
    flags.DEFINE_integer(
        "num_workers", 2, "processes to start", lower_bound=1, module_name="Workers"
    )
    command_line.run_with_arguments(_launch, __doc__, arguments)


def _launch(command: list[str]) -> None:
    if command and command[0] in invocation.COMMANDS:
        command = [sys.executable, "-m", "mnist_lib", *command]
    sys.exit(local_cluster.run_workers(command, flags.FLAGS.num_workers))
