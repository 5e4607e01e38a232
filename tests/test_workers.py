"""Runs of two workers: real processes on loopback, killed, stopped, misconfigured."""

import contextlib
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import time

import held_runs
import pytest
from script_runs import ROOT, SHORT_RUN, data_flags, newest_step, results_of, script_command
from worker_pairs import DEADLINE_AND_END_SECONDS, WORKER_FLAGS, Pair

pytestmark = pytest.mark.slow


@pytest.fixture
def start(prepared_data):
    """Starts pairs, and kills what is left of them."""
    pairs = []

    def start_pair(workdir, *flags, **options) -> Pair:
        pairs.append(Pair(workdir, prepared_data, *flags, **options))
        return pairs[-1]

    yield start_pair
    for pair in pairs:
        pair.end()


@pytest.fixture(scope="module")
def of_two_replicas(prepared_data, tmp_path_factory):
    """The results of the same run as two replicas of one process."""
    workdir = tmp_path_factory.mktemp("replicas") / "run"
    flags = [f"--workdir={workdir}", *data_flags(prepared_data), *SHORT_RUN, "--num_replicas=2"]
    subprocess.run(script_command("scripts/train.py", *flags), check=True)
    return results_of(workdir)


def test_launched_workers_end_with_the_results_of_replicas(
    prepared_data, of_two_replicas, tmp_path
):
    """To the last bit: two terms have one sum, in whichever order they are added."""
    workdir = tmp_path / "run"
    train = ["scripts/train.py", f"--workdir={workdir}", *data_flags(prepared_data), *WORKER_FLAGS]
    flags = ["--num_workers=2", "--", script_command(train[0])[1], *train[1:]]
    done = subprocess.run(
        script_command("scripts/launch.py", *flags), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    # The chief tells the results; no line comes twice.
    assert {line[:11] for line in done.stdout.splitlines()} == {"[worker 0] "}
    lines = [line.partition(" ")[2].partition(" ")[2] for line in done.stderr.splitlines()]
    assert sorted(lines) == sorted(set(lines)), done.stderr
    assert "not loopback" not in done.stderr
    assert results_of(workdir) == of_two_replicas
    assert results_of(workdir)["num_replicas"] == 2
    assert results_of(workdir)["test"]["num_examples"] == 10_000


def test_either_worker_killed_at_random_moments_ends_the_other_and_changes_no_result(
    start, of_two_replicas, tmp_path
):
    workdir = tmp_path / "run"
    generator = random.Random(0)
    flags = ["--checkpoint_every=20", "--worker_timeout_seconds=20"]
    kills_in_training = 0
    for victim in (0, 1, 1, 0, 1):
        hold = held_runs.Hold(tmp_path, step=newest_step(workdir) + 60)  # it comes no further
        pair = start(workdir, *flags, environments=(hold.environment, {}))
        pair.wait_for_step(workdir, newest_step(workdir) + 20)
        time.sleep(generator.uniform(0, 0.3))
        pair.processes[victim].kill()
        hold.release()
        code, _, last_line = pair.wait(1 - victim, timeout_seconds=DEADLINE_AND_END_SECONDS)
        if code == os.EX_OK:  # it was past the last step already
            break
        assert code == os.EX_TEMPFAIL, last_line
        address = re.escape(pair.addresses[victim])
        assert re.search(rf"workers: worker {victim} \({address}\) is lost\. Start all", last_line)
        kills_in_training += 0 < newest_step(workdir) < 300
    assert kills_in_training >= 3
    pair = start(workdir, *flags)
    for index in range(2):
        code, _, last_line = pair.wait(index)
        assert code == os.EX_OK, last_line
    assert results_of(workdir) == of_two_replicas


@pytest.mark.parametrize("victim", [0, 1])
def test_a_worker_that_falls_silent_ends_the_other_within_the_deadline(start, tmp_path, victim):
    """Stopped, it neither answers nor closes its connections."""
    pair = start(tmp_path / "run", "--worker_timeout_seconds=20", "--train_steps=100000")
    pair.wait_for_step(tmp_path / "run", 50)
    pair.processes[victim].send_signal(signal.SIGSTOP)
    code, _, last_line = pair.wait(1 - victim, timeout_seconds=DEADLINE_AND_END_SECONDS)
    assert code == os.EX_TEMPFAIL, last_line
    assert f"workers: worker {victim} ({pair.addresses[victim]}) is lost" in last_line


def test_a_signal_to_one_worker_saves_and_ends_both(start, of_two_replicas, tmp_path):
    workdir = tmp_path / "run"
    hold = held_runs.Hold(tmp_path, step=50)
    pair = start(workdir, environments=(hold.environment, {}))
    hold.wait(pair.has_ended)
    pair.processes[1].send_signal(signal.SIGTERM)
    hold.release()
    ends = [pair.wait(index) for index in range(2)]
    assert [code for code, _, _ in ends] == [os.EX_TEMPFAIL] * 2, ends
    assert "stopped by a signal to another worker, saved at step" in ends[0][2]
    assert "stopped by SIGTERM, saved at step" in ends[1][2]
    pair = start(workdir)
    assert [pair.wait(index)[0] for index in range(2)] == [0, 0]
    assert results_of(workdir) == of_two_replicas


def test_what_fails_on_one_worker_is_told_by_both(start, prepared_data, tmp_path):
    """The second worker's copy of the data is damaged."""
    damaged = tmp_path / "damaged"
    shutil.copytree(prepared_data.data_dir, damaged)
    (shard,) = damaged.glob(f"{prepared_data.name}/*/*-train.tfrecord-00000-of-00001")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    for decoded in damaged.rglob("*.npy"):
        decoded.unlink()
    pair = start(tmp_path / "run", of_worker=((), (f"--data_dir={damaged}",)))
    ends = [pair.wait(index) for index in range(2)]
    assert ends[1][0] == os.EX_DATAERR, ends
    assert shard.name in ends[1][2]
    assert ends[0][0] == os.EX_TEMPFAIL
    assert f"worker 1 ({pair.addresses[1]}) has failed: CorruptDataError" in ends[0][2]
    assert shard.name in ends[0][2]


def test_workers_that_differ_are_refused_and_the_difference_named(start, tmp_path):
    pair = start(tmp_path / "run", of_worker=((), ("--learning_rate=0.5",)))
    for code, _, last_line in [pair.wait(index) for index in range(2)]:
        assert code == os.EX_USAGE, last_line
        assert "--learning_rate: is 0.5 on worker 1" in last_line
        assert "but 0.001 on worker 0" in last_line
    assert not (tmp_path / "run").exists()


def test_a_worker_that_does_not_see_the_checkpoints_is_refused(start, tmp_path):
    """Its --workdir is on a disk of its own."""
    workdir = tmp_path / "run"
    hold = held_runs.Hold(tmp_path, step=50)
    pair = start(workdir, environments=(hold.environment, {}))
    hold.wait(pair.has_ended)
    pair.processes[0].send_signal(signal.SIGTERM)
    assert [pair.wait(index)[0] for index in range(2)] == [os.EX_TEMPFAIL] * 2
    pair = start(workdir, of_worker=((), (f"--workdir={tmp_path}/other",)))
    for code, _, last_line in [pair.wait(index) for index in range(2)]:
        assert code == os.EX_USAGE, last_line
        assert re.search(r"checkpoint: is None on worker 1 .* --workdir that all", last_line)


def test_an_absent_peer_is_named_after_the_deadline(start, tmp_path):
    pair = start(tmp_path / "run", "--worker_timeout_seconds=10")
    pair.processes[1].kill()
    code, _, last_line = pair.wait(0, timeout_seconds=DEADLINE_AND_END_SECONDS)
    assert code == os.EX_TEMPFAIL, last_line
    assert f"no answer from worker 1 ({pair.addresses[1]}) within 10 s" in last_line
    assert not (tmp_path / "run").exists()


_SLOW_TO_END = """
import atexit, json, os, runpy, sys, time
if json.loads(os.environ["TF_CONFIG"])["task"]["index"] == 1:
    atexit.register(time.sleep, 8)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_the_chief_stays_until_the_others_have_left(prepared_data, tmp_path):
    """Else the others' heartbeats, each 5 s here, fail, and TensorFlow says so after the end."""
    (tmp_path / "slow_to_end.py").write_text(_SLOW_TO_END)
    train = script_command("scripts/train.py", *data_flags(prepared_data), *WORKER_FLAGS)[1:]
    flags = [f"--workdir={tmp_path}/run", "--train_steps=20", "--worker_timeout_seconds=20"]
    command = script_command("scripts/launch.py", "--num_workers=2", "--")
    done = subprocess.run(
        [*command, str(tmp_path / "slow_to_end.py"), *train, *flags],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "StartAbort" not in done.stderr
    assert "UNAVAILABLE" not in done.stderr


def test_workers_of_another_version_are_refused_and_both_named(start, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(ROOT / "mnist_lib", other / "mnist_lib")
    (other / "mnist_lib" / "version.py").write_text('__version__ = "0.0.9"\n')
    config = other / "mnist_lib" / "runs" / "config.py"  # which compares other fields, too
    config.write_text(
        config.read_text().replace('frozenset({"data_dir"', 'frozenset({"data_dir", "seed"')
    )
    path = os.pathsep.join([str(other), os.environ.get("PYTHONPATH", "")])
    pair = start(tmp_path / "run", environments=({}, {"PYTHONPATH": path}))
    for code, _, last_line in [pair.wait(index) for index in range(2)]:
        assert code == os.EX_USAGE, last_line
        there, here = f"worker 1 ({pair.addresses[1]})", f"worker 0 ({pair.addresses[0]})"
        assert f"mnist_lib: is 0.0.9 on {there}, but " in last_line
        assert f" on {here}; start all workers with the same flags, versions" in last_line
    assert not (tmp_path / "run").exists()


@pytest.fixture
def launch(prepared_data):
    """Starts launchers of two workers; what is left of them is killed, and they then end those."""
    launchers = []

    def launch_workers(workdir, environment=None) -> subprocess.Popen:
        flags = [f"--workdir={workdir}", *data_flags(prepared_data), *WORKER_FLAGS]
        train = script_command("scripts/train.py", *flags)[1:]
        launchers.append(
            subprocess.Popen(
                script_command("scripts/launch.py", "--num_workers=2", "--", *train),
                env=os.environ | (environment or {}),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        return launchers[-1]

    yield launch_workers
    for launcher in launchers:
        launcher.kill()
        launcher.communicate()


def _workers_of(workdir) -> list[int]:
    """Returns the processes that train there."""
    found = []
    for folder in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_text().split("\0") if folder.name.isdigit() else []
            if f"--workdir={workdir}" in words and "scripts/launch.py" not in words[1]:
                found.append(int(folder.name))
    return found


def test_workers_of_a_killed_launcher_save_and_end(launch, of_two_replicas, tmp_path):
    workdir = tmp_path / "run"
    hold = held_runs.Hold(tmp_path, step=50)
    launcher = launch(workdir, hold.environment)
    hold.wait(lambda: launcher.poll() is not None)
    launcher.kill()  # they get SIGTERM then, from whoever watches it
    launcher.communicate()
    while _workers_of(workdir):
        time.sleep(0.05)
    saved = newest_step(workdir)
    assert 50 <= saved < 300
    launcher = launch(workdir)
    _, said = launcher.communicate()
    assert launcher.returncode == 0, said
    assert f"Starting at step {saved} of 300" in said
    assert results_of(workdir) == of_two_replicas


@pytest.mark.parametrize("seconds", [0.0, 4.0])
def test_a_signal_to_a_launcher_that_starts_leaves_no_worker(launch, tmp_path, seconds):
    """Before a worker has its handlers, or as TensorFlow is imported."""
    workdir = tmp_path / "run"
    launcher = launch(workdir)
    while not _workers_of(workdir) and launcher.poll() is None:
        time.sleep(0.01)
    time.sleep(seconds)
    launcher.send_signal(signal.SIGTERM)
    _, said = launcher.communicate(timeout=240)
    assert launcher.returncode == os.EX_TEMPFAIL, said
    assert _workers_of(workdir) == []
