"""Runs of two workers: real processes on loopback, killed, stopped, misconfigured."""

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest
from script_runs import SHORT_RUN, data_flags, newest_step, results_of, script_command

pytestmark = pytest.mark.slow

# A hang is what takes longer: --worker_timeout_seconds=20, and what a process needs to end.
DEADLINE_AND_END_SECONDS = 45
WORKER_FLAGS = [*SHORT_RUN, "--strategy=multi_worker_mirrored"]


class Pair:
    """Two workers of one run."""

    def __init__(self, workdir, data, *flags, of_worker=((), ())):
        ports = [_free_port(), _free_port()]
        self.addresses = [f"127.0.0.1:{port}" for port in ports]
        self.processes = [
            subprocess.Popen(
                script_command(
                    "scripts/train.py",
                    f"--workdir={workdir}",
                    *data_flags(data),
                    *WORKER_FLAGS,
                    *flags,
                    *of_worker[index],
                ),
                env=os.environ | {"TF_CONFIG": self._tf_config(index)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for index in range(2)
        ]

    def _tf_config(self, index: int) -> str:
        task = {"type": "worker", "index": index}
        return json.dumps({"cluster": {"worker": self.addresses}, "task": task})

    def wait(self, index: int, timeout_seconds: float = 240) -> tuple[int, str, str]:
        """Returns exit code, standard output and the last line of standard error."""
        try:
            out, err = self.processes[index].communicate(timeout=timeout_seconds)
        finally:
            self.processes[index].kill()
        return self.processes[index].returncode, out, (err.strip().splitlines() or [""])[-1]

    def wait_for_step(self, workdir, step: int) -> None:
        while newest_step(workdir) < step and all(p.poll() is None for p in self.processes):
            time.sleep(0.01)

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()


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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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
        pair = start(workdir, *flags)
        pair.wait_for_step(workdir, newest_step(workdir) + 20)
        time.sleep(generator.uniform(0, 0.3))
        pair.processes[victim].kill()
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
    pair = start(workdir)
    pair.wait_for_step(workdir, 50)
    pair.processes[1].send_signal(signal.SIGTERM)
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
    pair = start(workdir)
    pair.wait_for_step(workdir, 50)
    pair.processes[0].send_signal(signal.SIGTERM)
    assert [pair.wait(index)[0] for index in range(2)] == [os.EX_TEMPFAIL] * 2
    pair = start(workdir, of_worker=((), (f"--workdir={tmp_path}/other",)))
    for code, _, last_line in [pair.wait(index) for index in range(2)]:
        assert code == os.EX_USAGE, last_line
        assert re.search(r"checkpoint: is None on worker 1 .* --workdir that all", last_line)


def test_an_absent_peer_is_named_after_the_deadline(start, tmp_path):
    pair = start(tmp_path / "run", "--worker_timeout_seconds=10")
    pair.processes[1].kill()
    code, _, last_line = pair.wait(0, timeout_seconds=60)
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
