"""System calls of a process: recorded, and tampered with, by strace."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence

# Those that change what a folder holds; `openat` only where it may create.
CHANGING = (
    "openat",
    "write",
    "fsync",
    "rename",
    "unlink",
    "unlinkat",
    "mkdir",
    "rmdir",
    "ftruncate",
)
_OTHERS = (
    "open",
    "creat",
    "pwrite64",
    "writev",
    "lseek",
    "close",
    "dup",
    "dup2",
    "link",
    "symlink",
)
_CALL = re.compile(
    r"(?P<tid>\d+) +(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>\S+)(?P<rest>.*)"
)
_UNFINISHED = re.compile(r"(?P<tid>\d+) +(?P<start>\w+\(.*) <unfinished \.\.\.>")
_RESUMED = re.compile(r"(?P<tid>\d+) +<\.\.\. \w+ resumed>(?P<end>.*)")
_HEX = re.compile(r"(?:\\x[0-9a-f]{2})+")


@dataclasses.dataclass(frozen=True)
class Call:
    """One call, as strace saw it.

    Attributes:
      name: of the system call.
      number: the how-maniest of this name in its thread, from 1.
      arguments: as strace writes them; strings are hexadecimal.
      result: what it returned, -1 if it failed.
      is_injected: whether strace has tampered with it.
    """

    name: str
    number: int
    arguments: str
    result: int
    is_injected: bool

    def paths(self) -> list[str]:
        """Returns the paths among the arguments, those of open files too."""
        found = re.findall(r'"((?:\\x[0-9a-f]{2})*)"|<((?:\\x[0-9a-f]{2})+)>', self.arguments)
        paths = [text(quoted or of_open_file) for quoted, of_open_file in found]
        if self.name in ("openat", "unlinkat"):  # a folder, and a path that may be relative to it
            return [os.path.join(*paths[:2])]
        return paths[: 2 if self.name in ("rename", "link", "symlink") else 1]

    def content(self) -> bytes:
        """Returns what is written."""
        return as_bytes(re.findall(r'"((?:\\x[0-9a-f]{2})*)"', self.arguments)[-1])

    def changes(self, folder: pathlib.Path) -> bool:
        """Whether it may change what is in a folder, or the folder itself."""
        if self.name not in CHANGING or (self.name == "openat" and "O_CREAT" not in self.arguments):
            return False
        paths = self.paths()
        return bool(paths) and pathlib.Path(paths[-1]).is_relative_to(folder)


def as_bytes(hexadecimal: str) -> bytes:
    """Returns what strace wrote as `\\x..`."""
    return bytes.fromhex(hexadecimal.replace("\\x", ""))


def text(hexadecimal: str) -> str:
    """Returns a path that strace wrote as `\\x..`."""
    return as_bytes(hexadecimal).decode("utf-8", "surrogateescape")


def attach(pid: int, log: pathlib.Path, injections: Sequence[str] = ()) -> subprocess.Popen:
    """Has strace follow a process, that is stopped, and all its threads.

    Args:
      pid: the process.
      log: where the calls are written.
      injections: values of strace's `--inject`; none: all that is written is recorded.
    """
    command = ["strace", "-f", "-y", "-xx", "-s", "256" if injections else "100000000"]
    command += ["-o", str(log), "-e", "trace=" + ",".join((*CHANGING, *_OTHERS))]
    for injection in injections:
        command += ["-e", f"inject={injection}"]
    tracer = subprocess.Popen(
        [*command, "-p", str(pid)], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert tracer.stderr is not None
    line = tracer.stderr.readline()
    if "attached" not in line:
        raise RuntimeError(f"strace: {line}{tracer.stderr.read()}")
    return tracer


def calls(log: pathlib.Path, pid: int) -> Iterator[Call]:
    """Yields the calls of the first thread of a process that returned, in order."""
    counts: Counter[str] = Counter()
    begun: dict[str, str] = {}
    with log.open(errors="surrogateescape") as lines:
        for line in lines:
            if match := _UNFINISHED.match(line):
                begun[match["tid"]] = match["start"]
                continue
            if match := _RESUMED.match(line):
                line = f"{match['tid']} {begun.pop(match['tid'], '')}{match['end']}"
            if (match := _CALL.match(line)) and match["tid"] == str(pid):
                counts[match["name"]] += 1
                failed = match["result"] in ("-1", "?")
                yield Call(
                    match["name"],
                    counts[match["name"]],
                    match["arguments"],
                    -1 if failed else int(match["result"].partition("<")[0], 0),
                    "INJECTED" in match["rest"],
                )
