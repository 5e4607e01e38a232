"""What a study's process is given of the runs, by Slurm, and of the GPUs of its machine."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from collections.abc import Mapping

from mnist_lib import errors

_SECONDS_TO_LIST = 30
_GPU_LINE = re.compile(r"^GPU (\d+): ", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class RunShare:
    """Which runs of a study are a process's: each `count`-th one, from number `index` on.

    Attributes:
      index: in [0, count).
      count: processes that share the study.
    """

    index: int = 0
    count: int = 1


def share_of_array_task(environment: Mapping[str, str]) -> RunShare:
    """Returns the share of a task of a Slurm job array; outside of one, all of the runs.

    Args:
      environment: `SLURM_ARRAY_TASK_ID`, and how the array counts: `SLURM_ARRAY_TASK_MIN`,
        `SLURM_ARRAY_TASK_STEP` and `SLURM_ARRAY_TASK_COUNT`, as Slurm sets them.

    Raises:
      ConfigError: a variable is missing or no number, or the array leaves numbers out.
    """
    if not environment.get("SLURM_ARRAY_TASK_ID"):
        return RunShare()
    task, first, step, count, last = (
        _number(environment, f"SLURM_ARRAY_TASK_{name}")
        for name in ("ID", "MIN", "STEP", "COUNT", "MAX")
    )
    # An array such as 1,5,6 has no step that leads from each task to the next one.
    is_regular = step > 0 and first + step * (count - 1) == last
    index, rest = divmod(task - first, step) if step else (0, 1)
    if not is_regular or rest or not 0 <= index < count:
        raise errors.ConfigError(
            "SLURM_ARRAY_TASK_ID",
            f"is {task}, of {count} tasks from {first} to {last} in steps of {step}; start the "
            "array with --array=0-N, so that no number is left out",
        )
    return RunShare(index, count)


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "")
    if not re.fullmatch("[0-9]{1,10}", text):
        raise errors.ConfigError(name, f"{text!r:.200} is no number; start the array with sbatch")
    return int(text)


def gpus(environment: Mapping[str, str]) -> list[str]:
    """Returns the GPUs of this machine, as `CUDA_VISIBLE_DEVICES` names them.

    By that variable, where it is set; else by `nvidia-smi`. TensorFlow is not asked: a process
    that has looked at GPUs holds memory of them.
    """
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        names = [name.strip() for name in visible.split(",")]
        # CUDA takes those before the first that is not there.
        return names[: next((at for at, name in enumerate(names) if name in ("", "-1")), None)]
    program = shutil.which("nvidia-smi", path=environment.get("PATH"))
    if program is None:
        return []
    try:
        done = subprocess.run(
            [program, "-L"], capture_output=True, text=True, timeout=_SECONDS_TO_LIST, check=True
        )
    except (OSError, subprocess.SubprocessError):  # a driver that does not answer has no GPU for us
        return []
    return _GPU_LINE.findall(done.stdout)
