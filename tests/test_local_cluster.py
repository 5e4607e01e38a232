"""Workers as processes of this machine: output, signals, ends. No TensorFlow in them."""

import contextlib
import json
import os
import pathlib
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


# The second fails; the first ends when the launcher has asked for its exit code.
ENDS_AFTER_ANOTHER = """
import json, os, pathlib, sys, time
pid_path = pathlib.Path(sys.argv[1])
if json.loads(os.environ["TF_CONFIG"])["task"]["index"] == 1:
    pid_path.with_suffix(".part").write_text(str(os.getpid()))
    pid_path.with_suffix(".part").rename(pid_path)
    sys.exit(7)
while not pid_path.exists() or pathlib.Path("/proc", pid_path.read_text()).exists():
    time.sleep(0.01)
time.sleep(1)
print("saved")
sys.exit(75)
"""


def test_the_first_failure_decides_and_others_may_end_by_themselves(tmp_path, capsys):
    script, pid_path = _script(tmp_path, ENDS_AFTER_ANOTHER), tmp_path / "pid"
    assert local_cluster.run_workers([script, str(pid_path)], 2) == 7
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


_LAUNCH = (
    "import sys; from mnist_lib.distribution import local_cluster; "
    "sys.exit(local_cluster.run_workers(sys.argv[2:], 2, seconds_to_end=float(sys.argv[1])))"
)
# As where other work keeps the launcher from going on.
_SLOW_THREADS = (
    "import threading, time; start = threading.Thread.start; "
    "threading.Thread.start = lambda thread: (time.sleep(2), start(thread)); "
)
# Says when it is there, and what it gets; `{on_signal}` then decides. A launcher that is killed
# between two starts knows one worker only.
_TOLD = """
import os, pathlib, signal, sys, time
here = pathlib.Path(sys.argv[1]) / str(os.getpid())
def told(number, _frame):
    with here.with_suffix(".told").open("a") as file:
        file.write(signal.Signals(number).name + " ")
    {on_signal}
for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
    signal.signal(number, told)
time.sleep({seconds_to_guard})
here.with_suffix(".pid").write_text("")
while True:
    time.sleep(0.05)
"""


@pytest.fixture
def launched(tmp_path):
    """Starts a launcher with two workers that write down what signals they get."""
    processes = []
    folder = tmp_path / "told"
    folder.mkdir()

    def launch(
        on_signal: str,
        *,
        seconds_to_end: float = 60,
        command: tuple[str, ...] = (),
        before: str = "",
        seconds_to_guard: float = 0.5,
    ):
        text = _TOLD.format(on_signal=on_signal, seconds_to_guard=seconds_to_guard)
        script = _script(tmp_path, text)
        arguments = [str(seconds_to_end), *command, *([] if command else [script]), str(folder)]
        process = subprocess.Popen(
            [sys.executable, "-c", before + _LAUNCH, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        _until(lambda: len(_pids(folder)) == 2)
        return process, folder

    yield launch
    for process in processes:
        process.kill()
        process.communicate()
    for pid in _pids(folder):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _pids(folder) -> list[int]:
    return sorted(int(path.stem) for path in folder.glob("*.pid"))


def _until(condition) -> None:
    """Waits; a test that waits in vain is ended by the deadline of all."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _are_gone(folder) -> bool:
    return not any(_is_running(pid) for pid in _pids(folder))


def _is_running(pid: int) -> bool:
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # nobody may have asked for its exit code yet


def _told(folder) -> list[str]:
    return [path.read_text().strip() for path in folder.glob("*.told")]


def test_workers_of_a_killed_launcher_are_asked_to_stop(launched):
    process, folder = launched("sys.exit(75)")
    process.kill()
    process.wait()
    _until(lambda: _are_gone(folder))
    assert _told(folder) == ["SIGTERM", "SIGTERM"]


def test_workers_of_a_killed_launcher_that_do_not_stop_are_killed(launched):
    process, folder = launched("pass", seconds_to_end=5)
    process.kill()
    process.wait()
    _until(lambda: _are_gone(folder))
    assert _told(folder) == ["SIGTERM", "SIGTERM"]


def test_a_launcher_that_is_killed_as_soon_as_workers_are_there_leaves_none(launched):
    process, folder = launched("sys.exit(75)", before=_SLOW_THREADS, seconds_to_guard=0)
    process.kill()
    process.wait()
    _until(lambda: _are_gone(folder))
    assert _told(folder) == ["SIGTERM", "SIGTERM"]


def test_what_workers_have_started_ends_with_them(launched, tmp_path):
    """A shell that ends at once, by the signal, is not all of a worker."""
    script = tmp_path / "script.py"
    command = ("sh", "-c", f'"{sys.executable}" "{script}" "$0"; true')
    process, folder = launched("time.sleep(0.5); sys.exit(75)", command=command)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == 75
    _until(lambda: _are_gone(folder))
    assert _told(folder) == ["SIGTERM", "SIGTERM"]


@pytest.mark.parametrize("name", ["SIGUSR1", "SIGHUP"])
def test_any_signal_that_stops_is_passed_on(launched, name):
    process, folder = launched("sys.exit(75)")
    process.send_signal(getattr(signal, name))
    process.communicate(timeout=120)
    assert process.returncode == 75
    assert _told(folder) == [name, name]
    _until(lambda: _are_gone(folder))


def test_a_second_signal_ends_workers_that_do_not_listen(launched, monkeypatch):
    process, folder = launched("pass")
    process.send_signal(signal.SIGTERM)
    _until(lambda: _told(folder) == ["SIGTERM", "SIGTERM"])
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == 75
    _until(lambda: _are_gone(folder))


_AT_A_BAD_MOMENT = """
import os, signal, subprocess, sys
from mnist_lib.distribution import local_cluster
start = subprocess.Popen
count = 0
def start_and_signal(*arguments, **options):
    global count
    count += 1
    process = start(*arguments, **options)
    if count == int(sys.argv[1]):  # the guard, a worker or the other, which nobody knows yet
        os.kill(os.getpid(), signal.SIGTERM)
    return process
subprocess.Popen = start_and_signal
code = local_cluster.run_workers(["sleep", "600"], 2)
print(count)
sys.exit(code)
"""


@pytest.mark.parametrize(("moment", "num_started"), [(1, 1), (2, 2), (3, 3)])
def test_a_signal_while_workers_are_started_reaches_them(moment, num_started):
    done = subprocess.run(
        [sys.executable, "-c", _AT_A_BAD_MOMENT, str(moment)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 75, done.stderr
    assert done.stdout == f"{num_started}\n"


def test_a_worker_whose_child_keeps_its_output_open_is_ended_with_it(tmp_path):
    command = ["sh", "-c", "sleep 600 & exit 3"]
    assert local_cluster.run_workers(command, 2, seconds_to_end=0.5) == 3
