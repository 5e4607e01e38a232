"""Several finished runs as one model: the mean of their probabilities.

A folder of an ensemble has what that of a run has, without checkpoints: those are its
members', which `ensemble.json` names.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import keras

from mnist_lib import bounded, errors, os_errors
from mnist_lib.runs import run_directory

FILE_NAME = run_directory.ENSEMBLE_NAME
_MOST_MEMBERS = 1000
# Of probabilities, whose logarithm would be infinite at 0.
_LEAST = 1e-37


@dataclasses.dataclass(frozen=True)
class EnsembleMember:
    """A run that is part of an ensemble.

    Attributes:
      path: its folder.
      step: at which it was finished.
    """

    path: pathlib.Path
    step: int


def write_members(folder: pathlib.Path, members: Sequence[EnsembleMember]) -> None:
    """Writes `ensemble.json`; paths in it begin at the folder, so that both can be moved.

    Raises:
      OutputError, StorageError: it cannot be written.
    """
    entries = [
        {"path": os.path.relpath(member.path, folder), "step": member.step} for member in members
    ]
    text = json.dumps({"members": entries}, indent=2) + "\n"
    run_directory.write_atomically(folder / FILE_NAME, text)


def read_members(folder: pathlib.Path) -> list[EnsembleMember]:
    """Returns the runs that an ensemble is of; none if the folder holds no ensemble.

    Raises:
      DataNotFoundError: the file may not be read, or a run is not there.
      CorruptDataError: the file cannot be understood, or a run has gone on since.
    """
    path = folder / FILE_NAME
    try:
        with os_errors.reading(path, "Pass a --workdir that you may read."):
            if not path.is_file():
                return []
            members = [
                EnsembleMember(folder / one["path"], one["step"])
                for one in _entries(bounded.checked_object(bounded.read_json(path)))
            ]
    except (KeyError, TypeError, ValueError) as error:
        raise errors.CorruptDataError(
            f"{path}: cannot be used ({error}). Make the ensemble again."
        ) from error
    for member in members:
        _check(path, member)
    return members


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


def build(members: Sequence[keras.Model]) -> keras.Model:
    """Returns a model whose softmax is the mean of those of its members.

    It has no layers but theirs and Keras's own, so that it is exported like one of them.

    Args:
      members: images `[N, H, W, C]` to logits `[N, num_classes]`, all of one kind.

    Returns:
      The same images to float32 `[N, num_classes]`: the logarithm of the mean probability.

    Raises:
      ConfigError: they take different images, or tell different classes apart.
    """
    shapes = {(one.inputs[0].shape, one.inputs[0].dtype, one.outputs[0].shape) for one in members}
    if len(shapes) != 1:
        raise errors.ConfigError(
            "members",
            "take different images or tell different classes apart; name runs of one kind",
        )
    image = keras.Input(members[0].inputs[0].shape[1:], dtype=members[0].inputs[0].dtype)
    probabilities = []
    for number, member in enumerate(members, 1):
        # The same layers under a name of their own: those of one recipe are all called alike.
        named = keras.Model(member.inputs[0], member.outputs[0], name=f"member{number}")
        softmax = keras.layers.Softmax(dtype="float32", name=f"probabilities{number}")
        probabilities.append(softmax(named(image)))
    mean = probabilities[0]
    if len(members) > 1:
        mean = keras.layers.Average(dtype="float32", name="mean")(probabilities)
    return keras.Model(image, keras.ops.log(keras.ops.maximum(mean, _LEAST)), name="ensemble")
