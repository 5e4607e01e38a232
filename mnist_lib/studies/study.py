"""A study from its plan to its table."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import statistics
from collections.abc import Iterator, Sequence

import filelock

from mnist_lib import choices, errors, locks, progress
from mnist_lib.datasets import catalog
from mnist_lib.runs import overview, run_directory
from mnist_lib.runs.config import TrainConfig
from mnist_lib.studies import process_starter, requests, run_processes, study_results
from mnist_lib.studies.plan import PlannedRun

FILE_NAME, PICTURE_NAME = "study.json", "study.png"
_AFTERWARDS = ".after.lock"
_MOST_ROWS = 200


def finish(
    planned: Sequence[PlannedRun],
    workdir: pathlib.Path,
    how: process_starter.ProcessPlan,
    request: requests.StudyRequest,
) -> study_results.StudyResults | None:
    """Has the runs of a study finished; once all are, writes and returns what they come to.

    Args:
      planned, workdir, how: as for `run_processes.run_all`, whose errors are raised.
      request: what they are planned from; `plan.json` keeps it.

    Returns:
      What `study.json` holds; None while other shares of it are not finished.

    Raises:
      ConfigError: runs in the folder are of another data set.
    """
    with progress.shown_lines():
        planned = on_one_data_set(planned, workdir)
        run_processes.run_all(planned, workdir, how, request)
    if not all(run.is_finished for run in planned):
        return None
    results = study_results.collect(planned, request.command)
    text = json.dumps(results.to_dict(), indent=2) + "\n"
    run_directory.write_atomically(workdir / FILE_NAME, text)
    return results


@contextlib.contextmanager
def held_afterwards(workdir: pathlib.Path, *, is_shared: bool) -> Iterator[bool]:
    """Holds a study whose runs are finished, for what is made of them all.

    Args:
      workdir: the folder of the study.
      is_shared: whether other tasks of an array may be at it.

    Yields:
      Whether it is held; False: another task makes the same.

    Raises:
      OutputError: another process is at it, and it is no task of ours.
    """
    try:
        lock = locks.acquire(workdir / _AFTERWARDS, "workdir", timeout=0)
    except filelock.Timeout as error:
        if not is_shared:
            raise errors.OutputError(
                f"{workdir}: another process makes ensembles or looks for suspects of this study. "
                "Wait for it, or stop it."
            ) from error
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def draw(results: study_results.StudyResults, path: pathlib.Path) -> None:
    """Writes the picture of a study: all seeds of each setting, their mean and its interval.

    TensorFlow is imported for it.

    Args:
      results: what `finish` returns; the first 200 settings are drawn.
      path: a PNG file.

    Raises:
      OutputError, StorageError: it cannot be written.
    """
    from mnist_lib.inspection.figures import seeds, style

    shown = results.settings[:_MOST_ROWS]
    splits = {}
    for split in reversed(study_results.SPLITS):
        samples = [getattr(one, split) for one in shown]
        if None not in samples:
            splits[split] = [(one.accuracies, one.interval) for one in samples]
    left_out = len(results.settings) - len(shown)
    caption = style.joined(
        style.describe_source(data=results.dataset),
        results.command,
        f"{left_out} more settings are not shown" if left_out else "",
    )
    style.save(seeds.draw_seeds([one.setting for one in shown], splits, caption=caption), path)


def on_one_data_set(planned: Sequence[PlannedRun], workdir: pathlib.Path) -> list[PlannedRun]:
    """Returns the runs with what `auto` means for all of them; prepares that if need be.

    Raises:
      ConfigError: runs in the folder, of these seeds or others, are of another data set.
    """
    config = planned[0].config  # the data set is not varied
    begun = _begun(workdir)
    asked = None if config.dataset == choices.AUTO else config.dataset
    named = asked or next(iter(begun), None) or _prepared_by_auto(config)
    for other in begun:
        if other != named:
            raise errors.ConfigError(
                "workdir",
                f"{begun[other]} is of {other}, and this study of {named}; pass a new one",
            )
    if asked is None and begun and named == catalog.SYNTHETIC_DIGITS.name:
        from mnist_lib.datasets import preparation

        preparation.warn_of_substitute(f"{workdir} was begun with it.")
    return of_data_set(planned, named)


def of_data_set(planned: Sequence[PlannedRun], name: str) -> list[PlannedRun]:
    """Returns the runs with this data set."""
    return [
        dataclasses.replace(run, config=dataclasses.replace(run.config, dataset=name))
        for run in planned
    ]


def _begun(workdir: pathlib.Path) -> dict[str, pathlib.Path]:
    """Returns what the runs of a study that were begun are of, and one run of each.

    Damaged ones are left out: those that are planned have been named before, and others are not
    of this request.
    """
    found: dict[str, pathlib.Path] = {}
    for path in sorted(workdir.glob("*/seed-*")):
        run = run_directory.RunDirectory(path)
        with contextlib.suppress(errors.CorruptDataError):
            if (stored := run.read_config()) is not None:
                found.setdefault(run.first_facts().get("dataset", stored.dataset), path)
    return found


def _prepared_by_auto(config: TrainConfig) -> str:
    """Returns what can be had, prepared."""
    from mnist_lib.datasets import preparation  # with TFDS comes TensorFlow

    prepared = preparation.prepare_dataset(
        config.dataset,
        data_dir=config.data_dir,
        manual_dir=config.manual_dir,
        download=config.download,
    )
    return prepared.info.name


def forecast(planned: Sequence[PlannedRun], jobs: int) -> str:
    """Returns how many runs a study has, and how long those take that are left, in two lines.

    By the start-up and training of the runs that are finished; a process takes some seconds
    more, and several at once share the machine.
    """
    seconds = []
    for run in planned:
        results = run_directory.RunDirectory(run.path).read_results()
        if results is not None:
            timing = results["timing"]
            seconds.append(timing["startup_seconds"] + timing["train_seconds"])
    stopped = sum(run.has_state(overview.STOPPED) for run in planned)
    left = len(planned) - len(seconds)
    counts = f"{len(planned)} runs: {len(seconds)} finished, {stopped} stopped, {left} to do"
    if not left:
        return f"{counts}\nNothing is left to train."
    if not seconds:
        return f"{counts}\nHow long is not known until one of them is finished."
    each = statistics.fmean(seconds)
    total = each * -(-left // jobs)
    return (
        f"{counts}\nAbout {total:.0f} s: {each:.1f} s of start-up and training each, as in the "
        f"finished ones, {jobs} at a time"
    )
