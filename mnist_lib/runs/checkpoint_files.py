"""The files of a checkpoint: written apart, and moved to their names when all are whole.

A save that a kill cuts off is told by what it leaves from a checkpoint that was lost: its
index, the last to be moved, is still where it was written.
"""

from __future__ import annotations

import pathlib
import re
import shutil

import tensorflow as tf

from mnist_lib import files, os_errors, paths

READABLE = "Pass a --workdir that you may read."
_NAME = re.compile(r"ckpt-(\d+)\.(?:index|data-\d{5}-of-\d{5})")
_SAVING = ".saving"


def steps_in(directory: pathlib.Path) -> list[int]:
    """Returns the steps of the checkpoints in a folder, ascending; not of unfinished saves.

    Raises:
      DataNotFoundError: the folder may not be read.
    """
    with os_errors.reading(directory, READABLE):
        steps = {step for step, _ in _named(directory)}
        return sorted(steps - set(_cut_off(directory)))


def unfinished_step(directory: pathlib.Path) -> int | None:
    """Returns the step of a save that was cut off before it was whole; None: there is none.

    Raises:
      DataNotFoundError: the folder may not be read.
    """
    saving = directory / _SAVING
    with os_errors.reading(directory, READABLE):
        names = [path.name for path in saving.iterdir()] if saving.is_dir() else []
    steps = [int(match[1]) for name in names if (match := re.match(r"ckpt-(\d+)", name))]
    return max(steps, default=None)


def write(checkpoint: tf.train.Checkpoint, directory: pathlib.Path, step: int) -> None:
    """Writes a checkpoint, durably; under its name are all of its files or not its index.

    Raises:
      OSError, tf.errors.OpError: it could not be written.
    """
    clear(directory)
    saving = directory / _SAVING
    saving.mkdir(parents=True)
    with paths.for_tensorflow(saving) as folder:
        checkpoint.write(str(folder / f"ckpt-{step}"))
    # Not what TensorFlow has left; the index last: without it the others are not a checkpoint.
    named = [path for path in saving.iterdir() if _NAME.fullmatch(path.name)]
    written = sorted(named, key=lambda path: path.suffix == ".index")
    for path in (*written, saving):
        files.sync(path)
    remove(directory, step)  # of a stretch that is trained once more
    for path in written:
        path.replace(directory / path.name)
        files.sync(directory)
    shutil.rmtree(saving)


def clear(directory: pathlib.Path) -> None:
    """Removes what a save has left that was cut off.

    Raises:
      OSError: it cannot be removed.
    """
    remove(directory, *_cut_off(directory))
    saving = directory / _SAVING
    if saving.is_symlink():
        saving.unlink()
    elif saving.exists():
        shutil.rmtree(saving)


def remove(directory: pathlib.Path, *steps: int) -> None:
    """Removes checkpoints, durably; the index first, without which there is none.

    Raises:
      OSError: it cannot be removed.
    """
    found = [path for number, path in _named(directory) if number in steps]
    for path in sorted(found, key=lambda path: path.suffix != ".index"):
        path.unlink()
    if found:  # or a run that ends now finds them there again after a power loss
        files.sync(directory)


def write_state_file(directory: pathlib.Path, step: int) -> None:
    """Writes the file `checkpoint`, durably, unless it names that step.

    Raises:
      OSError: it could not be written.
    """
    if not state_file_names(directory, step):
        files.replace_file(directory / "checkpoint", _state_file(step))


def state_file_names(directory: pathlib.Path, step: int) -> bool:
    """Whether the file `checkpoint` is there and names a step."""
    path = directory / "checkpoint"
    wanted = _state_file(step)
    is_as_long = path.is_file() and path.stat().st_size == len(wanted)
    return is_as_long and path.read_bytes() == wanted


def _state_file(step: int) -> bytes:
    return f'model_checkpoint_path: "ckpt-{step}"\n'.encode()


def _named(directory: pathlib.Path) -> list[tuple[int, pathlib.Path]]:
    """Returns the files of checkpoints in a folder, and the step of each."""
    entries = directory.iterdir() if directory.is_dir() else ()
    return [(int(match[1]), path) for path in entries if (match := _NAME.fullmatch(path.name))]


def _cut_off(directory: pathlib.Path) -> list[int]:
    """Returns the steps whose files may have been moved, all but the index."""
    return [
        step
        for step, path in _named(directory / _SAVING)
        if path.suffix == ".index" and not (directory / path.name).exists()
    ]
