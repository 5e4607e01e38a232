"""Which devices are used, and why a GPU that is in the machine is not."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping, Sequence

from mnist_lib import choices

# What TensorFlow says where its CUDA libraries are missing, and where the driver refuses.
_LIBRARIES_MISSING = ("Could not find cuda drivers", "Cannot dlopen some GPU libraries")
_DRIVER_REFUSES = "cuInit"
_INSTALL_CUDA = 'pip install "mnist_lib[and-cuda]"'
_PCI_DISPLAY = "0x03"
_PCI_NVIDIA = "0x10de"
# These use the first GPU alone.
_ONE_DEVICE = ("default", "one_device")


def describe_devices(
    gpu_names: Sequence[str], num_cores: int, *, strategy: str | None = None, num_replicas: int = 0
) -> str:
    """Returns a line on the devices that are used.

    Args:
      gpu_names: the GPUs that TensorFlow uses.
      num_cores: processor cores that this process may use.
      strategy: a name in `choices.NAMES["strategy"]`; None for what has none.
      num_replicas: logical devices that the CPU is split into; 0 for none.
    """
    if strategy is not None:
        choices.check("strategy", strategy)
    cpu = f"CPU, {num_cores} core{'s' if num_cores > 1 else ''}"
    if num_replicas:
        return f"{cpu}, split into {num_replicas} replica{'s' if num_replicas > 1 else ''}"
    if not gpu_names:
        return cpu
    names = ", ".join(dict.fromkeys(gpu_names))
    count = len(gpu_names)
    if count > 1 and strategy in (None, *_ONE_DEVICE):
        return f"1 of {count} GPUs ({names})" + (
            "; the strategy mirrored uses all" if strategy else ""
        )
    return f"{count} GPU{'s' if count > 1 else ''} ({names})"


def has_nvidia_gpu(root: pathlib.Path) -> bool:
    """Returns whether the machine has an NVIDIA GPU, with a driver or without.

    Args:
      root: the root of the file system.
    """
    if any(root.glob("proc/driver/nvidia/gpus/*")) or any(root.glob("dev/nvidia[0-9]*")):
        return True
    return any(
        _content(device / "vendor") == _PCI_NVIDIA
        and _content(device / "class").startswith(_PCI_DISPLAY)
        for device in root.glob("sys/bus/pci/devices/*")
    )


def why_no_gpu(
    root: pathlib.Path, environment: Mapping[str, str], said: str, *, built_with_cuda: bool
) -> str | None:
    """Returns why TensorFlow uses no GPU though one is there, and what to do.

    Args:
      root: the root of the file system.
      environment: the variables of the process.
      said: what TensorFlow wrote to standard error when it looked for its devices.
      built_with_cuda: whether this TensorFlow can use NVIDIA GPUs at all.

    Returns:
      One line; None if the machine has no NVIDIA GPU.
    """
    if not has_nvidia_gpu(root):
        return None
    reason = _reason(environment, said, built_with_cuda)
    return f"The NVIDIA GPU of this machine is not used: {reason}."


def _reason(environment: Mapping[str, str], said: str, built_with_cuda: bool) -> str:
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and (not visible.strip() or visible.strip().startswith("-1")):
        return f"the environment variable CUDA_VISIBLE_DEVICES is '{visible}'. Unset it"
    if not built_with_cuda:
        return f"this TensorFlow is built without CUDA. Install PyPI's: {_INSTALL_CUDA}"
    reasons = []
    if refusal := next((line for line in said.splitlines() if _DRIVER_REFUSES in line), None):
        reasons.append(
            f"its driver cannot be used ({_message(refusal)}). nvidia-smi tests the driver"
        )
    if any(sign in said for sign in _LIBRARIES_MISSING):
        reasons.append(f"CUDA's libraries are missing. {_INSTALL_CUDA}")
    default = "TensorFlow does not say why. TF_CPP_MIN_LOG_LEVEL=0 shows all that it says"
    return "; and ".join(reasons) or default


def _message(line: str) -> str:
    """Returns a log line without its time, process and place."""
    return re.sub(r"^.*?\w+\.cc:\d+\] ", "", line.strip())


def _content(path: pathlib.Path) -> str:
    return path.read_text().strip() if path.is_file() else ""
