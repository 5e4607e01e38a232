"""Several finished runs as one model: the mean of their probabilities.

A folder of an ensemble has what that of a run has, without checkpoints: those are its
members', which `ensemble.json` names.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import keras

from mnist_lib import bounded, choices, errors, os_errors
from mnist_lib.runs import run_directory

FILE_NAME = run_directory.ENSEMBLE_NAME
_MOST_MEMBERS = 1000
# Of probabilities, whose logarithm would be infinite at 0.
_LEAST = 1e-37
_NUM_PLACES = 9  # where an image is seen: in the middle, on the sides, in the corners


@dataclasses.dataclass(frozen=True)
class EnsembleMember:
    """A run that is part of an ensemble.

    Attributes:
      path: its folder.
      step: at which it was finished.
    """

    path: pathlib.Path
    step: int


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """What an ensemble is of.

    Attributes:
      members: the runs, at least one.
      test_time_shift: pixels that each image is moved, too; see `build`.
    """

    members: tuple[EnsembleMember, ...]
    test_time_shift: int = 0


def write(folder: pathlib.Path, ensemble: Ensemble) -> None:
    """Writes `ensemble.json`; paths in it begin at the folder, so that both can be moved.

    Raises:
      OutputError, StorageError: it cannot be written.
    """
    entries = [
        {"path": os.path.relpath(member.path, folder), "step": member.step}
        for member in ensemble.members
    ]
    values = {"members": entries, "test_time_shift": ensemble.test_time_shift}
    run_directory.write_atomically(folder / FILE_NAME, json.dumps(values, indent=2) + "\n")


def read(folder: pathlib.Path) -> Ensemble | None:
    """Returns what an ensemble is of; None if the folder holds no ensemble.

    Raises:
      DataNotFoundError: the file may not be read, or a run is not there.
      CorruptDataError: the file cannot be understood, or a run has gone on since.
    """
    path = folder / FILE_NAME
    try:
        with os_errors.reading(path, "Pass a --workdir that you may read."):
            if not path.is_file():
                return None
            values = bounded.checked_object(bounded.read_json(path))
            members = tuple(
                EnsembleMember(folder / one["path"], one["step"]) for one in _entries(values)
            )
            shift = values.get("test_time_shift", 0)
            check_shift(shift)
    except (KeyError, TypeError, ValueError, errors.ConfigError) as error:
        raise errors.CorruptDataError(
            f"{path}: cannot be used ({error}). Make the ensemble again."
        ) from error
    for member in members:
        _check(path, member)
    return Ensemble(members, shift)


def check_shift(pixels: int) -> None:
    """Refuses what images cannot be moved by.

    Raises:
      ConfigError: it is no whole number of pixels from 0 to 8.
    """
    is_whole = isinstance(pixels, int) and not isinstance(pixels, bool)
    if not is_whole or not 0 <= pixels <= choices.LARGEST_TEST_TIME_SHIFT:
        raise errors.ConfigError(
            "test_time_shift",
            f"{pixels!r} is no whole number of pixels from 0 to {choices.LARGEST_TEST_TIME_SHIFT}",
        )


def _entries(values: dict[str, Any]) -> list[dict[str, Any]]:
    entries = values["members"]
    if not isinstance(entries, list) or not 1 <= len(entries) <= _MOST_MEMBERS:
        raise ValueError(f"members are no list of 1 to {_MOST_MEMBERS}")
    return [bounded.checked_object(entry) for entry in entries]


def _check(path: pathlib.Path, member: EnsembleMember) -> None:
    if (member.path / FILE_NAME).exists():
        raise errors.CorruptDataError(f"{path}: {member.path} is an ensemble, too. Name runs.")
    results = run_directory.RunDirectory(member.path).read_results()
    if results is None:
        raise errors.DataNotFoundError(
            f"{member.path}: no results.json of a finished run there, which {path} names. Restore "
            "it, or make the ensemble again."
        )
    if results.get("step") != member.step:
        raise errors.CorruptDataError(
            f"{member.path}: is at step {results.get('step')}, and {path} is of step "
            f"{member.step}. Make the ensemble again."
        )


def build(members: Sequence[keras.Model], test_time_shift: int = 0) -> keras.Model:
    """Returns a model whose softmax is the mean of those of its members.

    It has no layers but theirs and Keras's own, so that it is exported like one of them.

    Args:
      members: images `[N, H, W, C]` to logits `[N, num_classes]`, all of one kind.
      test_time_shift: in pixels; if it is not 0, members see each image nine times, as it is and
        moved so far to each side and towards each corner, and the mean is over these, too
        (test-time augmentation). What comes in from outside an image is 0.

    Returns:
      The same images to float32 `[N, num_classes]`: the logarithm of the mean probability.

    Raises:
      ConfigError: they take different images, or tell different classes apart; images cannot be
        moved so far.
    """
    check_shift(test_time_shift)
    shapes = {(one.inputs[0].shape, one.inputs[0].dtype, one.outputs[0].shape) for one in members}
    if len(shapes) != 1:
        raise errors.ConfigError(
            "members",
            "take different images or tell different classes apart; name runs of one kind",
        )
    image = keras.Input(members[0].inputs[0].shape[1:], dtype=members[0].inputs[0].dtype)
    seen = _moved(image, test_time_shift) if test_time_shift else image
    probabilities = []
    for number, member in enumerate(members, 1):
        # The same layers under a name of their own: those of one recipe are all called alike.
        named = keras.Model(member.inputs[0], member.outputs[0], name=f"member{number}")
        softmax = keras.layers.Softmax(dtype="float32", name=f"probabilities{number}")
        probabilities.append(softmax(named(seen)))
    mean = probabilities[0]
    if len(members) > 1:
        mean = keras.layers.Average(dtype="float32", name="mean_of_members")(probabilities)
    if test_time_shift:
        apart = keras.ops.reshape(mean, (_NUM_PLACES, -1, mean.shape[-1]))
        mean = keras.ops.mean(apart, axis=0)
    return keras.Model(image, keras.ops.log(keras.ops.maximum(mean, _LEAST)), name="ensemble")


def _moved(image: keras.KerasTensor, pixels: int) -> keras.KerasTensor:
    """Returns the batch `[N, H, W, C]` in nine places, one after another, `[9 N, H, W, C]`."""
    height, width = image.shape[1:3]
    if pixels >= min(height, width):
        raise errors.ConfigError(
            "test_time_shift", f"{pixels} pixels move images of {height}x{width} out of sight"
        )
    wide = image
    for axis in (1, 2):
        # LiteRT has no padding of whole numbers.
        nothing = keras.ops.zeros_like(wide[:, :pixels] if axis == 1 else wide[:, :, :pixels])
        wide = keras.ops.concatenate([nothing, wide, nothing], axis)
    steps = range(0, 2 * pixels + 1, pixels)
    places = [
        wide[:, top : top + height, left : left + width]
        for top, left in itertools.product(steps, steps)
    ]
    return keras.ops.concatenate(places, axis=0)
