"""Runs the runs of a study, several at once, stopped and gone on with like any run."""

from __future__ import annotations

import collections
import contextlib
import os
import pathlib
import signal
import time
from collections.abc import Iterator, Mapping, Sequence

import filelock

from mnist_lib import errors, locks, os_errors, progress, stop_signals
from mnist_lib.distribution import orphans
from mnist_lib.runs import overview
from mnist_lib.studies import process_starter, requests
from mnist_lib.studies.plan import PlannedRun
from mnist_lib.studies.shares import RunShare

_LOOK_SECONDS = 0.05
_SECONDS_TO_END = 90.0  # in which a run that is told to stop saves what it has
_SECONDS_TO_LOOK = 5.0  # another task may look at the same lock
_ANOTHER = "Pass another --workdir."


def run_all(
    planned: Sequence[PlannedRun],
    workdir: pathlib.Path,
    how: process_starter.ProcessPlan,
    request: requests.StudyRequest,
) -> None:
    """Has all runs of a study finished, or those of a share; those that are stay as they are.

    What each process prints is in `<workdir>/<setting>/seed-<seed>.log`. A signal that asks
    this process to stop is passed on as SIGTERM, on which runs save; a second one ends them.
    When this process is killed they get SIGTERM, too.

    Args:
      planned: what `plan_runs` returns.
      workdir: the folder of the study; held meanwhile.
      how: how to run them.
      request: what they are planned from; `plan.json` gets it.

    Raises:
      RunInterruptedError: a signal arrived, or one of the runs was stopped.
      StudyError: a run failed; the others were finished first.
      OutputError: another process works on the study, or it cannot be written.
    """
    ours = planned[how.share.index :: how.share.count]
    with _held(workdir, how.share):
        requests.write_request(workdir, request)
        waiting = collections.deque(run for run in ours if not run.is_finished)
        bar = progress.Progress(
            len(ours),
            len(ours) - len(waiting),
            description="study",
            unit="run",
            show_bar=how.show_progress,
        )
        try:
            failed = _work(waiting, len(ours), bar, process_starter.ProcessStarter(how, workdir))
        finally:
            bar.close()
    if failed:
        # Of a run that was only stopped starting again is enough, of another it is not.
        run, code = min(failed, key=lambda one: one[1] == os.EX_TEMPFAIL)
        others = f"; {len(failed) - 1} others did not finish, either" if len(failed) > 1 else ""
        what = f"{run.name} ended with exit code {code} ({process_starter.last_line(run)}){others}"
        if code == os.EX_TEMPFAIL:
            raise errors.RunInterruptedError(f"{what}. Start the study again to go on.")
        raise errors.StudyError(
            f"{what}. {process_starter.log_path(run)} has all of it. What is finished stays: start "
            "again when it is mended, or leave the setting out."
        )


def _work(
    waiting: collections.deque[PlannedRun],
    total: int,
    bar: progress.Progress,
    starter: process_starter.ProcessStarter,
) -> list[tuple[PlannedRun, int]]:
    """Works on what is waiting; returns the runs that failed, with their exit codes."""
    signals: list[int] = []
    active: dict[PlannedRun, tuple[process_starter.Process, int]] = {}
    failed: list[tuple[PlannedRun, int]] = []
    told = done = 0
    with (
        stop_signals.handled_by(lambda number, _frame: signals.append(number)),
        orphans.Guard(_SECONDS_TO_END) as guard,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(_end, active)
        while active or (waiting and not signals):
            while waiting and starter.has_place and not signals:
                run = waiting.popleft()
                _wait_for_others(run, signals)
                if signals:
                    waiting.appendleft(run)
                    break
                if run.has_state(overview.RUNNING):  # by whatever else; it goes on there
                    failed.append((run, os.EX_TEMPFAIL))
                    continue
                active[run] = starter.start(run)
                guard.add(active[run][0].pid or 0)
            for _ in range(told, len(signals)):
                number = signal.SIGKILL if told else signal.SIGTERM
                told += 1
                for process, _place in active.values():
                    _send(process, number)
            for run, (process, place) in list(active.items()):
                code = process.exitcode
                if code is not None:
                    guard.forget(process.pid or 0)
                    starter.give_back(place)
                    del active[run]
                    if code != os.EX_OK:
                        failed.append((run, 128 - code if code < 0 else code))
            done = total - len(waiting) - len(active) - len(failed)
            bar.update(done, [f"running {run.name}" for run in active])
            time.sleep(_LOOK_SECONDS)
    if signals:
        raise errors.RunInterruptedError(
            f"stopped by {signal.Signals(signals[0]).name}, {done} of {total} runs are finished. "
            "Start again to go on."
        )
    return failed


def _wait_for_others(run: PlannedRun, signals: list[int]) -> None:
    """Waits for a run's process of a study that was killed, which is saving."""
    deadline = time.monotonic() + _SECONDS_TO_END
    while run.has_state(overview.RUNNING) and time.monotonic() < deadline and not signals:
        time.sleep(_LOOK_SECONDS)


def _end(active: Mapping[PlannedRun, tuple[process_starter.Process, int]]) -> None:
    """Ends what is still active because of an error: it saves, and is not left without a study."""
    processes = [process for process, _place in active.values()]
    for process in processes:
        _send(process, signal.SIGTERM)
    deadline = time.monotonic() + _SECONDS_TO_END
    while time.monotonic() < deadline and any(one.exitcode is None for one in processes):
        time.sleep(_LOOK_SECONDS)
    for process in processes:
        _send(process, signal.SIGKILL)


def _send(process: process_starter.Process, number: int) -> None:
    if process.exitcode is None and process.pid is not None:
        with contextlib.suppress(ProcessLookupError):  # it has ended this moment
            os.kill(process.pid, number)


@contextlib.contextmanager
def _held(workdir: pathlib.Path, share: RunShare) -> Iterator[None]:
    """Makes the folder of a study and holds it, or a share of it.

    Tasks of one array work on it at once. Whoever else does, with the whole or with shares of
    another size, would meet the same runs: each takes its lock first and then looks for others',
    so that of two that begin at the same moment one sees the other, or both do.
    """
    ours = ".lock" if share.count == 1 else f".lock-{share.index}-of-{share.count}"
    with os_errors.writing(workdir, _ANOTHER):
        workdir.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            lock = locks.acquire(workdir / ours, "workdir", timeout=0)
            stack.callback(lock.release)
            for path in workdir.glob(".lock*"):
                of_our_array = share.count > 1 and path.match(f".lock-*-of-{share.count}")
                if path.name != ours and not of_our_array:
                    locks.acquire(path, "workdir", timeout=_SECONDS_TO_LOOK).release()
        except filelock.Timeout as error:
            raise errors.OutputError(
                f"{workdir}: another process works on this study. Wait for it, or stop it."
            ) from error
        yield
