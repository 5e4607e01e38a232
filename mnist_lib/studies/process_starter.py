"""Starts the runs of a study as processes of their own.

They are forked from a process that has imported TensorFlow and has not used it, which saves
each of them those seconds. Where there are GPUs each imports it itself.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing.context
import multiprocessing.forkserver
import os
import pathlib
import signal
import sys
from collections.abc import Callable, Iterator, Sequence

from mnist_lib import errors, os_errors, stop_signals
from mnist_lib.runs import run_directory
from mnist_lib.studies.plan import PlannedRun
from mnist_lib.studies.shares import RunShare

_LOG_TAIL_BYTES = 4096
_ANOTHER = "Pass another --workdir."
_Context = multiprocessing.context.ForkServerContext | multiprocessing.context.SpawnContext
Process = multiprocessing.context.ForkServerProcess | multiprocessing.context.SpawnProcess


@dataclasses.dataclass(frozen=True)
class ProcessPlan:
    """How the runs of a study are run.

    Attributes:
      work: finishes the run in a folder whose `config.json` is there, in a process of its own;
        a function that can be pickled. How that process ends is what it comes to.
      jobs: how many processes at once, at least 1.
      gpus: names for `CUDA_VISIBLE_DEVICES`; each process gets one of them.
      preload: modules that all processes need, imported once where there are no GPUs.
      share: which of the runs are to be run.
      show_progress: show a bar on a terminal.
    """

    work: Callable[[PlannedRun], None]
    jobs: int = 1
    gpus: Sequence[str] = ()
    preload: Sequence[str] = ()
    share: RunShare = dataclasses.field(default_factory=RunShare)
    show_progress: bool = True


class ProcessStarter:
    """Starts processes, as many at once as there are places, each place with its GPU."""

    def __init__(self, how: ProcessPlan, workdir: pathlib.Path):
        """Starts nothing yet; `workdir` is the folder of the study."""
        self._how = how
        self._log_path = workdir / ".start.log"
        self._free = list(range(how.jobs))
        self._context: _Context
        if how.gpus:  # of what is forked from a process that has looked at GPUs nobody knows
            self._context = multiprocessing.get_context("spawn")
            return
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(how.preload))

    @property
    def has_place(self) -> bool:
        """Whether another run can be started."""
        return bool(self._free)

    def start(self, run: PlannedRun) -> tuple[Process, int]:
        """Starts a run; returns its process and its place."""
        directory = run_directory.RunDirectory(run.path)
        with os_errors.writing(run.path, _ANOTHER):
            run.path.mkdir(parents=True, exist_ok=True)
            log_path(run).touch()
        if directory.read_config() is None:
            directory.write_config(run.config)
        place = self._free.pop(0)
        gpus = self._how.gpus
        visible = {"CUDA_VISIBLE_DEVICES": gpus[place % len(gpus)]} if gpus else {}
        environment = dict(os.environ) | visible
        process = self._context.Process(
            target=_in_process, args=(self._how.work, run, log_path(run), environment)
        )
        try:
            if not gpus:
                self._ensure_fork_server()
            process.start()
        except EOFError as error:
            raise errors.StudyError(
                f"the process from which runs are forked has ended; {self._log_path} has what it "
                "said. Start the study again to go on."
            ) from error
        return process, place

    def give_back(self, place: int) -> None:
        """Says that the process of a place has ended."""
        self._free.append(place)
        self._free.sort()

    def _ensure_fork_server(self) -> None:
        """Starts the process that forks; it is not for it to obey signals, and it says nothing."""
        signals = stop_signals.stopping()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        screen = os.dup(2)
        try:
            with os_errors.writing(self._log_path, _ANOTHER), self._log_path.open("ab") as log:
                os.dup2(log.fileno(), 2)
                with _same_modules():
                    multiprocessing.forkserver.ensure_running()
        finally:
            os.dup2(screen, 2)
            os.close(screen)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _same_modules() -> Iterator[None]:
    """Has a Python that is started meanwhile import from where this one does.

    It would look in the current folder first, which may hold anything.
    """
    before = dict(os.environ)
    where = [os.path.abspath(path) for path in sys.path]
    os.environ.update(PYTHONPATH=os.pathsep.join(where), PYTHONSAFEPATH="1")
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _in_process(
    work: Callable[[PlannedRun], None],
    run: PlannedRun,
    log_path: pathlib.Path,
    environment: dict[str, str],
) -> None:
    """Is the process of a run."""
    os.setsid()  # a terminal's ^C reaches it once, through the study
    with log_path.open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.environ.clear()
    os.environ.update(environment)
    # Blocked in what it was forked from; one that was sent meanwhile arrives now.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, stop_signals.stopping())
    work(run)


def log_path(run: PlannedRun) -> pathlib.Path:
    """Returns where what the processes of a run print is."""
    return run.path.with_name(f"{run.path.name}.log")


def last_line(run: PlannedRun) -> str:
    """Returns the last line that the processes of a run have printed."""
    path = log_path(run)
    if not path.exists():  # it was trained by something else
        return "it said nothing"
    with os_errors.reading(path, "Pass a folder that you may read."), path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - _LOG_TAIL_BYTES))
        lines = stream.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
