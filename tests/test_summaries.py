"""What TensorBoard is given; row 30 of the faults."""

import collections
import resource

import pytest
import tensorflow as tf

import mnist_lib
from mnist_lib.inspection import summaries


def read_events(folder) -> dict[str, list[int]]:
    """The steps of each tag in the event files of a folder, in the order written."""
    steps = collections.defaultdict(list)
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                steps[value.tag].append(event.step)
            if event.graph_def:
                steps["graph"].append(event.step)
    return dict(steps)


def _write(folder, steps, resumed_at=None, level="default"):
    writer = summaries.RunSummaries(folder, level, resumed_at)
    for step in steps:
        writer.scalars("train", step, {"loss": 1.0 / step, "accuracy": 0.5})
    writer.configuration("{}")
    writer.weights(steps[-1], [])
    writer.close()


def test_no_step_appears_twice_after_a_resume(tmp_path):
    _write(tmp_path, [10, 20, 30, 40])
    _write(tmp_path, [30, 40, 50], resumed_at=20)
    assert read_events(tmp_path / "train")["loss"] == [10, 20, 30, 40, 50]


def test_a_file_cut_off_in_a_record_is_mended(tmp_path):
    _write(tmp_path, [10, 20, 30])
    (path,) = (tmp_path / "train").iterdir()
    path.write_bytes(path.read_bytes()[:-5])
    _write(tmp_path, [30], resumed_at=20)
    assert read_events(tmp_path / "train")["loss"] == [10, 20, 30]
    assert [file.name for file in (tmp_path / "train").glob("*.tmp")] == []


def test_a_process_that_writes_nothing_cleans_nothing(tmp_path):
    _write(tmp_path, [10, 20, 30])
    for resumed_at in (None, 10):
        summaries.RunSummaries(tmp_path, "none", resumed_at)
    assert read_events(tmp_path / "train")["loss"] == [10, 20, 30]


def test_a_full_disk_is_named(tmp_path):
    writer = summaries.RunSummaries(tmp_path, "scalars")

    def write_much():
        for step in range(1000):
            writer.scalars("train", step, {"loss": 1.0})
            writer.flush()

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(mnist_lib.errors.StorageError, match="could not be written") as caught:
            write_much()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.exit_code == 74


def test_levels(tmp_path):
    _write(tmp_path / "none", [1], level="none")
    assert not (tmp_path / "none").exists()
    _write(tmp_path / "scalars", [1], level="scalars")
    assert set(read_events(tmp_path / "scalars" / "train")) == {"loss", "accuracy"}
    _write(tmp_path / "default", [1])
    assert set(read_events(tmp_path / "default" / "train")) == {"loss", "accuracy", "config"}
