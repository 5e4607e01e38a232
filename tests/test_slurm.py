"""A real Slurm cluster of this machine: who the workers are, signals, requeueing."""

import json
import os
import pathlib
import re
import shlex
import sys
import time

import held_runs
import pytest
import slurm_cluster
from script_runs import ROOT, SHORT_RUN, data_flags, results_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(slurm_cluster.why_not()), reason=slurm_cluster.why_not()),
]

SBATCH, STUDY = (ROOT / "examples" / f"{name}.sbatch" for name in ("slurm", "study"))
SECONDS_OF_A_RUN = 900  # of a machine that does a lot else
_WHO = """
import json, os
from mnist_lib.distribution import slurm
step = slurm.read_step(os.environ)
print(json.dumps([os.environ["SLURMD_NODENAME"], step.index, step.addresses, step.tasks_of_node]))
"""


def _start(folder: pathlib.Path, *nodes: str) -> slurm_cluster.SlurmCluster:
    """Starts a cluster on which `mnist-lib` is a command."""
    cluster = slurm_cluster.SlurmCluster(folder, nodes or ("localhost",))
    (folder / "bin").mkdir()
    command = folder / "bin" / "mnist-lib"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m mnist_lib "$@"\n')
    command.chmod(0o755)
    path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    cluster.environment["PYTHONPATH"] = os.pathsep.join(path)
    cluster.environment["PATH"] = f"{command.parent}{os.pathsep}{cluster.environment['PATH']}"
    cluster.environment.pop("TF_CONFIG", None)
    return cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster of one node."""
    cluster = _start(tmp_path_factory.mktemp("slurm"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


# In place of a training that would take until then: only what Slurm does is of interest.
_UNTIL_WARNED = """#!/bin/sh
trap 'echo warned; exit 75' USR1
echo "restart ${SLURM_RESTART_COUNT:-0}, task $SLURM_PROCID"
[ "${SLURM_RESTART_COUNT:-0}" -eq 1 ] && exit 0
while true; do sleep 0.1; done
"""


@pytest.fixture(scope="module")
def warned(cluster, tmp_path_factory):
    """The number and the log of a job that is warned; Slurm looks for those every 30 s."""
    folder = tmp_path_factory.mktemp("warned")
    command = folder / "mnist-lib"
    command.write_text(_UNTIL_WARNED)
    command.chmod(0o755)
    submitted = cluster.run(
        *("sbatch", "--parsable", "-N1", "--ntasks-per-node=2", "--cpus-per-task=1"),
        *("--time=1", "--signal=USR1@55", f"--output={folder}/log", str(SBATCH)),
        env={"PATH": f"{folder}{os.pathsep}{cluster.environment['PATH']}"},
    )
    return submitted.stdout.strip(), folder / "log"


@pytest.fixture(scope="module")
def of_srun(cluster, warned, prepared_data, tmp_path_factory):
    """The run directory, and what was said, of a run of two tasks that nothing stops."""
    workdir = tmp_path_factory.mktemp("srun") / "run"
    done = cluster.run(
        *("srun", "-N1", "-n2", "mnist-lib", "train", "--strategy=multi_worker_mirrored"),
        *(f"--workdir={workdir}", *data_flags(prepared_data), *SHORT_RUN),
        check=False,
        timeout=SECONDS_OF_A_RUN,
    )
    assert done.returncode == 0, done.stderr
    return workdir, done.stderr


@pytest.mark.parametrize("distribution", ["block", "cyclic", "plane=2"])
def test_slurm_gives_each_task_its_own_address(nodes, distribution):
    done = nodes.run(
        *("srun", "-N4", "-n6", f"--distribution={distribution}", "-w", "n2,n10,a3,a1"),
        *(sys.executable, "-c", _WHO),
    )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(index for _, index, _, _ in told) == [*range(6)]
    for node, index, addresses, (task, num_tasks) in told:
        assert addresses == told[0][2]
        host, _, port = addresses[index].partition(":")
        assert host == node
        first = min(address for address in addresses if address.startswith(f"{node}:"))
        assert int(port) == int(first.partition(":")[2]) + task
        assert task < num_tasks == [a.partition(":")[0] for a in addresses].count(node)


def test_jobs_of_one_node_have_ports_of_their_own(nodes):
    firsts = set()
    for _ in range(3):
        done = nodes.run("srun", "-n1", "-w", "n2", sys.executable, "-c", _WHO)
        firsts.add(json.loads(done.stdout)[2][0])
    assert len(firsts) == 3


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """A cluster of several nodes, whose names no machine has: nothing can be trained there."""
    cluster = _start(tmp_path_factory.mktemp("nodes"), "a3", "a1", "n2", "n10")
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def test_srun_trains(of_srun):
    workdir, said = of_srun
    assert results_of(workdir)["num_replicas"] == 2
    first, second = re.findall(r"worker (?:0|1) \(localhost:(\d+)\) of 2: waiting for all", said)
    assert {int(first) % 16, int(second) % 16} == {0, 1}


def test_a_stopped_job_is_put_back_and_ends_as_if_it_had_not_been(
    cluster, of_srun, prepared_data, tmp_path
):
    """With the script in examples/."""
    workdir = tmp_path / "run"
    hold = _hold(cluster, tmp_path)
    submitted = cluster.run(
        *("sbatch", "--parsable", "-N1", "--ntasks-per-node=2", "--cpus-per-task=1"),
        *(f"--output={tmp_path}/log", str(SBATCH), *data_flags(prepared_data), *SHORT_RUN),
        env={"WORKDIR": str(workdir)} | hold.environment,
    )
    job = submitted.stdout.strip()
    _wait_until(hold.workdirs, cluster, job)
    cluster.run("scancel", "--signal=TERM", job)
    _wait_until(lambda: cluster.job(job)["JobState"] == "COMPLETED", cluster, job)
    assert cluster.job(job)["Restarts"] == "1"
    log = (tmp_path / "log").read_text()
    stops = re.findall(r"stopped by SIGTERM, saved at step (\d+)", log)
    assert len(stops) == 2, log
    assert f"Starting at step {stops[0]} of 300" in log
    assert results_of(workdir) == results_of(of_srun[0])


def test_the_warning_before_the_time_limit_reaches_tasks_and_puts_the_job_back(cluster, warned):
    job, log = warned
    _wait_until(lambda: cluster.job(job)["JobState"] == "COMPLETED", cluster, job)
    assert cluster.job(job)["Restarts"] == "1"
    lines = log.read_text().splitlines()
    assert lines.count("warned") == 2
    for restart in range(2):
        assert {f"restart {restart}, task {task}" for task in range(2)} <= set(lines)


def test_a_study_is_a_job_array_of_which_a_task_is_stopped(cluster, prepared_data, tmp_path):
    """With the script in examples/: each task does its runs, and the last one makes the table."""
    workdir = tmp_path / "study"
    hold = _hold(cluster, tmp_path)
    submitted = cluster.run(
        *("sbatch", "--parsable", "--array=0-1", f"--output={tmp_path}/log-%a", str(STUDY)),
        *("--seeds=0:4", *data_flags(prepared_data), *SHORT_RUN),
        env={"WORKDIR": str(workdir)} | hold.environment,
    )
    job = submitted.stdout.strip()
    runs = [workdir / "mlp" / f"seed-{seed}" for seed in range(4)]
    _wait_until(lambda: runs[1] in hold.workdirs(), cluster, f"{job}_1")
    cluster.run("scancel", "--signal=TERM", "--batch", f"{job}_1")
    log = runs[1].with_suffix(".log")
    _wait_until(lambda: "stopped by SIGTERM" in log.read_text(), cluster, f"{job}_1")
    hold.release()  # the others
    for task in (f"{job}_0", f"{job}_1"):
        _wait_until(lambda: cluster.job(task)["JobState"] == "COMPLETED", cluster, task)  # noqa: B023
    assert cluster.job(f"{job}_1")["Restarts"] == "1"
    said = log.read_text()
    stopped_at = re.search(r"stopped by SIGTERM, saved at step (\d+)", said)[1]
    assert f"Starting at step {stopped_at} of 300" in said
    logs = [(tmp_path / f"log-{task}").read_text() for task in range(2)]
    assert "are finished, others are not." in "".join(logs)
    (setting,) = json.loads((workdir / "study.json").read_text())["settings"]
    assert setting["seeds"] == [0, 1, 2, 3]
    accuracies = [results_of(run)["test"]["accuracy"] for run in runs]
    assert setting["test"]["accuracies"] == accuracies
    assert (workdir / "study.png").read_bytes().startswith(b"\x89PNG")


def _hold(cluster, folder: pathlib.Path) -> held_runs.Hold:
    """Returns a hold of jobs, whose processes find the library by PYTHONPATH."""
    hold = held_runs.Hold(folder, step=50)
    paths = [hold.environment["PYTHONPATH"], cluster.environment["PYTHONPATH"]]
    hold.environment["PYTHONPATH"] = os.pathsep.join(paths)
    return hold


def _wait_until(condition, cluster, job: str) -> None:
    deadline = time.monotonic() + SECONDS_OF_A_RUN
    while True:
        told = cluster.job(job)  # before the condition, which its end may make true
        if condition():
            return
        assert told["JobState"] in ("PENDING", "RUNNING", "COMPLETING", "REQUEUED"), told
        assert time.monotonic() < deadline, told
        time.sleep(0.1)


def test_the_example_asks_for_a_warning_and_a_requeue():
    text = SBATCH.read_text()
    for option in ("--requeue", "--signal=USR1@120", "--open-mode=append"):
        assert f"#SBATCH {option}\n" in text
