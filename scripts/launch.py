r"""Starts a script as several workers on this machine, to try a multi-worker run.

python scripts/launch.py --num_workers=2 -- \
    scripts/train.py --strategy=multi_worker_mirrored --workdir=runs/mine
"""

import sys

import command_line
from absl import flags

from mnist_lib.distribution import local_cluster

_NUM_WORKERS = flags.DEFINE_integer("num_workers", 2, "processes to start", lower_bound=1)


def main(command: list[str]) -> None:
    sys.exit(local_cluster.run_workers(command, _NUM_WORKERS.value))


if __name__ == "__main__":
    command_line.run_with_arguments(main)
