"""How much of the machine is taken while something is timed: cores by others, memory by itself.

Loops differ in what a busy neighbour does to them (threads that wait for each other at
every operation suffer most), so that even ratios mean little while there is one.
"""

from __future__ import annotations

import os
import pathlib
import resource
import time

_STAT = pathlib.Path("/proc/stat")
# Fields of its first line, see proc(5): user nice system idle iowait irq softirq steal.
_IDLE_FIELDS = (3, 4)
_NUM_FIELDS = 8
# Cores kept busy by others; above this the ratios are not to be trusted.
QUIET_CORES = 0.15


class OthersLoad:
    """Counts the processor time of all but this process, from when it is made."""

    def __init__(self):
        self._started = time.perf_counter()
        self._busy, self._own = _busy_seconds(), time.process_time()

    def cores(self) -> float:
        """Returns how many cores others have kept busy on average; 0 where it is not known."""
        busy = _busy_seconds() - self._busy
        own = time.process_time() - self._own
        return max(0.0, busy - own) / (time.perf_counter() - self._started)


def peak_memory_mb() -> float:
    """Returns the largest resident set of this process so far, in MB (2**20 bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _busy_seconds() -> float:
    if not _STAT.is_file():
        return 0.0
    ticks = [int(field) for field in _STAT.read_text().split(maxsplit=_NUM_FIELDS + 1)[1:-1]]
    busy = sum(value for field, value in enumerate(ticks) if field not in _IDLE_FIELDS)
    return busy / os.sysconf("SC_CLK_TCK")
