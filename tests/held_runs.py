"""Runs that wait for a test where it has something to do.

A short run is over a second later. A test that was not given the processor for so long, as
happens where several are tested at once, would come too late to stop it.
"""

import os
import pathlib
import time
from collections.abc import Callable

_FOLDER = pathlib.Path(__file__).parent / "holding"
_SECONDS = 600


class Hold:
    """Holds processes just before they put the index of a checkpoint, its last file, in its place.

    SIGTERM lets its process go on, as `release` does all: what sends it, such as Slurm, may take
    seconds to get it there.

    Attributes:
      environment: variables of the processes that are to be held.
    """

    def __init__(self, folder: pathlib.Path, step: int):
        """Holds whoever saves that step, until `release`.

        Args:
          folder: where two files are left that no other hold has.
          step: of the checkpoint.
        """
        self._gate = folder / f"hold-at-{step}"
        paths = filter(None, [str(_FOLDER), os.environ.get("PYTHONPATH")])
        self.environment = {
            "PYTHONPATH": os.pathsep.join(paths),
            "MNIST_LIB_TESTS_HOLD": f"ckpt-{step}.index={self._gate}",
        }

    def workdirs(self) -> list[pathlib.Path]:
        """Returns the run directories of those who were held, in that order."""
        held = self._gate.with_name(f"{self._gate.name}.held")
        lines = held.read_text().splitlines() if held.exists() else []
        return [pathlib.Path(line).parent for line in lines]

    def wait(self, is_over: Callable[[], bool], num_runs: int = 1) -> None:
        """Waits until as many runs are held.

        Args:
          is_over: whether all that could be have ended.
          num_runs: how many.
        """
        deadline = time.monotonic() + _SECONDS
        while len(self.workdirs()) < num_runs and not is_over():
            assert time.monotonic() < deadline, f"nobody has come to {self._gate}"
            time.sleep(0.01)

    def release(self) -> None:
        """Lets go who is held, and who would be."""
        self._gate.touch()
