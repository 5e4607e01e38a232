"""The faults, and how strace is told of each."""

from __future__ import annotations

import dataclasses
import pathlib
import subprocess
from collections.abc import Sequence

from tests.fault_injection import tracing

KILL = "killed before the call"
RANDOM_KILLS = "killed at a random time"
TERM = "SIGTERM at the call"
_ONCE = {f"{error}, once": error for error in ("ENOSPC", "EIO", "EACCES", "EROFS", "EDQUOT")}
DISK_FULL = "disk full from the call on"
_FROM_THEN = {f"{error} from the call on": error for error in ("EIO", "EROFS", "ESTALE", "EACCES")}
ERRORS = (*_ONCE, DISK_FULL, *_FROM_THEN)
# What can fail from then on without the process's own messages failing too.
_FAIL_ON = ("fsync", "rename", "unlink", "mkdir", "rmdir")
# Which call cannot fail with which error.
_IMPOSSIBLE = {
    "fsync": ("EACCES", "EROFS"),
    "write": ("EACCES", "EROFS"),
    "rmdir": ("ENOSPC", "EDQUOT"),
}
_IMPOSSIBLE["unlink"] = _IMPOSSIBLE["unlinkat"] = _IMPOSSIBLE["rmdir"]


@dataclasses.dataclass(frozen=True)
class Point:
    """A fault at one call.

    Attributes:
      fault: one of those above.
      index: which of the calls that change something.
      call: the call, as it was recorded.
      counts: how many of each name there were before it.
    """

    fault: str
    index: int
    call: tracing.Call
    counts: dict[str, int]

    @property
    def key(self) -> str:
        """What it is known by in another recording of the same work."""
        return f"{self.index} {self.call.name}"

    def injections(self) -> list[str]:
        """Returns what strace is told."""
        at = f"{self.call.name}:when={self.call.number}"
        if self.fault == KILL:
            return [f"{at}:signal=KILL"]
        if self.fault == TERM:
            return [f"{at}:signal=TERM"]
        if self.fault in _ONCE:
            return [f"{at}:error={_ONCE[self.fault]}"]
        if self.fault in _FROM_THEN:
            error = _FROM_THEN[self.fault]
            return [
                f"{name}:error={error}:when={self.counts.get(name, 0) + (name != self.call.name)}+"
                for name in _FAIL_ON
                if error not in _IMPOSSIBLE.get(name, ())
            ]
        return [f"{at}:signal=STOP"]  # and the disk is filled meanwhile


def possible(fault: str, call: tracing.Call) -> bool:
    """Whether a call can have a fault."""
    if fault in _FROM_THEN and call.name not in _FAIL_ON:
        return False
    return (_ONCE | _FROM_THEN).get(fault) not in _IMPOSSIBLE.get(call.name, ())


def points(
    calls: Sequence[tracing.Call], folder: pathlib.Path, faults: Sequence[str]
) -> list[Point]:
    """Returns every fault at every call that changes what is in a folder."""
    counts: dict[str, int] = {}
    found, index = [], 0
    for call in calls:
        counts[call.name] = call.number
        if call.changes(folder):
            found += [
                Point(fault, index, call, dict(counts)) for fault in faults if possible(fault, call)
            ]
            index += 1
    return found


class SmallDisk:
    """A small file system in memory, on a folder; only root can make one."""

    def __init__(self, folder: pathlib.Path):
        """Mounts it."""
        self._folder = folder
        self._filler = folder / ".filler"
        _run("mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(folder))

    def fill(self) -> None:
        """Leaves no byte free."""
        with self._filler.open("wb", buffering=0) as filler:
            try:
                while filler.write(bytes(1 << 12)):
                    pass
            except OSError:
                return

    def free(self) -> None:
        """Frees it."""
        self._filler.unlink(missing_ok=True)

    def remove(self) -> None:
        """Takes it away, with what is in it."""
        _run("umount", "-l", str(self._folder))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
