"""The guard that ends what a process has started when that process was killed."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from mnist_lib.distribution import orphans

# Starts a process, in a group of its own or in this one's, has it guarded, and waits.
CODE = """
import subprocess, sys, time
sys.path.insert(0, {root!r})
from mnist_lib.distribution import orphans
child = subprocess.Popen(["sleep", "600"], start_new_session={alone})
forgotten = subprocess.Popen(["sleep", "600"], start_new_session=True)
guard = orphans.Guard(5)
guard.add(child.pid)
guard.add(forgotten.pid)
guard.forget(forgotten.pid)
print(child.pid, forgotten.pid, flush=True)
time.sleep(600)
"""


def _is_there(number: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    try:
        status = pathlib.Path(f"/proc/{number}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("alone", [True, False])
def test_what_is_guarded_ends_with_a_process_that_is_killed(alone):
    """Also what has not founded its group yet, as a process in its first moments."""
    root = os.fspath(pathlib.Path(orphans.__file__).parents[2])
    code = CODE.format(root=root, alone=alone)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as parent:
        child, forgotten = map(int, parent.stdout.readline().split())
        try:
            assert _is_there(child)
            parent.kill()
            parent.wait()
            deadline = time.monotonic() + 60
            while _is_there(child) and time.monotonic() < deadline:
                time.sleep(0.02)
            assert not _is_there(child)
            assert _is_there(forgotten)
        finally:
            os.kill(forgotten, signal.SIGKILL)
