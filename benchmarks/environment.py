"""What a report says about the machine and the versions."""

from __future__ import annotations

import datetime
import os
import pathlib
import platform
from importlib import metadata

_PACKAGES = (
    *("mnist_lib", "tensorflow", "keras", "tf-models-official", "torch", "jax", "flax", "optax"),
    "numpy",
)


def describe() -> dict:
    """Returns date, processor, cores that may be used, load, Python and packages."""
    return {
        "date": datetime.date.today().isoformat(),
        "processor": _processor(),
        "num_cores": len(os.sched_getaffinity(0)),
        "load_average": round(os.getloadavg()[0], 2),
        "system": platform.system(),
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def _processor() -> str:
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
