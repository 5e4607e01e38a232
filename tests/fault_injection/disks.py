"""What is on a disk after a power loss, by what was written to it and what was waited for.

Two file systems are played. Both lose what was written to a file since its last fsync. On the first
(as ext4) names are on the disk in the order in which they were given; on the second (what POSIX
promises) a name that was given, taken or moved is there after an fsync of its folder, no sooner.
After Pillai et al. 2014, "All File Systems Are Not Created Equal", and Mohan et al. 2018,
"CrashMonkey".
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterator, Sequence

from tests.fault_injection import tracing

NOT_SYNCED = "power loss: what was not fsynced"
NOT_NAMED = "power loss: that, and names in folders that were not"
ONE_WRITE = "power loss: one write or name of those"


@dataclasses.dataclass(frozen=True)
class _Operation:
    """One change: `kind` is write, cut, name (of a new file), folder, move or remove."""

    kind: str
    path: str
    file: int = -1  # which of the files there have been
    to: str = ""
    offset: int = 0
    content: bytes = b""


@dataclasses.dataclass(frozen=True)
class DiskState:
    """What is in a folder: paths to content; None: a folder.

    Attributes:
      fault: what was lost.
      call: after how many calls.
      files: by path.
      num_operations: after how many changes.
      lost: which of these; -1: not one alone.
    """

    fault: str
    call: int
    files: dict[str, bytes | None]
    num_operations: int
    lost: int = -1

    @property
    def key(self) -> str:
        """What it is known by in another recording of the same work."""
        return f"{self.num_operations} {self.lost}"

    @property
    def digest(self) -> str:
        """Two states of one digest are the same."""
        content = repr(sorted(self.files.items())).encode()
        return hashlib.sha256(content).hexdigest()

    def write_to(self, folder: pathlib.Path, recorded_in: pathlib.Path) -> None:
        """Makes it, in another folder than the one that was recorded."""
        for path in sorted(self.files):
            at = folder / pathlib.Path(path).relative_to(recorded_in)
            content = self.files[path]
            if content is None:
                at.mkdir(parents=True, exist_ok=True)
            else:
                at.parent.mkdir(parents=True, exist_ok=True)
                at.write_bytes(content)


class Recording:
    """The changes that a recorded process made in a folder, and what it waited for."""

    def __init__(
        self, calls: Sequence[tracing.Call], folder: pathlib.Path, before: dict[str, bytes | None]
    ):
        """Reads the calls.

        Args:
          calls: of the thread that wrote.
          folder: where.
          before: what was there, by path, all of it on the disk.
        """
        self._operations: list[tuple[int, _Operation]] = []
        self._synced: list[tuple[int, str]] = []  # call, path of a folder
        self._synced_files: list[tuple[int, int]] = []
        self._before = before
        self._file_at: dict[str, int] = {}
        self._num_files = 0
        self._open: dict[int, tuple[int, int]] = {}  # descriptor: file, offset
        for path, content in before.items():
            if content is not None:
                self._new_file(path)
        self.num_calls = len(calls)
        for number, call in enumerate(calls):
            paths = call.paths() if call.result >= 0 else []
            if paths and pathlib.Path(paths[0]).is_relative_to(folder):
                self._read(number, call, paths)

    def _new_file(self, path: str) -> int:
        self._file_at[path] = self._num_files
        self._num_files += 1
        return self._file_at[path]

    def _add(self, number: int, operation: _Operation) -> None:
        self._operations.append((number, operation))

    def _read(self, number: int, call: tracing.Call, paths: list[str]) -> None:
        path, name = paths[0], call.name
        descriptor = int(call.arguments.partition("<")[0]) if call.arguments[0].isdigit() else -1
        if name == "openat":
            self._read_open(number, call)
        elif name in ("write", "pwrite64") and descriptor in self._open:
            file, offset = self._open[descriptor]
            content = call.content()[: call.result]
            self._add(number, _Operation("write", path, file, offset=offset, content=content))
            self._open[descriptor] = file, offset + len(content)
        elif name == "ftruncate" and descriptor in self._open:
            size = int(call.arguments.rpartition(",")[2])
            self._add(number, _Operation("cut", path, self._open[descriptor][0], offset=size))
        elif name == "lseek" and descriptor in self._open:
            self._open[descriptor] = self._open[descriptor][0], call.result
        elif name == "fsync":
            if descriptor in self._open:
                self._synced_files.append((number, self._open[descriptor][0]))
            elif path in self._file_at:
                self._synced_files.append((number, self._file_at[path]))
            else:
                self._synced.append((number, path))
        elif name == "rename":
            file = self._file_at.get(path, -1)
            for old in [one for one in self._file_at if _is_in(one, path)]:
                self._file_at[paths[1] + old[len(path) :]] = self._file_at.pop(old)
            self._add(number, _Operation("move", path, file, to=paths[1]))
        elif name == "mkdir":
            self._add(number, _Operation("folder", path))
        elif name in ("unlink", "rmdir", "unlinkat"):
            self._file_at.pop(path, None)
            self._add(number, _Operation("remove", path))
        elif name == "close":
            self._open.pop(descriptor, None)
        elif name in ("writev", "link", "symlink", "creat", "dup", "dup2"):
            raise NotImplementedError(f"{name} of {path} is not played")

    def _read_open(self, number: int, call: tracing.Call) -> None:
        path = call.paths()[-1]
        if "O_TMPFILE" in call.arguments or "O_DIRECTORY" in call.arguments:
            return
        if "O_CREAT" in call.arguments and path not in self._file_at:
            self._add(number, _Operation("name", path, self._new_file(path)))
        if path not in self._file_at:
            return
        file = self._file_at[path]
        if "O_TRUNC" in call.arguments:
            self._add(number, _Operation("cut", path, file))
        self._open[call.result] = file, 0

    def states(self) -> Iterator[DiskState]:
        """Yields what may be on the disk, after each call that changed something; each once."""
        seen = set()
        numbers = sorted({number for number, _ in self._operations})
        for end in (*numbers, self.num_calls):
            for state in self.states_after(end):
                if state.digest not in seen:
                    seen.add(state.digest)
                    yield state

    def states_after(self, end: int) -> Iterator[DiskState]:
        """Yields what may be on the disk after the first `end` calls."""
        done = [(number, one) for number, one in self._operations if number < end]
        kept = [not self._is_lost(number, one, end) for number, one in done]
        named = [
            keep and self._has_name(number, one, end)
            for keep, (number, one) in zip(kept, done, strict=True)
        ]
        yield DiskState(NOT_SYNCED, end, self._played(done, kept), len(done))
        yield DiskState(NOT_NAMED, end, self._played(done, named), len(done))
        for index, is_safe in enumerate(named):
            if not is_safe:
                alone = [number != index for number in range(len(done))]
                yield DiskState(ONE_WRITE, end, self._played(done, alone), len(done), index)

    def _is_lost(self, number: int, one: _Operation, end: int) -> bool:
        """Whether it is content that nobody has waited for."""
        if one.kind not in ("write", "cut"):
            return False
        return not any(file == one.file and number < at < end for at, file in self._synced_files)

    def _has_name(self, number: int, one: _Operation, end: int) -> bool:
        if one.kind not in ("name", "move", "remove"):
            return True
        parent = os.path.dirname(one.to or one.path)
        return any(
            number < at < end and path == self._path_at(at, parent, number)
            for at, path in self._synced
        )

    def _path_at(self, end: int, path: str, begin: int) -> str:
        """Returns where something is that was at a path at a call, at a later one."""
        for number, one in self._operations:
            is_of_folder = one.kind == "move" and one.file < 0
            if is_of_folder and begin < number < end and _is_in(path, one.path):
                path = one.to + path[len(one.path) :]
        return path

    def _played(self, done: list[tuple[int, _Operation]], kept: list[bool]) -> dict:
        contents: dict[int, bytearray] = {}
        names: dict[str, int | None] = {}
        for file, (path, content) in enumerate(
            item for item in self._before.items() if item[1] is not None
        ):
            contents[file] = bytearray(content or b"")
            names[path] = file
        names |= {path: None for path, content in self._before.items() if content is None}
        for (_, one), keep in zip(done, kept, strict=True):
            if keep:
                _play(one, contents, names)
        return {
            path: None if file is None else bytes(contents.get(file, b""))
            for path, file in names.items()
        }


def _play(one: _Operation, contents: dict[int, bytearray], names: dict[str, int | None]) -> None:
    """Does one change; of what is not there nothing is changed."""
    if one.kind == "write":
        content = contents.setdefault(one.file, bytearray())
        content.extend(bytes(max(0, one.offset - len(content))))
        content[one.offset : one.offset + len(one.content)] = one.content
    elif one.kind == "cut":
        del contents.setdefault(one.file, bytearray())[one.offset :]
    elif one.kind == "name":
        names[one.path] = one.file
    elif one.kind == "folder":
        names[one.path] = None
    elif one.kind == "move" and one.file >= 0:  # whether or not its former name was there
        names.pop(one.path, None)
        names[one.to] = one.file
    elif one.kind == "move":
        for path in [path for path in names if _is_in(path, one.path)]:
            names[one.to + path[len(one.path) :]] = names.pop(path)
    elif one.kind == "remove":  # a folder takes what is in it along
        for path in [path for path in names if _is_in(path, one.path)]:
            del names[path]


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")


def contents_of(folder: pathlib.Path) -> dict[str, bytes | None]:
    """Returns all that is in a folder, by path; None: a folder."""
    return {
        str(path): None if path.is_dir() else path.read_bytes()
        for path in (folder, *folder.rglob("*"))
    }
