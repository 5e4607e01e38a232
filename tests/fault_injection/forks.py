"""Work done in a fork of this process, so that TensorFlow is imported once."""

from __future__ import annotations

import os
import pathlib
import signal
import sys
from collections.abc import Callable


def start(work: Callable[[], None], log: pathlib.Path, *, stopped: bool = False) -> int:
    """Starts a fork; it ends with the exit code that the work ends with.

    Args:
      work: what it does.
      log: where its output goes.
      stopped: whether it waits for SIGCONT before it begins.

    Returns:
      Its process id; if `stopped`, it is.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        if stopped:
            os.waitpid(pid, os.WUNTRACED)
        return pid
    code = os.EX_SOFTWARE
    try:
        os.setsid()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(output, stream)
        if stopped:
            os.kill(os.getpid(), signal.SIGSTOP)
        work()
        code = os.EX_OK
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else os.EX_SOFTWARE
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait(pid: int) -> int:
    """Returns how a fork ended, as `os.waitpid` says it."""
    return os.waitpid(pid, 0)[1]
