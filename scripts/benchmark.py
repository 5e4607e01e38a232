"""The command of benchmarks/, which is not installed; `python -m benchmarks` is the same."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from benchmarks import command

if __name__ == "__main__":
    command.run()
