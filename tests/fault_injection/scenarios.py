"""The pieces of work into which faults are put, and what each comes to."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

import mnist_lib
import mnist_lib.datasets.preparation
import mnist_lib.datasets.synthetic_builder
import mnist_lib.inspection.closing_summaries
import mnist_lib.inspection.figures
import mnist_lib.runs.experiment
import mnist_lib.serving.exports.saved_model
from mnist_lib.commands import command_line
from mnist_lib.inspection import event_records
from mnist_lib.runs import checkpoints

_NO_TENSOR = ("run/train_seconds", "_CHECKPOINTABLE_OBJECT_GRAPH")


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A piece of work.

    Attributes:
      name: for the page.
      title: what it does, for the page.
      act: does it in a folder, which may hold what an earlier attempt has left.
      outcome: what it came to, to be compared.
      begin: puts into an empty folder what there is before.
      weight: its share of the time, beside the others'.
    """

    name: str
    title: str
    act: Callable[[pathlib.Path], Any]
    outcome: Callable[[pathlib.Path], dict]
    begin: Callable[[pathlib.Path], Any] = lambda folder: None
    weight: int = 1

    def as_command(self, folder: pathlib.Path) -> None:
        """Does the work as a command does: with its exit codes and its last line."""
        command_line.run(lambda: self.act(folder), "", [])


def _split(name: str, num_examples: int, seed: int) -> mnist_lib.Split:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (num_examples, 28, 28, 1), np.uint8)
    return mnist_lib.Split(name, images, rng.integers(0, 10, num_examples).astype(np.int32))


DATA = mnist_lib.ImageDataset(
    "noise", _split("train", 64, 1), _split("validation", 16, 2), _split("test", 16, 3)
)
_CONFIG = mnist_lib.TrainConfig(
    model="linear",
    optimizer="sgd",
    batch_size=16,
    train_steps=6,
    steps_per_loop=1,
    eval_every=2,
    checkpoint_every=2,
    summaries="scalars",
    progress=False,
)


def _train(folder: pathlib.Path, **fields) -> None:
    config = dataclasses.replace(_CONFIG, **fields)
    mnist_lib.train_and_evaluate(config, folder / "run", data=DATA)


def _stop_at(step: int, **fields) -> Callable[[pathlib.Path], None]:
    """Returns what trains up to a step and is stopped there, saved."""

    def begin(folder: pathlib.Path) -> None:
        config = dataclasses.replace(_CONFIG, **fields)
        try:
            mnist_lib.train_and_evaluate(
                config, folder / "run", data=DATA, callbacks=[lambda so_far: so_far.step >= step]
            )
        except mnist_lib.errors.RunInterruptedError:
            return
        raise AssertionError("was not stopped")

    return begin


def _run_outcome(folder: pathlib.Path) -> dict:
    """Returns what a run came to, bit by bit, without what times and machines decide."""
    run = folder / "run"
    results = json.loads((run / "results.json").read_text())
    del results["timing"]
    logged = {name: _logged(run / name) for name in ("train", "validation", "test")}
    # A run that was stopped has saved at other steps.
    names = (
        re.sub(r"ckpt-\d+", "ckpt-*", path.relative_to(run).as_posix())
        for path in run.rglob("*")
        # Who had the lock last; of a process that was killed it is there until the next one.
        if path.is_file() and path.name != ".lock-owner"
    )
    return {
        "results": results,
        "history": (run / "history.csv").read_text(),
        "weights": {name: _tensors(run / name) for name in ("checkpoints", "best")},
        "events": logged,
        "files": sorted(name for name in names if "tfevents" not in name),
    }


def _logged(folder: pathlib.Path) -> list[tuple[str, int]]:
    """Returns tag and step of all that TensorBoard shows of a folder."""
    found = []
    for path in folder.glob("events.out.tfevents.*"):
        damage = event_records.Damage()
        for event in event_records.read_events(path, damage):
            if damage.offset is None:  # it reads no further
                found += [(value.tag, event.step) for value in event.summary.value]
    return sorted(found)


def _tensors(folder: pathlib.Path) -> dict[str, str]:
    """Returns the SHA-256 of each tensor of the newest checkpoint in a folder."""
    prefix = checkpoints.newest_whole_prefix(folder)
    reader = tf.train.load_checkpoint(str(prefix))
    return {
        f"{prefix.name}/{name}": hashlib.sha256(
            repr(np.asarray(reader.get_tensor(name)).tolist()).encode()
        ).hexdigest()
        for name in reader.get_variable_to_shape_map()
        if not name.startswith(_NO_TENSOR)
    }


def _prepare(folder: pathlib.Path) -> None:
    from mnist_lib.datasets import catalog

    # A data set of 60 images, so that a thousand preparations take no day.
    for field, count in (("num_train", 50), ("num_test", 10)):
        object.__setattr__(catalog.SYNTHETIC_DIGITS, field, count)
    mnist_lib.prepare_dataset("synthetic_digits", data_dir=folder / "data", download=False)
    mnist_lib.load_arrays("synthetic_digits", data_dir=folder / "data")


def _prepared_outcome(folder: pathlib.Path) -> dict:
    found = sorted(path for path in (folder / "data").rglob("*") if path.is_file())
    files = [path for path in found if path.suffix != ".lock"]  # made again by who needs it
    shards = {path.name: path.read_bytes().hex() for path in files if "tfrecord" in path.name}
    return {"shards": shards, "files": [str(path.relative_to(folder)) for path in files]}


def _export(folder: pathlib.Path) -> None:
    mnist_lib.export(
        folder / "run", "saved_model", output=folder / "model", data=DATA, overwrite=True
    )


def _train_and_export(folder: pathlib.Path) -> None:
    _train(folder)
    _export(folder)


def _exported_outcome(folder: pathlib.Path) -> dict:
    report = json.loads((folder / "model" / "export.json").read_text())
    return {
        "labels": report["num_labels_that_differ"],
        "files": sorted(str(path.relative_to(folder)) for path in folder.rglob("*")),
    }


SCENARIOS = (
    Scenario("run", "a run from its first to its last call", _train, _run_outcome, weight=4),
    Scenario("resume", "a run that is resumed, to its end", _train, _run_outcome, _stop_at(2), 3),
    Scenario(
        "pictures",
        "the end of a run with its pictures",
        lambda folder: _train(folder, summaries="default"),
        _run_outcome,
        _stop_at(4, summaries="default"),
    ),
    Scenario("prepare", "a preparation", _prepare, _prepared_outcome),
    Scenario(
        "export", "an export over an older one", _export, _exported_outcome, _train_and_export
    ),
)
