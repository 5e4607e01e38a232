"""Workers as processes of this machine: output, signals, ends. No TensorFlow in them."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

import mnist_lib
from mnist_lib.distribution import local_cluster


def _script(tmp_path, text: str) -> str:
    path = tmp_path / "script.py"
    path.write_text(text)
    return str(path)


def test_each_worker_has_its_task_and_its_output_a_prefix(tmp_path, capsys):
    script = _script(
        tmp_path,
        "import os, sys, json\n"
        "print(os.environ['TF_CONFIG'])\n"
        "print(sys.argv[1:], file=sys.stderr)\n",
    )
    assert local_cluster.run_workers([script, "--flag", "x y"], 3) == 0
    out, err = capsys.readouterr()
    configs = {}
    for line in out.splitlines():
        prefix, _, text = line.partition("] ")
        configs[prefix] = json.loads(text)
    assert set(configs) == {"[worker 0", "[worker 1", "[worker 2"}
    for index in range(3):
        config = configs[f"[worker {index}"]
        assert config["task"] == {"type": "worker", "index": index}
        assert config["cluster"] == configs["[worker 0"]["cluster"]
    assert len(set(configs["[worker 0"]["cluster"]["worker"])) == 3
    assert sorted(err.splitlines()) == [f"[worker {i}] ['--flag', 'x y']" for i in range(3)]


FAIL = """
import os, sys, json, time
if json.loads(os.environ["TF_CONFIG"])["task"]["index"] == 1:
    sys.exit(7)
time.sleep(300)
"""


def test_when_one_fails_the_others_are_ended(tmp_path, capsys):
    assert local_cluster.run_workers([_script(tmp_path, FAIL)], 2, seconds_to_end=0.5) == 7
    assert "worker 1 ended with exit code 7" in capsys.readouterr().err


def test_the_first_failure_decides_and_others_may_end_by_themselves(tmp_path, capsys):
    text = FAIL.replace("time.sleep(300)", "time.sleep(1); print('saved'); sys.exit(75)")
    assert local_cluster.run_workers([_script(tmp_path, text)], 2) == 7
    out, err = capsys.readouterr()
    assert "[worker 0] saved" in out
    assert "worker 0 ended with exit code 75" in err


def test_a_killed_worker_counts_as_failed(tmp_path):
    text = FAIL.replace("sys.exit(7)", "os.kill(os.getpid(), 9)")
    code = local_cluster.run_workers([_script(tmp_path, text)], 2, seconds_to_end=0.2)
    assert code == 128 + 9


def test_signals_are_passed_on(tmp_path):
    script = _script(
        tmp_path,
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\n"
        "print('ready', flush=True)\n"
        "time.sleep(300)\n",
    )
    launch = (
        "import sys; from mnist_lib.distribution import local_cluster; "
        "sys.exit(local_cluster.run_workers(sys.argv[1:], 2))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", launch, script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = {process.stdout.readline() for _ in range(2)}
    assert lines == {"[worker 0] ready\n", "[worker 1] ready\n"}
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75
    assert sorted(err.splitlines()) == [f"worker {i} ended with exit code 75" for i in range(2)]


def test_what_cannot_be_run_is_refused():
    with pytest.raises(mnist_lib.errors.ConfigError, match="command: give the script to run"):
        local_cluster.run_workers([], 2)
    with pytest.raises(mnist_lib.errors.ConfigError, match="num_workers: 0 must be at least 1"):
        local_cluster.run_workers(["true"], 0)
    with pytest.raises(mnist_lib.errors.ConfigError, match=r"/no/such/program cannot be started"):
        local_cluster.run_workers(["/no/such/program"], 2)


def test_no_process_is_left_when_the_second_cannot_start(tmp_path, monkeypatch):
    """The first is killed when starting the second fails."""
    script = _script(
        tmp_path,
        "import os, pathlib, sys, time\n"
        "pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))\n"
        "time.sleep(300)\n",
    )
    pid_path = tmp_path / "pid"
    start = local_cluster._Worker

    def start_one(index, *args):
        if index == 1:
            while not pid_path.exists() or not pid_path.read_text():
                time.sleep(0.01)
            raise mnist_lib.errors.ConfigError("command", "no")
        return start(index, *args)

    monkeypatch.setattr(local_cluster, "_Worker", start_one)
    with pytest.raises(mnist_lib.errors.ConfigError, match="command: no"):
        local_cluster.run_workers([script, str(pid_path)], 2)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_path.read_text()), 0)
