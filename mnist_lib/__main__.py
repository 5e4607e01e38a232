"""All commands in one: `python -m mnist_lib COMMAND` and, installed, `mnist-lib COMMAND`."""

import sys

from mnist_lib.commands import command_line


def main() -> None:
    """Runs the command that the command line names, and ends the process."""
    command_line.run_named(sys.argv[1:])


if __name__ == "__main__":
    main()
