"""Checkpoints: written whole, verified, and fallen back from; rows 1, 3 to 6 of the faults."""

import logging
import pathlib
import resource
import shutil

import pytest
import tensorflow as tf

import mnist_lib
from mnist_lib.runs import checkpoint_files, checkpoints


class _Saved:
    """A folder with checkpoints of a variable that holds the step."""

    def __init__(self, folder, steps=(10, 20, 30), size=1000):
        self.folder = folder
        self.variable = tf.Variable(tf.zeros([size]))
        self.store = self.reopen()
        for step in steps:
            self.save(step)

    def save(self, step):
        self.variable.assign(tf.fill(self.variable.shape, float(step)))
        self.store.save(step)

    def reopen(self):
        checkpoint = tf.train.Checkpoint(variable=self.variable)
        return checkpoints.CheckpointDirectory(self.folder, checkpoint)

    def restore(self):
        """Restores as a new process would; checks that the values are those of the step."""
        self.variable.assign(tf.zeros_like(self.variable))
        step = self.reopen().restore_latest()
        if step is not None:
            assert set(self.variable.numpy()) == {float(step)}
        return step


@pytest.fixture
def saved(tmp_path):
    return _Saved(tmp_path / "checkpoints")


def test_round_trip_keeps_the_newest_three(saved):
    saved.save(40)
    assert checkpoint_files.steps_in(saved.folder) == [20, 30, 40]
    assert saved.restore() == 40
    assert tf.train.latest_checkpoint(str(saved.folder)).endswith("ckpt-40")


def test_an_empty_folder_has_nothing_to_restore(tmp_path):
    assert _Saved(tmp_path / "none", steps=()).restore() is None


@pytest.mark.parametrize("content", [b"", b"\xff\xfe garbage", None])
def test_the_state_file_is_not_needed(saved, content, caplog):
    state = saved.folder / "checkpoint"
    if content is None:
        state.unlink()
    else:
        state.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert saved.restore() == 30
    assert "the folder itself is scanned" in caplog.text


def _data(folder, step):
    return folder / f"ckpt-{step}.data-00000-of-00001"


def _flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 0x01
    path.write_bytes(content)


DAMAGES = {
    "no index": lambda folder, step: (folder / f"ckpt-{step}.index").unlink(),
    "no data": lambda folder, step: _data(folder, step).unlink(),
    "truncated data": lambda folder, step: _data(folder, step).write_bytes(
        _data(folder, step).read_bytes()[:100]
    ),
    "flipped data": lambda folder, step: _flip(_data(folder, step), 1234),
    "flipped index": lambda folder, step: _flip(folder / f"ckpt-{step}.index", 20),
    "empty index": lambda folder, step: (folder / f"ckpt-{step}.index").write_bytes(b""),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(saved, damage, caplog):
    damage(saved.folder, 30)
    with caplog.at_level(logging.WARNING):
        assert saved.restore() == 20
    assert "ckpt-30" in caplog.text
    assert f"falling back to {saved.folder / 'ckpt-20'}" in caplog.text


def test_it_never_starts_over_silently(saved):
    for step in (10, 20, 30):
        DAMAGES["flipped data"](saved.folder, step)
    with pytest.raises(
        mnist_lib.errors.CheckpointError, match="no usable checkpoint among 3"
    ) as caught:
        saved.restore()
    assert "ckpt-10" in str(caught.value)


@pytest.mark.parametrize(
    "left_over",
    [
        "ckpt-40.data-00000-of-00001",
        ".saving/ckpt-40.data-00000-of-00001.tempstate123",
        ".saving/ckpt-40_temp/part-00000-of-00001.data-00000-of-00001",
    ],
)
def test_what_a_killed_save_leaves_is_passed_over_and_swept(saved, left_over):
    path = saved.folder / left_over
    path.parent.mkdir(exist_ok=True, parents=True)
    shutil.copy(_data(saved.folder, 30), path)
    assert saved.restore() == 30
    for step in (40, 50, 60, 70):
        saved.save(step)
    names = {path.name.partition(".")[0] for path in saved.folder.iterdir()}
    assert names == {"ckpt-50", "ckpt-60", "ckpt-70", "checkpoint"}


def test_a_save_that_is_cut_off_before_its_index_is_not_a_checkpoint_that_was_lost(saved, caplog):
    """The others were lost: it is not taken for one of them, nor for a beginning."""
    saving = saved.folder / ".saving"
    saving.mkdir()
    (saved.folder / "ckpt-30.index").rename(saving / "ckpt-30.index")
    with caplog.at_level(logging.WARNING):
        assert saved.restore() == 20
    assert "the save of step 30 was cut off" in caplog.text
    assert "damaged" not in caplog.text
    for step in (10, 20):
        DAMAGES["no index"](saved.folder, step)
    with pytest.raises(mnist_lib.errors.CheckpointError, match="no usable checkpoint among 2"):
        saved.restore()
    saved.save(40)
    assert {path.name.partition(".")[0] for path in saved.folder.iterdir()} == {
        *("ckpt-10", "ckpt-20", "ckpt-40", "checkpoint")
    }


def test_all_checkpoints_gone_are_not_a_beginning(saved):
    for path in saved.folder.glob("ckpt-*"):
        path.unlink()
    with pytest.raises(mnist_lib.errors.CheckpointError, match="there were checkpoints"):
        saved.restore()


def test_a_link_of_somebody_else_is_not_written_through(saved, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("")
    (saved.folder / ".saving").symlink_to(tmp_path / "elsewhere")
    saved.save(40)
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["file"]
    assert saved.restore() == 40


def test_checkpoints_of_a_lost_stretch_do_not_crowd_out_a_new_one(tmp_path):
    """After a restart at an earlier step, what is saved then is the newest."""
    saved = _Saved(tmp_path / "checkpoints", steps=(100, 200, 300))
    saved.save(50)
    assert checkpoint_files.steps_in(saved.folder) == [50]
    assert saved.restore() == 50


def test_a_full_disk_leaves_the_older_ones_and_nothing_half_written(tmp_path):
    saved = _Saved(tmp_path / "checkpoints", steps=(10, 20), size=500_000)
    before = {path.name: path.read_bytes() for path in saved.folder.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(
            mnist_lib.errors.StorageError, match=r"ckpt-30: .* could not be written"
        ) as caught:
            saved.save(30)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.exit_code == 74
    assert {path.name: path.read_bytes() for path in saved.folder.iterdir()} == before
    assert saved.restore() == 20


def test_a_checkpoint_of_other_objects_is_refused(saved):
    other = tf.train.Checkpoint(variable=tf.Variable(tf.zeros([5])))
    with pytest.raises(mnist_lib.errors.CheckpointError, match="does not fit this run's model"):
        checkpoints.CheckpointDirectory(saved.folder, other).restore_latest()
    more = tf.train.Checkpoint(variable=saved.variable, another=tf.Variable(1.0))
    with pytest.raises(mnist_lib.errors.CheckpointError, match="does not fit this run's model"):
        checkpoints.CheckpointDirectory(saved.folder, more).restore_latest()


def test_tidy_does_what_a_killed_save_has_not_come_to(saved):
    state = (saved.folder / "checkpoint").read_bytes()
    for suffix in (".index", ".data-00000-of-00001"):  # one too many, and no state file
        shutil.copy(saved.folder / f"ckpt-10{suffix}", saved.folder / f"ckpt-5{suffix}")
    (saved.folder / "checkpoint").unlink()
    (saved.folder / ".saving").mkdir()
    saved.reopen().tidy()
    assert (saved.folder / "checkpoint").read_bytes() == state
    assert checkpoint_files.steps_in(saved.folder) == [10, 20, 30]
    assert not (saved.folder / ".saving").exists()


def test_tidy_takes_nothing_away_for_a_damaged_one(saved):
    (saved.folder / "ckpt-30.index").write_bytes(b"damaged")
    before = {path: path.read_bytes() for path in saved.folder.glob("ckpt-*")}
    saved.reopen().tidy()
    assert {path: path.read_bytes() for path in saved.folder.glob("ckpt-*")} == before
    assert saved.restore() == 20


def test_what_tensorflow_leaves_of_a_save_is_no_part_of_it(saved):
    """It does not say so when it cannot remove its temporary folder."""

    class Checkpoint(tf.train.Checkpoint):
        def write(self, prefix):
            super().write(prefix)
            pathlib.Path(f"{prefix}_temp").mkdir()
            pathlib.Path(f"{prefix}_temp", "part-0.index").write_bytes(b"left")

    before = set(saved.folder.iterdir())
    checkpoint_files.write(Checkpoint(variable=saved.variable), saved.folder, 40)
    added = {path.name for path in set(saved.folder.iterdir()) - before}
    assert added == {"ckpt-40.index", "ckpt-40.data-00000-of-00001"}
