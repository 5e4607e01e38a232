"""What the tests of whole runs share: commands, flags, and what runs leave."""

import contextlib
import json
import pathlib
import random
import socket
import sys

ROOT = pathlib.Path(__file__).parents[1]

SHORT_RUN = [
    "--model=mlp",
    "--train_steps=300",
    "--steps_per_loop=10",
    "--checkpoint_every=50",
    "--eval_every=100",
    "--batch_size=64",
]


def script_command(script: str, *flags: str) -> list[str]:
    """Returns the command line that runs a script of the checkout."""
    return [sys.executable, str(ROOT / script), *flags]


def data_flags(data) -> list[str]:
    """Returns the flags that choose the prepared data of the fixture."""
    return [f"--dataset={data.name}", f"--data_dir={data.data_dir}"]


def results_of(workdir: pathlib.Path) -> dict:
    """Returns what `results.json` of a run holds, its timing left out."""
    values = json.loads((workdir / "results.json").read_text())
    values.pop("timing")
    return values


def newest_step(workdir: pathlib.Path) -> int:
    """Returns the step of the newest checkpoint; 0 if there is none."""
    names = (path.stem for path in workdir.glob("checkpoints/*.index"))
    return max((int(name.removeprefix("ckpt-")) for name in names), default=0)


def free_port() -> int:
    """Returns a port of loopback that nobody has, nor is given before it is used.

    Linux gives those above 32,767 to outgoing connections; our workers under Slurm have 12,000 to
    28,368.
    """
    while True:
        port = random.SystemRandom().randrange(28_400, 32_700)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
