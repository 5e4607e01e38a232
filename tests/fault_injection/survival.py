"""Doing the work again after a fault, and judging what it comes to."""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import pathlib
import re
import shutil
import time
from collections.abc import Iterator, Sequence

from tests.fault_injection import forks, scenarios

SAME, REFUSED, LOST = "same", "refused", "lost"
# sysexits of the contract; 70 is for what diverged, which nothing here does.
_CODES = {os.EX_OK, os.EX_DATAERR, os.EX_NOINPUT, os.EX_CANTCREAT, os.EX_IOERR, os.EX_TEMPFAIL}
_JSON = ("config.json", "run.json", "results.json", "export.json")


@dataclasses.dataclass(frozen=True)
class Verdict:
    """How one attempt went on.

    Attributes:
      result: `same` as without a fault; `refused`, with a line that says why; or `lost`.
      why: the line, or what differs.
    """

    result: str
    why: str = ""


def judge_end(code: int, log: pathlib.Path) -> str:
    """Returns what is wrong with how a process ended; "": nothing."""
    said = log.read_text(errors="replace")
    last = (said.strip().splitlines() or [""])[-1]
    if code not in _CODES:
        return f"exit code {code}: {last}"
    if "Traceback (most recent" in said:
        return f"a traceback, exit code {code}: {last}"
    if code and not last.startswith("error: "):
        return f"exit code {code}, and no line that says why: {last}"
    return ""


def judge(
    scenario: scenarios.Scenario,
    folders: Sequence[pathlib.Path],
    reference: dict,
    log: pathlib.Path,
    *,
    jobs: int = 1,
    ignored: tuple[str, ...] = (),
) -> list[Verdict]:
    """Does the work again in each folder, and compares.

    Args:
      scenario: the work.
      folders: what attempts that failed have left.
      reference: what it comes to where nothing failed.
      log: where output and verdicts go, with a number for each process.
      jobs: how many processes go on at once.
      ignored: entries of the outcome that may differ.

    Returns:
      A verdict for each folder.
    """
    parts = [
        _Part(list(folders[first::jobs]), log.with_suffix(f".{first}")) for first in range(jobs)
    ]
    while unfinished := [part for part in parts if part.rest]:
        pids = [
            forks.start(lambda: part.judge(scenario, reference, ignored), part.log)  # noqa: B023
            for part in unfinished
        ]
        for part, pid in zip(unfinished, pids, strict=True):
            part.ended(forks.wait(pid))
    verdicts = {}
    for part in parts:
        verdicts |= dict(zip(part.folders, part.verdicts, strict=True))
    return [verdicts[folder] for folder in folders]


@dataclasses.dataclass
class _Part:
    """Folders that one process goes on with, one after the other."""

    folders: list[pathlib.Path]
    log: pathlib.Path
    verdicts: list[Verdict] = dataclasses.field(default_factory=list)

    @property
    def rest(self) -> list[pathlib.Path]:
        """Those without a verdict."""
        return self.folders[len(self.verdicts) :]

    @property
    def _written(self) -> pathlib.Path:
        return self.log.with_name(self.log.name + ".verdicts")

    def judge(
        self, scenario: scenarios.Scenario, reference: dict, ignored: tuple[str, ...]
    ) -> None:
        """Goes on with the rest; in a process of its own."""
        with self._written.open("w") as lines:
            for folder in self.rest:
                verdict = _again(scenario, folder, reference, ignored)
                lines.write(json.dumps(dataclasses.asdict(verdict)) + "\n")
                lines.flush()

    def ended(self, status: int) -> None:
        """Reads what the process has written, which may have ended in the midst of a folder."""
        lines = self._written.read_text().splitlines()
        self._written.unlink()
        self.verdicts += [Verdict(**json.loads(line)) for line in lines]
        if status and self.rest:
            why = f"the process that went on ended with {status}, see {self.log}"
            self.verdicts.append(Verdict(LOST, why))


def _again(
    scenario: scenarios.Scenario,
    folder: pathlib.Path,
    reference: dict,
    ignored: tuple[str, ...],
) -> Verdict:
    import keras

    import mnist_lib

    if problem := next(_half_written(folder), None):
        return Verdict(LOST, problem)
    _make_old(folder)
    keras.backend.clear_session()
    try:
        scenario.act(folder)
    except mnist_lib.errors.MnistLibError as error:
        return Verdict(REFUSED, f"{type(error).__name__}: {error}")
    except Exception as error:
        return Verdict(LOST, f"{type(error).__name__}: {error}")
    found = json.loads(json.dumps(scenario.outcome(folder)))
    for name in reference:
        if name not in ignored and found[name] != reference[name]:
            return Verdict(LOST, f"{name}: {_difference(reference[name], found[name])}")
    return Verdict(SAME)


def _half_written(folder: pathlib.Path) -> Iterator[str]:
    """Yields what has its final name and is not whole."""
    from mnist_lib.runs import checkpoint_files, checkpoints

    for path in folder.rglob("*.json"):
        if path.name in _JSON:
            try:
                json.loads(path.read_text())
            except ValueError as error:
                yield f"{path}: {error}"
    for directory in (folder / "run" / "checkpoints", folder / "run" / "best"):
        for step in checkpoint_files.steps_in(directory):
            problem = checkpoints.checkpoint_problem(directory / f"ckpt-{step}")
            # Without an index it is one that is being removed.
            if problem and not problem.startswith("incomplete"):
                yield f"{directory}/ckpt-{step}: {problem}"


def _make_old(folder: pathlib.Path) -> None:
    """Makes all of it as old as if one came back after lunch."""
    then = time.time() - 7200
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (then, then), follow_symlinks=False)


def _difference(expected: object, found: object) -> str:
    """Says in a few words where two values differ."""
    if isinstance(expected, list) and isinstance(found, list):
        counted = [collections.Counter(map(str, values)) for values in (expected, found)]
        missing = list((counted[0] - counted[1]).elements())
        added = list((counted[1] - counted[0]).elements())
        return f"missing {missing[:4]}, added {added[:4]}"
    if isinstance(expected, dict) and isinstance(found, dict):
        keys = sorted(expected.keys() | found.keys())
        differing = [key for key in keys if expected.get(key) != found.get(key)]
        key = differing[0]
        return f"{len(differing)} differ; {key}: {_difference(expected.get(key), found.get(key))}"
    return f"{_short(expected)} became {_short(found)}"


def _short(value: object) -> str:
    return re.sub(r"\s+", " ", str(value))[:120]


def copied(source: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
    """Copies a folder; returns the copy."""
    shutil.copytree(source, target, symlinks=True)
    return target
