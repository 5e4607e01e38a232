"""All faults of one scenario: which there are, each put in, and what came of it."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from random import Random

import tqdm

from tests.fault_injection import disks, faults, forks, scenarios, survival, tally, tracing

_TOGETHER = 12  # attempts that one process goes on with, one after the other
_HANGS = 300.0  # seconds; most take five


@dataclasses.dataclass
class _Attempt:
    """A process at work, with a fault to come."""

    point: faults.Point
    folder: pathlib.Path
    pid: int
    tracer: subprocess.Popen
    disk: faults.SmallDisk | None
    is_disk_full: bool = False
    stops_ended: int = 0
    started: float = dataclasses.field(default_factory=time.monotonic)

    @property
    def log(self) -> pathlib.Path:
        """What the process said."""
        return self.folder.with_suffix(".log")

    @property
    def trace(self) -> pathlib.Path:
        """What strace said."""
        return self.folder.with_suffix(".trace")


class Campaign:
    """All faults of one scenario."""

    def __init__(self, scenario: scenarios.Scenario, folder: pathlib.Path, jobs: int):
        """Does the work once without a fault, and records it.

        Args:
          scenario: the work.
          folder: an empty folder for all that is left.
          jobs: how many processes work at once.
        """
        self._scenario, self._jobs = scenario, jobs
        self._folder = folder
        folder.mkdir(parents=True)
        self._before = folder / "before"
        self._before.mkdir()
        self._do(lambda: scenario.begin(self._before), "before")
        # Twice: the first time Python's own files may be written.
        for name in ("first", "recorded"):
            self._recorded_in = survival.copied(self._before, folder / name)
            state = disks.contents_of(self._recorded_in)
            pid = self._start(self._recorded_in)
            tracer = tracing.attach(pid, self._recorded_in.with_suffix(".trace"))
            started = time.monotonic()
            os.kill(pid, signal.SIGCONT)
            status = forks.wait(pid)
            self._seconds = time.monotonic() - started
            tracer.wait()
            if status:
                log = self._recorded_in.with_suffix(".log").read_text()
                raise RuntimeError(f"{scenario.name}: failed without a fault: {log}")
        self._calls = list(tracing.calls(self._recorded_in.with_suffix(".trace"), pid))
        self._recording = disks.Recording(self._calls, self._recorded_in, state)
        outcome = folder / "outcome.json"
        self._do(
            lambda: outcome.write_text(json.dumps(scenario.outcome(self._recorded_in))) and None,
            "outcome",
        )
        self._reference = json.loads(outcome.read_text())

    def _do(self, work: Callable[[], object], name: str) -> None:
        log = self._folder / f"{name}.log"
        if forks.wait(forks.start(lambda: work() and None, log)):
            raise RuntimeError(f"{self._scenario.name}: {name}: {log.read_text()}")

    def _start(self, folder: pathlib.Path) -> int:
        return forks.start(
            lambda: self._scenario.as_command(folder), folder.with_suffix(".log"), stopped=True
        )

    def plan(self, wanted: Sequence[str]) -> list[faults.Point | disks.DiskState]:
        """Returns all that can go wrong, and has one of some words in its name."""

        def is_wanted(fault: str) -> bool:
            return any(words in fault for words in wanted)

        names = [name for name in (faults.KILL, faults.TERM, *faults.ERRORS) if is_wanted(name)]
        if os.geteuid():
            names = [name for name in names if name != faults.DISK_FULL]
        states = [state for state in self._recording.states() if is_wanted(state.fault)]
        return [*faults.points(self._calls, self._recorded_in, names), *states]

    def run(
        self,
        planned: Sequence[faults.Point | disks.DiskState],
        so_far: tally.Tally,
        deadline: float,
        bar: tqdm.tqdm,
    ) -> None:
        """Injects what there is time for, and has not been injected."""
        name = self._scenario.name
        counts = {one.fault: so_far.of(name, one.fault) for one in planned}
        for fault, number in collections.Counter(one.fault for one in planned).items():
            counts[fault].possible = number
        planned = _in_turn(planned, counts)
        bar.update(bar.total - len(planned))
        for first in range(0, len(planned), _TOGETHER):
            if time.monotonic() > deadline:
                break
            together = planned[first : first + _TOGETHER]
            left = [
                *self._attempts([one for one in together if isinstance(one, faults.Point)], counts)
            ]
            for number, one in enumerate(together):
                if isinstance(one, disks.DiskState):
                    folder = self._folder / f"disk-{number}"
                    one.write_to(folder, self._recorded_in)
                    counts[one.fault].injected += 1
                    left.append((one, folder))
            self._judge(left, counts)
            for one in together:
                counts[one.fault].tried.append(one.key)
            so_far.save()
            bar.update(len(together))

    def kill_at_random(
        self, times: int, random: Random, so_far: tally.Tally, deadline: float
    ) -> None:
        """Kills one run after another at random times, and goes on with each to its end.

        Args:
          times: how many kills, with those there have been.
          random: chooses when.
          so_far: what is added to.
          deadline: when no more is begun.
        """
        count = so_far.of(self._scenario.name, faults.RANDOM_KILLS)
        count.possible = max(times, count.possible)
        for number in itertools.count():
            if count.injected >= times or time.monotonic() > deadline:
                break
            folder = survival.copied(self._before, self._folder / f"killed-{number}")
            in_vain = 0
            while count.injected < times and in_vain < 3:
                log = folder.with_suffix(".log")
                pid = forks.start(lambda: self._scenario.as_command(folder), log)  # noqa: B023
                time.sleep(random.uniform(0, self._seconds))
                os.kill(pid, signal.SIGKILL)
                if forks.wait(pid) == signal.SIGKILL:
                    count.injected += 1
                    count.results[survival.SAME] += 1
                else:  # it was over sooner
                    in_vain += 1
            (verdict,) = self._verdicts([folder], ignored=())
            if verdict.result != survival.SAME:
                count.results[survival.SAME] -= 1
                count.results[survival.LOST] += 1
                count.lost.append(f"{self._scenario.name}: {count.fault}: {verdict.why}")
                tqdm.tqdm.write(count.lost[-1])
                self._keep(folder)
            so_far.save()

    def _verdicts(
        self, folders: list[pathlib.Path], ignored: tuple[str, ...]
    ) -> list[survival.Verdict]:
        log = self._folder / "again.log"
        return survival.judge(
            self._scenario, folders, self._reference, log, jobs=self._jobs, ignored=ignored
        )

    def _attempts(
        self, points: Sequence[faults.Point], counts: dict[str, tally.Count]
    ) -> list[tuple[faults.Point, pathlib.Path]]:
        """Has several processes at work; returns what those have left that had their fault."""
        waiting, at_work, left = list(enumerate(points)), {}, []
        while waiting or at_work:
            while waiting and len(at_work) < self._jobs:
                attempt = self._begin(*waiting.pop(0))
                at_work[attempt.pid] = attempt
            pid, status = os.waitpid(-1, os.WNOHANG)
            for attempt in at_work.values():
                _fill_when_stopped(attempt)
            if pid in at_work:
                attempt = at_work.pop(pid)
                if self._ended(attempt, status, counts[attempt.point.fault]):
                    left.append((attempt.point, attempt.folder))
            elif not pid:
                time.sleep(0.02)
                for attempt in at_work.values():
                    if time.monotonic() - attempt.started > _HANGS:
                        os.kill(attempt.pid, signal.SIGKILL)
        return left

    def _begin(self, number: int, point: faults.Point) -> _Attempt:
        folder = self._folder / f"attempt-{number}"
        disk = None
        if point.fault == faults.DISK_FULL:
            folder.mkdir()
            disk = faults.SmallDisk(folder)
            shutil.copytree(self._before, folder, dirs_exist_ok=True)
        else:
            survival.copied(self._before, folder)
        pid = self._start(folder)
        tracer = tracing.attach(pid, folder.with_suffix(".trace"), point.injections())
        os.kill(pid, signal.SIGCONT)
        return _Attempt(point, folder, pid, tracer, disk)

    def _ended(self, attempt: _Attempt, status: int, count: tally.Count) -> bool:
        """Judges how a process ended; returns whether the fault was put in and survived so far."""
        attempt.tracer.wait()
        point, folder = attempt.point, attempt.folder
        if attempt.disk is not None:
            attempt.disk.free()
            kept = survival.copied(folder, folder.with_name(folder.name + "-kept"))
            attempt.disk.remove()
            folder.rmdir()
            kept.rename(folder)
        if not self._was_injected(attempt, status):
            self._clear(folder)
            return False
        count.injected += 1
        problem = ""
        if os.WIFSIGNALED(status) and point.fault != faults.KILL:
            problem = f"ended by signal {os.WTERMSIG(status)}"
        elif not os.WIFSIGNALED(status):
            problem = survival.judge_end(os.WEXITSTATUS(status), attempt.log)
        if problem:
            count.results[survival.LOST] += 1
            count.lost.append(f"{self._named(point)}: {problem}")
            tqdm.tqdm.write(count.lost[-1])
            self._keep(folder)
        return not problem

    def _was_injected(self, attempt: _Attempt, status: int) -> bool:
        """Whether the fault was at a call that changes the folder."""
        point = attempt.point
        if point.fault == faults.KILL and status != signal.SIGKILL:
            return False
        fails = point.fault in faults.ERRORS and point.fault != faults.DISK_FULL
        # Of another name than the recorded one, which has numbers by chance in it.
        return any(
            (call.name, call.number) == (point.call.name, point.call.number)
            and call.changes(attempt.folder)
            and call.is_injected == fails
            for call in tracing.calls(attempt.trace, attempt.pid)
        )

    def _judge(self, left: list[tuple], counts: dict[str, tally.Count]) -> None:
        """Goes on from what attempts have left."""
        kinds = {survival.SAME, survival.REFUSED}
        for is_disk in (False, True):
            some = [pair for pair in left if isinstance(pair[0], disks.DiskState) == is_disk]
            if not some:
                continue
            # Of event files nothing is promised after a power loss.
            ignored = ("events",) if is_disk else ()
            verdicts = self._verdicts([folder for _, folder in some], ignored)
            for (one, folder), verdict in zip(some, verdicts, strict=True):
                count = counts[one.fault]
                is_lost = verdict.result not in kinds
                # A process that ended, however it did, has lost nothing.
                is_lost |= verdict.result == survival.REFUSED and not is_disk
                count.results[survival.LOST if is_lost else verdict.result] += 1
                if is_lost:
                    count.lost.append(f"{self._named(one)}: {verdict.result}: {verdict.why}")
                    tqdm.tqdm.write(count.lost[-1])
                    self._keep(folder)
                else:
                    self._clear(folder)

    def _named(self, one: faults.Point | disks.DiskState) -> str:
        if isinstance(one, disks.DiskState):
            return f"{self._scenario.name}: {one.fault}, after call {one.call}"
        paths = " -> ".join(os.path.relpath(path, self._recorded_in) for path in one.call.paths())
        return f"{self._scenario.name}: {one.fault}, {one.call.name} {one.call.number} of {paths}"

    def _keep(self, folder: pathlib.Path) -> None:
        lost = self._folder / "lost"
        lost.mkdir(exist_ok=True)
        number = sum(1 for _ in lost.iterdir())
        for path in (folder, folder.with_suffix(".log"), folder.with_suffix(".trace")):
            if path.exists():
                path.rename(lost / f"{number}-{path.name}")

    def _clear(self, folder: pathlib.Path) -> None:
        shutil.rmtree(folder)
        for suffix in (".log", ".trace"):
            folder.with_suffix(suffix).unlink(missing_ok=True)


def _fill_when_stopped(attempt: _Attempt) -> None:
    """Fills the disk of a process that has stopped at its call, and lets it go on.

    What it has started stops at the same call of its own, and goes on as it is.
    """
    if attempt.disk is None or not attempt.trace.exists():
        return
    trace = attempt.trace.read_text(errors="replace")
    # Only a stop that has come about can be ended; the first is that before the work.
    stops = trace.count("--- stopped by SIGSTOP ---")
    if stops <= attempt.stops_ended:
        return
    attempt.stops_ended = stops
    is_at_its_call = re.search(rf"^{attempt.pid} +--- SIGSTOP {{", trace, re.MULTILINE)
    if is_at_its_call and not attempt.is_disk_full:
        attempt.disk.fill()
        attempt.is_disk_full = True
    os.killpg(attempt.pid, signal.SIGCONT)


def _in_turn(
    planned: Sequence[faults.Point | disks.DiskState], counts: dict[str, tally.Count]
) -> list[faults.Point | disks.DiskState]:
    """Returns those that have not been tried, the n-th of each fault before the next of any."""
    tried = {fault: set(count.tried) for fault, count in counts.items()}
    turns = collections.Counter({fault: len(keys) for fault, keys in tried.items()})
    ranked = []
    for one in planned:
        if one.key not in tried[one.fault]:
            ranked.append((turns[one.fault], one))
            turns[one.fault] += 1
    return [one for _, one in sorted(ranked, key=lambda pair: pair[0])]
