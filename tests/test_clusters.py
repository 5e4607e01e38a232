"""Who the workers are, from TF_CONFIG or Slurm, and how they meet."""

import json
import socket
import threading

import pytest

import mnist_lib
from mnist_lib.distribution import clusters, rendezvous


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _tf_config(cluster: dict, job: str = "worker", index: object = 0) -> str:
    return json.dumps({"cluster": cluster, "task": {"type": job, "index": index}})


TWO = {"worker": ["127.0.0.1:1201", "127.0.0.1:1202"]}


@pytest.mark.parametrize(
    ("tf_config", "message"),
    [
        ("not json", "TF_CONFIG: it must be JSON like .*JSONDecodeError"),
        ("[]", "TF_CONFIG: it must be JSON like"),
        (json.dumps({"cluster": TWO}), "TF_CONFIG: it must be JSON like .*'task'"),
        (_tf_config(TWO, index=2), "its task is worker 2, but its cluster has 2 of worker"),
        (_tf_config(TWO, index=-1), "its task is worker -1"),
        (_tf_config(TWO, index="0"), "its task is worker 0, but its cluster has 2"),
        (_tf_config(TWO, job="chief"), "its task is chief 0, but its cluster has 0 of chief"),
        (_tf_config({**TWO, "ps": ["127.0.0.1:1"]}), "which Keras 3 does not support"),
        (_tf_config({**TWO, "evaluator": ["a:1"]}), "only chief and worker train"),
        (_tf_config({"worker": ["127.0.0.1"]}), "'127.0.0.1' is not an address like host:port"),
        (_tf_config({"worker": ["a:99999"]}), "'a:99999' is not an address"),
        (_tf_config({"worker": ["a:1", "a:1"]}), "two workers have the same address"),
    ],
)
def test_a_bad_tf_config_is_refused(monkeypatch, tf_config, message):
    monkeypatch.setenv("TF_CONFIG", tf_config)
    with pytest.raises(mnist_lib.errors.ConfigError, match=message) as caught:
        clusters.check_environment()
    assert caught.value.exit_code == 64


def test_a_taken_port_is_named(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("TF_CONFIG", _tf_config({"worker": [address]}))
        with pytest.raises(
            mnist_lib.errors.ConfigError, match=rf"worker 0 \({address}\) cannot be used"
        ):
            clusters.check_environment()


def test_no_cluster_at_all_is_refused(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(mnist_lib.errors.ConfigError, match=r"strategy: .* scripts/launch.py"):
        clusters.check_environment()


def test_the_chief_comes_first(monkeypatch):
    jobs = {"worker": ["127.0.0.1:1201"], "chief": [f"127.0.0.1:{_free_port()}"]}
    monkeypatch.setenv("TF_CONFIG", _tf_config(jobs, job="chief"))
    resolver, cluster = clusters.read_cluster()
    assert cluster.tasks == (("chief", 0), ("worker", 0))
    assert cluster.index == 0
    assert resolver.task_type == "chief"
    assert cluster.describe(1) == "worker 0 (127.0.0.1:1201)"


def test_slurm_without_gpus(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    step = {"PROCID": "2", "STEP_NUM_TASKS": "3", "STEP_NODELIST": "node[1-2]"}
    for name, value in {**step, "STEP_TASKS_PER_NODE": "2,1"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    _, cluster = clusters.read_cluster()
    assert cluster.addresses == ("node1:8888", "node1:8889", "node2:8888")
    assert cluster.index == 2
    assert not cluster.is_loopback()
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "5")
    with pytest.raises(mnist_lib.errors.ConfigError, match=r"SLURM_\*: do not describe a job step"):
        clusters.read_cluster()


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [("127.0.0.1", True), ("[::1]", True), ("localhost", True), ("10.0.0.1", False), ("n1", False)],
)
def test_loopback(host, is_loopback):
    assert clusters.Cluster((("worker", 0),), (f"{host}:1",), 0).is_loopback() == is_loopback


def test_addresses_that_others_can_reach_are_warned_of(monkeypatch, caplog):
    def stop(cluster, timeout_seconds):
        raise mnist_lib.errors.WorkerLostError(f"after {timeout_seconds}")

    monkeypatch.setattr(rendezvous, "wait_for_all", stop)
    for hosts, num_warnings in ((["127.0.0.1", "localhost"], 0), (["127.0.0.1", "10.0.0.1"], 1)):
        addresses = [f"{host}:{_free_port()}" for host in hosts]
        monkeypatch.setenv("TF_CONFIG", _tf_config({"worker": addresses}))
        caplog.clear()
        with pytest.raises(mnist_lib.errors.WorkerLostError, match="after 17"):
            mnist_lib.create_strategy("multi_worker_mirrored", worker_timeout_seconds=17)
        warnings = [r for r in caplog.records if r.levelname == "WARNING"]
        assert len(warnings) == num_warnings
        assert all("neither encrypted nor authenticated" in r.getMessage() for r in warnings)


def _meet(present: list[int], count: int, timeout_seconds: float, port: int) -> dict[int, str]:
    """Has some of `count` workers meet, each in a thread; returns what each was told."""
    addresses = tuple(f"127.0.0.1:{port + index}" for index in range(count))
    tasks = tuple(("worker", index) for index in range(count))
    told = {}

    def meet(index: int) -> None:
        try:
            rendezvous.wait_for_all(clusters.Cluster(tasks, addresses, index), timeout_seconds)
            told[index] = ""
        except mnist_lib.errors.WorkerLostError as error:
            told[index] = str(error)

    threads = [threading.Thread(target=meet, args=(index,)) for index in present]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def test_workers_meet():
    assert _meet([2, 0, 1], 3, 30, _free_port()) == {0: "", 1: "", 2: ""}


def test_all_are_told_who_is_missing():
    port = _free_port()
    told = _meet([0, 1], 3, 1.0, port)
    assert set(told) == {0, 1}
    for message in told.values():
        assert f"no answer from worker 2 (127.0.0.1:{port + 2}) within 1 s" in message


def test_a_missing_chief_is_named():
    port = _free_port()
    (message,) = _meet([1], 2, 0.5, port).values()
    assert f"no answer from worker 0 (127.0.0.1:{port})" in message


def test_a_stranger_on_the_port_is_no_worker():
    port = _free_port()
    done = threading.Event()

    def knock() -> None:
        while not done.is_set():
            try:
                with socket.create_connection(("127.0.0.1", port), 1) as connection:
                    connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
                    connection.recv(100)
                return
            except OSError:
                continue

    stranger = threading.Thread(target=knock)
    stranger.start()
    (message,) = _meet([0], 2, 1.0, port).values()
    done.set()
    stranger.join()
    assert "no answer from worker 1" in message
