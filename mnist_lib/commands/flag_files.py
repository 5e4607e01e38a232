"""Whether the files that `--flagfile` names can be read in bounded time and memory.

absl reads all of them, and those that they name, before it looks at any line.
"""

from __future__ import annotations

import itertools
import os
import pathlib
import re
from collections.abc import Iterable

from mnist_lib import bounded, errors

_MOST_BYTES, _MOST_FILES = 2**20, 100
# As absl tells them, in arguments and in lines of files; the second, in two arguments.
_NAMED = re.compile(r"--?flagfile=(.*)")
_NAMED_NEXT = ("--flagfile", "-flagfile")


def check(arguments: Iterable[str]) -> None:
    """Checks the flag files that arguments name, and those named in them.

    Args:
      arguments: of a command.

    Raises:
      ConfigError: one cannot be read, is longer than 1 MB or no text in UTF-8; or they name
        more than 100, those that are named twice counted twice.
    """
    several = list(itertools.takewhile(lambda one: one != "--", arguments))
    names = [name for one in several if (name := _named(one)) is not None]
    names += [after for one, after in itertools.pairwise(several) if one in _NAMED_NEXT]
    num_read = 0
    while names:
        name = names.pop()
        num_read += 1
        if num_read > _MOST_FILES:
            raise errors.ConfigError(
                "flagfile", f"names more than {_MOST_FILES} files, with theirs"
            )
        if name:
            names += [inner for line in _lines(name) if (inner := _named(line)) is not None]


def _named(text: str) -> str | None:
    found = _NAMED.match(text)
    return found and os.path.expanduser(found[1].strip())


def _lines(name: str) -> list[str]:
    try:
        return bounded.read_file(pathlib.Path(name), _MOST_BYTES).decode("utf-8").splitlines()
    except (OSError, ValueError) as error:
        cause = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise errors.ConfigError(
            "flagfile", f"{name} cannot be used ({cause}); name a text file with a flag per line"
        ) from error
