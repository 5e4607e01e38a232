"""Runs `command`."""

import sys

from tests.fault_injection import command

if __name__ == "__main__":
    sys.exit(command.main())
