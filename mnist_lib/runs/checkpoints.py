"""Checkpoints that are whole or not there: save, verify, restore, fall back.

A checkpoint is `ckpt-<step>.index` and `ckpt-<step>.data-*`. The folder is scanned
for them (see `checkpoint_files`) and each is read through, checksums included, before it
is trusted. The file `checkpoint`, which other TensorFlow programs look at, is written, and
says that there was one; nothing else of it is depended on.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pathlib

import keras
import tensorflow as tf

from mnist_lib import errors, os_errors, paths
from mnist_lib.runs import checkpoint_files, checkpoint_index
from mnist_lib.training import keras_internals

_logger = logging.getLogger(__name__)

_READ_ERRORS = checkpoint_index.READ_ERRORS


def checkpoint_of(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, state: tf.Module
) -> tf.train.Checkpoint:
    """Returns a checkpoint of every variable of a run, random state included.

    The variables are listed one by one: `tf.train.Checkpoint(model=model)` finds
    those of a Keras 3 model only where the optimizer holds them too, and leaves
    out the state of dropout and of batch normalisation. Moving averages, which the
    optimizer has too, get a name of their own for `read_model`; they are stored once.
    """
    return tf.train.Checkpoint(
        model=_values(model.variables),
        optimizer=_values(optimizer.variables),
        averages=_values(keras_internals.moving_averages(optimizer, model.trainable_variables)),
        run=state,
    )


def read_model(model: keras.Model, prefix: pathlib.Path, *, averaged: bool = False) -> None:
    """Reads the variables of a model from a checkpoint that `checkpoint_of` made.

    Args:
      model: the model to fill.
      prefix: the checkpoint.
      averaged: whether to read the moving averages of the trainable variables.

    Raises:
      CheckpointError: the checkpoint is of another model, or has no averages.
    """
    parts = [tf.train.Checkpoint(model=_values(model.variables))]
    if averaged:
        parts.append(tf.train.Checkpoint(averages=_values(model.trainable_variables)))
    try:
        with paths.for_tensorflow(prefix.parent) as folder:
            for part in parts:
                read = part.read(str(folder / prefix.name))
                read.assert_existing_objects_matched().expect_partial()
    except (AssertionError, *_READ_ERRORS) as error:
        raise errors.CheckpointError(
            f"{prefix}: does not fit model {model.name} ({_first_line(error, prefix.parent)})."
        ) from error


def _values(variables) -> list[tf.Variable]:
    return [variable.value for variable in variables]


class CheckpointDirectory:
    """The checkpoints of one run in one folder, newest last.

    Attributes:
      directory: the folder, made by the first save.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        checkpoint: tf.train.Checkpoint,
        max_to_keep: int = 3,
    ):
        """Keeps its arguments; reads and writes nothing.

        Args:
          directory: the folder.
          checkpoint: the objects to save; all of their variables exist.
          max_to_keep: how many checkpoints remain after a save, at least 1.
        """
        self.directory = pathlib.Path(directory)
        self._checkpoint = checkpoint
        self._max_to_keep = max_to_keep

    def save(self, step: int) -> None:
        """Writes a checkpoint, makes it durable, then removes those too many.

        Raises:
          StorageError: it could not be written; the older ones are untouched.
        """
        prefix = self._prefix(step)
        try:
            self.directory.mkdir(exist_ok=True)
            checkpoint_files.write(self._checkpoint, self.directory, step)
            checkpoint_files.write_state_file(self.directory, step)
        except (OSError, tf.errors.OpError) as error:
            with contextlib.suppress(OSError):  # what cannot be removed cannot be read as whole
                checkpoint_files.clear(self.directory)
            raise errors.StorageError(
                f"{prefix}: the checkpoint could not be written "
                f"({_first_line(error, prefix.parent)}). Free some space, or see that you may "
                "write, and start again with the same --workdir; older ones are untouched."
            ) from error
        # Later steps are of a stretch that was lost: damaged, or of a run that was killed.
        steps = checkpoint_files.steps_in(self.directory)
        kept = [kept for kept in steps if kept <= step][-self._max_to_keep :]
        checkpoint_files.remove(self.directory, *(set(steps) - set(kept)))

    def tidy(self) -> None:
        """Removes and writes what a save has not come to that was cut off; all is whole.

        Raises:
          OutputError, StorageError: it could not be done.
        """
        with os_errors.writing(self.directory, "See that you may write there."):
            if self.directory.is_dir():
                checkpoint_files.clear(self.directory)
            whole = [p for p in _newest_first(self.directory) if checkpoint_problem(p) is None]
            kept = whole[: self._max_to_keep]
            if len(kept) == self._max_to_keep:
                steps = map(step_of, _newest_first(self.directory))
                older = [step for step in steps if step < step_of(kept[-1])]
                checkpoint_files.remove(self.directory, *older)
            if whole:
                checkpoint_files.write_state_file(self.directory, step_of(whole[0]))

    def restore_latest(self) -> int | None:
        """Restores the newest checkpoint that is whole.

        Returns:
          Its step, or None if the folder holds no checkpoint at all.

        Raises:
          CheckpointError: there are checkpoints, and none is whole or fits; or there were.
        """
        steps = checkpoint_files.steps_in(self.directory)
        unfinished = checkpoint_files.unfinished_step(self.directory)
        if unfinished is not None:
            _logger.warning(
                "%s: the save of step %d was cut off, and is left out", self.directory, unfinished
            )
        state_file = self.directory / "checkpoint"
        if not steps and state_file.exists():
            raise errors.CheckpointError(
                f"{state_file}: says that there were checkpoints, and there are none. Restore them "
                "from a copy, or start again with a new --workdir."
            )
        if not steps:
            return None
        self._report_state_file(steps[-1])
        prefix = newest_whole_prefix(self.directory)
        try:
            with paths.for_tensorflow(prefix.parent) as folder:
                self._checkpoint.read(str(folder / prefix.name)).assert_consumed()
        except (AssertionError, *_READ_ERRORS) as error:
            raise errors.CheckpointError(
                f"{prefix}: does not fit this run's model and optimizer "
                f"({_first_line(error, prefix.parent)}). Start again with a new --workdir."
            ) from error
        return step_of(prefix)

    def _prefix(self, step: int) -> pathlib.Path:
        return self.directory / f"ckpt-{step}"

    def _report_state_file(self, newest: int) -> None:
        if not checkpoint_files.state_file_names(self.directory, newest):
            text = "%s: missing, or does not name ckpt-%d; the folder itself is scanned"
            _logger.warning(text, self.directory / "checkpoint", newest)


def checkpoint_problem(prefix: pathlib.Path) -> str | None:
    """Reads a whole checkpoint and says what is wrong with it; None: nothing.

    Raises:
      DataNotFoundError: it may not be read, which says nothing about it.
    """
    with (
        os_errors.reading(prefix, checkpoint_files.READABLE),
        paths.for_tensorflow(prefix.parent) as folder,
    ):
        for path in filter(pathlib.Path.is_file, prefix.parent.glob(f"{prefix.name}.*")):
            path.open("rb").close()
        if problem := checkpoint_index.index_problem(prefix):
            return problem
        try:
            reader = tf.train.load_checkpoint(str(folder / prefix.name))
            for name in reader.get_variable_to_shape_map():
                reader.get_tensor(name)  # compares the stored CRC32C
        except _READ_ERRORS as error:
            return f"damaged ({_first_line(error, prefix.parent)})"
    return None


def newest_whole_prefix(directory: pathlib.Path) -> pathlib.Path:
    """Returns the prefix of the newest whole checkpoint; names those that are passed over.

    Raises:
      CheckpointError: there is none.
    """
    damage: list[str] = []
    for prefix in _newest_first(directory):
        problem = checkpoint_problem(prefix)
        if problem is None:
            for line in damage:
                _logger.warning("%s; falling back to %s", line, prefix)
            return prefix
        damage.append(f"{prefix}: {problem}")
    raise errors.CheckpointError(
        f"{directory}: no usable checkpoint among {len(damage)} ({'; '.join(damage) or 'none'}). "
        "Restore them from a copy, or start again with a new --workdir."
    )


def newest_value(directory: pathlib.Path, name: str) -> float | None:
    """Returns a scalar of the newest whole checkpoint in a folder; None if there is none."""
    for prefix in _newest_first(directory):
        if checkpoint_problem(prefix) is None:
            with paths.for_tensorflow(directory) as folder:
                key = f"{name}/.ATTRIBUTES/VARIABLE_VALUE"
                return float(tf.train.load_variable(str(folder / prefix.name), key))
    return None


def _newest_first(directory: pathlib.Path) -> list[pathlib.Path]:
    steps = checkpoint_files.steps_in(directory)
    return [directory / f"ckpt-{step}" for step in reversed(steps)]


def step_of(prefix: pathlib.Path) -> int:
    """Returns the step in the name of a checkpoint."""
    return int(prefix.name.removeprefix("ckpt-"))


def _first_line(error: Exception, folder: pathlib.Path) -> str:
    lines = str(getattr(error, "message", error)).strip().splitlines()
    return paths.as_named(lines[0] if lines else type(error).__name__, folder)
