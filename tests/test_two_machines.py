"""Two workers in two network namespaces, which are two machines to them: a cable that is cut."""

import os
import shutil
import subprocess
import time

import held_runs
import numpy as np
import pytest
import tensorflow as tf
from script_runs import newest_step, results_of
from worker_pairs import DEADLINE_AND_END_SECONDS, Pair

HOSTS = ("10.213.7.1", "10.213.7.2")


def _ip(*arguments: str, check: bool = True) -> subprocess.CompletedProcess:
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=check)


def _why_not() -> str:
    """Returns why there can be no namespaces here, or ''."""
    if shutil.which("ip") is None:
        return "ip is not installed (Debian: iproute2)"
    if os.geteuid() != 0:
        return "network namespaces need root"
    name = f"mnist-try-{os.getpid()}"
    made = _ip("netns", "add", name, check=False)
    if made.returncode == 0:
        _ip("netns", "del", name)
    return made.stderr.strip()


pytestmark = pytest.mark.slow


class TwoMachines:
    """Two network namespaces and the cable between them."""

    def __init__(self):
        self.names = tuple(f"mnist-{end}-{os.getpid()}" for end in "ab")
        self.run_by = tuple(("ip", "netns", "exec", name) for name in self.names)

    def make(self) -> None:
        """Makes them."""
        for name in self.names:
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        first, second = self.names
        _ip("-n", first, "link", "add", "cable", "type", "veth", "peer", "name", "cable2")
        _ip("-n", first, "link", "set", "cable2", "netns", second)
        _ip("-n", second, "link", "set", "cable2", "name", "cable")
        for name, host in zip(self.names, HOSTS, strict=True):
            _ip("-n", name, "address", "add", f"{host}/24", "dev", "cable")
        self.mend()

    def cut(self) -> None:
        """Has no packet pass any more; both ends see their link go down."""
        _ip("-n", self.names[0], "link", "set", "cable", "down")

    def mend(self) -> None:
        """Has packets pass."""
        for name in self.names:
            _ip("-n", name, "link", "set", "cable", "up")

    def remove(self) -> None:
        """Removes what was made; the cable goes with its ends."""
        for name in self.names:
            _ip("netns", "del", name, check=False)


@pytest.fixture(scope="module")
def machines():
    if problem := _why_not():
        pytest.skip(problem)
    machines = TwoMachines()
    try:
        machines.make()
        yield machines
    finally:
        machines.remove()


@pytest.fixture
def start(machines, prepared_data):
    """Starts a worker on each machine, and kills what is left of them."""
    pairs = []

    def start_pair(workdir, *flags, **options) -> Pair:
        options = {"run_by": machines.run_by, "hosts": HOSTS} | options
        pairs.append(Pair(workdir, prepared_data, *flags, **options))
        return pairs[-1]

    yield start_pair
    for pair in pairs:
        pair.end()


def _weights(workdir) -> dict[str, np.ndarray]:
    """Returns the weights in the newest checkpoint, and what the optimizer keeps beside them."""
    newest = f"{workdir}/checkpoints/ckpt-{newest_step(workdir)}"
    reader = tf.train.load_checkpoint(newest)
    shapes = reader.get_variable_to_shape_map()
    return {name: reader.get_tensor(name) for name, shape in shapes.items() if shape}


def test_a_cut_cable_ends_both_and_changes_nothing(machines, start, tmp_path):
    whole = start(tmp_path / "whole")
    ends = [whole.wait(index) for index in range(2)]
    assert [code for code, _, _ in ends] == [0, 0], ends

    workdir = tmp_path / "cut"
    hold = held_runs.Hold(tmp_path, step=50)
    environments = (hold.environment, {})
    pair = start(workdir, "--worker_timeout_seconds=20", environments=environments)
    hold.wait(pair.has_ended)
    machines.cut()
    hold.release()
    try:
        for index in range(2):
            code, _, last_line = pair.wait(index, timeout_seconds=DEADLINE_AND_END_SECONDS)
            assert code == os.EX_TEMPFAIL, last_line
            other = f"worker {1 - index} ({pair.addresses[1 - index]})"
            assert f"workers: {other} is lost. Start all" in last_line
    finally:
        machines.mend()
    assert 50 <= newest_step(workdir) < 300

    pair = start(workdir)
    ends = [pair.wait(index) for index in range(2)]
    assert [code for code, _, _ in ends] == [0, 0], ends
    assert results_of(workdir) == results_of(tmp_path / "whole")
    ours, theirs = _weights(workdir), _weights(tmp_path / "whole")
    assert ours.keys() == theirs.keys()
    assert any(value.size > 1000 for value in ours.values())
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name], err_msg=name, strict=True)


# Where the time of day alone is shifted, libfaketime 0.9.10 has Python's sleep fail with
# "Invalid argument" (https://github.com/wolfcw/libfaketime/issues/426).
_SLEEP_BY_SELECT = """
import select
import time
time.sleep = lambda seconds: select.select([], [], [], seconds)
"""


@pytest.mark.skipif(
    shutil.which("faketime") is None, reason="faketime is not installed (Debian: faketime)"
)
def test_clocks_an_hour_apart_are_no_matter(machines, start, tmp_path):
    """Of the time of day; durations go by another clock, which no one sets."""
    first, second = machines.run_by
    (tmp_path / "sitecustomize.py").write_text(_SLEEP_BY_SELECT)
    began = time.localtime()
    pair = start(
        tmp_path / "run",
        "--train_steps=60",
        run_by=(first, (*second, "faketime", "-f", "+1h")),
        environments=(
            {},
            {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "PYTHONPATH": str(tmp_path)},
        ),
    )
    ends = [pair.wait(index) for index in range(2)]
    assert [code for code, _, _ in ends] == [0, 0], ends
    assert results_of(tmp_path / "run")["step"] == 60
    # All that the second worker says is when it waited for the first.
    hours, minutes, seconds = (int(part) for part in ends[1][2].split()[0].split(":"))
    ahead = (hours - began.tm_hour) * 3600 + (minutes - began.tm_min) * 60 + seconds - began.tm_sec
    assert ahead % (24 * 3600) >= 3600


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(disk)]
    subprocess.run(mounted, check=True, capture_output=True)
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_chief_without_free_disk_is_named_by_both(start, small_disk):
    pair = start(small_disk / "run")
    ends = [pair.wait(index) for index in range(2)]
    assert ends[0][0] == os.EX_IOERR, ends
    assert str(small_disk) in ends[0][2]
    assert "Free some space" in ends[0][2]
    assert ends[1][0] == os.EX_TEMPFAIL, ends
    failed = f"worker 0 ({pair.addresses[0]}) has failed: StorageError: {small_disk}"
    assert failed in ends[1][2]


def test_another_worker_needs_no_disk(start, small_disk, tmp_path):
    """Nothing is written by it, not even to its temporary folder."""
    (small_disk / "filler").write_bytes(bytes(2 * 2**20 - 4096))
    temporary = {"TMPDIR": str(small_disk)}
    pair = start(tmp_path / "run", "--train_steps=60", environments=({}, temporary))
    ends = [pair.wait(index) for index in range(2)]
    assert [code for code, _, _ in ends] == [0, 0], ends
    assert [path.name for path in small_disk.iterdir()] == ["filler"]
