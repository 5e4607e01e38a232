"""The curves of a run: what was logged at which step.

from mnist_lib.inspection.history import read_history
history = read_history("runs/mine")
steps, losses = history["train"]["loss"]  # int64 [N], rising, and float64 [N]
"""

from __future__ import annotations

import csv
import io
import os
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from mnist_lib import bounded, errors, files, os_errors, paths

SPLITS = ("train", "validation", "test")
FILE_NAME = "history.csv"
# Of a run of a million steps that are all logged.
_MOST_BYTES, _MOST_ROWS, _MOST_VALUES, _MOST_COLUMNS = 2**27, 1_000_000, 4_000_000, 10_000

# Split, then tag, to its steps, int64 [N] and rising, and its values, float64 [N].
History = dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]

# The values by tag, of each step and split.
_Rows = dict[tuple[int, str], dict[str, float]]

# Of the optimizer rather than of the images.
_NO_METRICS = ("objective", "learning_rate", "gradient_norm", "images_per_second")
# In event files: of the whole run, and not of a class or a variable. Older ones have no group.
_TAG = re.compile(r"(?:metrics/|optimizer/|speed/)?([^/]+)")


def read_history(workdir: str | os.PathLike[str]) -> History:
    """Reads what was logged of a run, finished or not.

    From `history.csv`, which has a row of training every `steps_per_loop` steps, of each
    validation and of the test; where an older version has left none, from the event files,
    whose values are float32.

    Args:
      workdir: the run directory.

    Returns:
      `history["validation"]["accuracy"]` is its steps, int64 `[N]`, and its values, float64
      `[N]`. The splits `train`, `validation` and `test` are always there, and empty where
      nothing was logged.

    Raises:
      DataNotFoundError: the folder holds no run, or may not be read.
      CorruptDataError: `history.csv` cannot be understood.
    """
    folder = paths.local("workdir", workdir)
    with os_errors.reading(folder, "Pass a --workdir that you may read."):
        rows = _rows_of(folder)
        if not rows and not (folder / "config.json").is_file():
            raise errors.DataNotFoundError(
                f"{folder}: neither config.json nor {FILE_NAME} nor event files of a run there. "
                "Pass the --workdir of a run."
            )
    return _curves(rows)


class HistoryLog:
    """The history of a run that goes on; its file is whole whenever it is looked at.

    A run that was killed and goes on ends with the same file, byte for byte: what was
    written of steps after the restored one is taken out, and computed again.
    """

    def __init__(self, run_path: pathlib.Path, step: int, *, is_writing: bool = True):
        """Reads what there is up to `step`; the test comes last and is repeated.

        Args:
          run_path: the run's folder.
          step: the step that training goes on from; 0: it begins.
          is_writing: whether this process writes the file; of several workers, one.
        """
        self._path = run_path / FILE_NAME
        self._is_writing = is_writing
        rows: _Rows = {}
        if step and (is_writing or self._path.is_file()):
            with os_errors.reading(run_path, "Pass a --workdir that you may read."):
                rows = _rows_of(run_path)
        self._rows = {
            (at, split): values
            for (at, split), values in rows.items()
            if at <= step and split != "test"
        }

    def add(self, split: str, step: int, values: Mapping[str, float]) -> None:
        """Notes the values of a step; `write` writes them."""
        self._rows[step, split] = {tag: float(value) for tag, value in values.items()}

    def write(self) -> None:
        """Writes `history.csv`.

        Raises:
          OutputError, StorageError: it could not be written.
        """
        if self._is_writing:
            with os_errors.writing(self._path, "Start again with the same --workdir."):
                files.replace_file(self._path, _to_csv(self._rows).encode())

    def curves(self) -> History:
        """Returns what was noted."""
        return _curves(self._rows)


def in_brief(history: History, steps: Sequence[int], most: int = 50) -> dict:
    """Returns the curves of the metrics as `results.json` holds them.

    Args:
      history: all curves.
      steps: those of the validations, rising. Of training it is the mean of the steps
        from one to the next.
      most: how many points a curve has at most; of more, some at even distances, and the
        last one.

    Returns:
      Split, then tag, to pairs of step and value.
    """
    brief: dict[str, dict[str, list]] = {}
    for split, curves in history.items():
        brief[split] = {}
        for tag, (at, values) in curves.items():
            if tag not in _NO_METRICS:
                if split == "train":
                    points = _means(at, values, steps)
                else:
                    shown = set(steps)  # a run that became longer has stopped elsewhere, too
                    points = ((s, v) for s, v in zip(at, values, strict=True) if int(s) in shown)
                pairs = [[int(step), float(value)] for step, value in points]
                every = -(-len(pairs) // most) or 1
                brief[split][tag] = pairs[::-every][::-1]
    return brief


def _means(at: np.ndarray, values: np.ndarray, steps: Sequence[int]) -> Iterable[tuple[int, float]]:
    """Yields the mean over the steps up to each of `steps` from the one before.

    Args:
      at: int64 `[N]`, rising; each value is the mean since the one before.
      values: float64 `[N]`.
      steps: rising.
    """
    weights = np.diff(at, prepend=0)
    first = 0
    for step in steps:
        end = int(np.searchsorted(at, step, side="right"))
        if end > first:
            yield step, float(np.average(values[first:end], weights=weights[first:end]))
        first = end


def _rows_of(folder: pathlib.Path) -> _Rows:
    path = folder / FILE_NAME
    if not path.is_file():
        return _from_events(folder)
    try:
        return _from_csv(bounded.read_file(path, _MOST_BYTES).decode())
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise errors.CorruptDataError(
            f"{path}: cannot be used ({error}). Restore it from a copy; without it the event "
            "files are read in its place."
        ) from error


def _from_csv(text: str) -> _Rows:
    rows: _Rows = {}
    lines = csv.reader(io.StringIO(text, newline=""))
    names = next(lines, [])
    if len(set(names)) < len(names) or len(names) > _MOST_COLUMNS:
        raise ValueError(f"a column has the name of another, or there are {_MOST_COLUMNS:,}")
    num_values = 0
    for line in lines:
        row = dict(zip(names, line, strict=True))
        step, split = int(row.pop("step")), row.pop("split")
        if not 0 <= step < 2**63:
            raise ValueError(f"{step} is no step")
        values = {tag: float(value) for tag, value in row.items() if value != ""}
        rows[step, SPLITS[SPLITS.index(split)]] = values
        num_values += len(values)
        if len(rows) > _MOST_ROWS or num_values > _MOST_VALUES:
            raise ValueError(f"it has more than {_MOST_ROWS:,} rows, or {_MOST_VALUES:,} values")
    return rows


def _to_csv(rows: _Rows) -> str:
    """Returns a line per step and split, steps rising, with a column per tag."""
    ordered = sorted(rows.items(), key=lambda item: (item[0][0], SPLITS.index(item[0][1])))
    tags = list(dict.fromkeys(tag for _, values in ordered for tag in values))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, ["step", "split", *tags], lineterminator="\n")
    writer.writeheader()
    # repr, of which the same float is read again.
    writer.writerows(
        {"step": step, "split": split} | {tag: repr(value) for tag, value in values.items()}
        for (step, split), values in ordered
    )
    return text.getvalue()


def _from_events(folder: pathlib.Path) -> _Rows:
    """Reads the scalars of the event files; of two of one step the later one counts."""
    found = [
        (split, path)
        for split in SPLITS
        for path in sorted((folder / split).glob("events.out.tfevents.*"))
    ]
    rows: _Rows = {}
    for split, path in found:
        for step, tag, value in _scalars(path):
            if of_run := _TAG.fullmatch(tag):
                rows.setdefault((step, split), {})[of_run[1]] = value
    return rows


def _scalars(path: pathlib.Path) -> Iterable[tuple[int, str, float]]:
    """Yields step, tag and value; what is damaged is left out."""
    # Seconds, which reading history.csv does not take.
    from mnist_lib.inspection import event_records

    for event in event_records.read_events(path):
        for value in event.summary.value:
            if value.HasField("simple_value"):  # of TensorFlow 1
                yield event.step, value.tag, value.simple_value
            elif (number := event_records.scalar(value)) is not None:
                yield event.step, value.tag, number


def _curves(rows: _Rows) -> History:
    curves: dict[str, dict[str, tuple[list, list]]] = {split: {} for split in SPLITS}
    for (step, split), values in sorted(rows.items()):
        for tag, value in values.items():
            steps, numbers = curves[split].setdefault(tag, ([], []))
            steps.append(step)
            numbers.append(value)
    return {
        split: {
            tag: (np.array(steps, np.int64), np.array(numbers, np.float64))
            for tag, (steps, numbers) in tags.items()
        }
        for split, tags in curves.items()
    }
