"""Who the workers are, from TF_CONFIG or Slurm, and how they meet."""

import json
import os
import re
import socket
import threading

import pytest
import tensorflow as tf
from script_runs import free_port

import mnist_lib
from mnist_lib.distribution import clusters, rendezvous, strategies


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
        (_tf_config({"worker": ["::1:2222"]}), r"IPv6 address stands in brackets, as in .::1.:2"),
        (_tf_config({"worker": ["[::g]:2222"]}), "an IPv6 address stands in brackets"),
        (_tf_config({"worker": ["a:٣"]}), "is not an address like host:port"),
        (_tf_config({"worker": [["a:1"]]}), "is not an address like host:port"),
        (_tf_config({"worker": 7}), "its worker is 7, not a list of addresses"),
        (_tf_config({"worker": {"0": "a:1"}}), "not a list of addresses"),
        (_tf_config(7), "its cluster is 7, not jobs with their addresses"),
        (_tf_config(TWO, index=True), "its task is worker True"),
        (_tf_config(TWO, index=[0]), "its task is worker .0."),
        ("[" * 100_000, "TF_CONFIG: it must be JSON like .*nested too deep"),
    ],
)
def test_a_bad_tf_config_is_refused(monkeypatch, tf_config, message):
    monkeypatch.setenv("TF_CONFIG", tf_config)
    with pytest.raises(mnist_lib.errors.ConfigError, match=message) as caught:
        clusters.read_cluster()
    assert caught.value.exit_code == 64


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_taken_port_is_named(monkeypatch, host):
    if host == "[::1]" and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    family = socket.AF_INET6 if host == "[::1]" else socket.AF_INET
    with socket.create_server((host.strip("[]"), 0), family=family) as server:
        address = f"{host}:{server.getsockname()[1]}"
        monkeypatch.setenv("TF_CONFIG", _tf_config({"worker": [address]}))
        with pytest.raises(
            mnist_lib.errors.ConfigError,
            match=rf"TF_CONFIG: port .* worker 0 \({re.escape(address)}\) cannot be used .* name "
            "another in TF_CONFIG",
        ):
            clusters.read_cluster()


def test_a_flag_chooses_another_port_under_slurm(monkeypatch):
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        _set_step(monkeypatch, "0", {"NUM_TASKS": "1", "NODELIST": "n1", "TASKS_PER_NODE": "1"})
        with pytest.raises(
            mnist_lib.errors.ConfigError,
            match=rf"worker_port: port {port} .* pass another --worker_port to all workers",
        ):
            clusters.read_cluster(worker_port=port)
    assert clusters.read_cluster(worker_port=port).addresses == (f"n1:{port}",)


def test_no_cluster_at_all_is_refused(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(mnist_lib.errors.ConfigError, match=r"strategy: .* scripts/launch.py"):
        clusters.read_cluster()


def test_the_chief_comes_first(monkeypatch):
    jobs = {"worker": ["127.0.0.1:1201"], "chief": [f"127.0.0.1:{free_port()}"]}
    monkeypatch.setenv("TF_CONFIG", _tf_config(jobs, job="chief"))
    cluster = clusters.read_cluster()
    assert cluster.tasks == (("chief", 0), ("worker", 0))
    assert cluster.index == 0
    assert cluster.jobs() == jobs
    assert cluster.describe(1) == "worker 0 (127.0.0.1:1201)"


def _set_step(monkeypatch, rank: str, step: dict[str, str]) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SLURM_PROCID", rank)
    for name, value in step.items():
        monkeypatch.setenv(f"SLURM_STEP_{name}", value)


def test_slurm_names_the_workers(monkeypatch):
    step = {"NUM_TASKS": "3", "NODELIST": "node[1-2]", "TASKS_PER_NODE": "2,1"}
    _set_step(monkeypatch, "2", step)
    port = free_port()
    cluster = clusters.read_cluster(port)
    assert cluster.addresses == (f"node1:{port}", f"node1:{port + 1}", f"node2:{port}")
    assert cluster.index == 2
    assert not cluster.is_loopback()


@pytest.mark.parametrize(
    ("num_gpus", "variables", "seen"),
    [
        (4, {}, [2, 3]),
        (1, {}, None),
        (2, {"SLURM_GPUS_PER_TASK": "2"}, None),
    ],
)
def test_tasks_of_a_node_divide_its_gpus(monkeypatch, num_gpus, variables, seen):
    """On no GPU, as far as could be tried: who gets which is asked for, not used."""
    chosen = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: [*range(num_gpus)])
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda gpus, _: chosen.append(gpus))
    monkeypatch.setattr(
        tf.config, "get_visible_devices", lambda _: chosen[-1] if chosen else [*range(num_gpus)]
    )
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    tasks = (("worker", 0), ("worker", 1))
    cluster = clusters.Cluster(tasks, ("n:1", "n:2"), 1, "worker_port", (1, 2))
    resolver = strategies._resolver(cluster)
    assert chosen == ([] if seen is None else [seen])
    assert resolver.num_accelerators() == {"GPU": num_gpus if seen is None else len(seen)}
    assert (resolver.task_type, resolver.task_id) == ("worker", 1)
    assert resolver.cluster_spec().as_dict() == {"worker": ["n:1", "n:2"]}


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
        addresses = [f"{host}:{free_port()}" for host in hosts]
        monkeypatch.setenv("TF_CONFIG", _tf_config({"worker": addresses}))
        caplog.clear()
        with pytest.raises(mnist_lib.errors.WorkerLostError, match="after 17"):
            mnist_lib.create_strategy("multi_worker_mirrored", worker_timeout_seconds=17)
        warnings = [r for r in caplog.records if r.levelname == "WARNING"]
        assert len(warnings) == num_warnings
        assert all("neither encrypted nor authenticated" in r.getMessage() for r in warnings)


def _meet(
    present: list[int],
    count: int,
    timeout_seconds: float,
    port: int,
    hosts: dict[int, str] | None = None,
    other_hosts: dict[int, dict[int, str]] | None = None,
) -> dict[int, str]:
    """Has some of `count` workers meet, each in a thread; returns what each was told.

    Hosts are loopback but for those in `hosts`, and for what a worker has in `other_hosts`.
    """
    tasks = tuple(("worker", index) for index in range(count))
    told = {}

    def meet(index: int) -> None:
        names = (hosts or {}) | (other_hosts or {}).get(index, {})
        addresses = tuple(f"{names.get(n, '127.0.0.1')}:{port + n}" for n in range(count))
        try:
            rendezvous.wait_for_all(clusters.Cluster(tasks, addresses, index), timeout_seconds)
            told[index] = ""
        except mnist_lib.errors.MnistLibError as error:
            told[index] = str(error)

    threads = [
        threading.Thread(target=meet, args=(index,), name=f"worker {index}") for index in present
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def test_workers_meet():
    assert _meet([2, 0, 1], 3, 30, free_port()) == {0: "", 1: "", 2: ""}


def test_all_are_told_who_is_missing():
    port = free_port()
    told = _meet([0, 1], 3, 5.0, port)
    assert set(told) == {0, 1}
    for message in told.values():
        assert f"no answer from worker 2 (127.0.0.1:{port + 2}) within 5 s" in message


def test_a_missing_chief_is_named():
    port = free_port()
    (message,) = _meet([1], 2, 0.5, port).values()
    assert f"no answer from worker 0 (127.0.0.1:{port})" in message


def test_a_stranger_on_the_port_is_no_worker():
    port = free_port()
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


@pytest.fixture
def unknown_to(monkeypatch) -> dict[str, tuple[str, ...]]:
    """Names that a worker's machine, for which its thread stands, is not to know."""
    unknown: dict[str, tuple[str, ...]] = {}
    look_up = socket.getaddrinfo

    def look_up_there(host, *args, **kwargs):
        if host in unknown.get(threading.current_thread().name, ()):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return look_up("127.0.0.1" if host in HOSTS.values() else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", look_up_there)
    return unknown


HOSTS = {0: "host-a", 1: "host-b"}


@pytest.mark.parametrize("index", [0, 1])
def test_a_worker_that_does_not_know_its_own_name_is_the_culprit(unknown_to, index):
    port = free_port()
    unknown_to[f"worker {index}"] = (HOSTS[index],)
    told = _meet([0, 1], 2, 5.0, port, HOSTS)
    own = f"worker {index} ({HOSTS[index]}:{port + index})"
    for message in (told[0], told[1]):
        assert f"workers: {own} cannot resolve its own name, {HOSTS[index]} (Name or" in message
        assert "lost" not in message


def test_a_worker_that_does_not_know_the_chief_says_so(unknown_to):
    port = free_port()
    unknown_to["worker 1"] = ("host-a",)
    told = _meet([0, 1], 2, 1.0, port, HOSTS)
    assert f"no answer from worker 1 (host-b:{port + 1}) within 1 s" in told[0]
    wrong = f"worker 1 (host-b:{port + 1}) cannot resolve the name of worker 0 (host-a:{port})"
    assert wrong in told[1]


def test_a_chief_that_does_not_know_a_worker_tells_all(unknown_to):
    port = free_port()
    unknown_to["worker 0"] = ("host-b",)
    told = _meet([0, 1], 2, 5.0, port, HOSTS)
    wrong = f"worker 0 (host-a:{port}) cannot resolve the name of worker 1 (host-b:{port + 1})"
    assert wrong in told[0]
    assert told[0] == told[1]


def test_a_name_that_is_known_a_little_later_will_do(unknown_to):
    unknown_to["worker 1"] = ("host-b",)
    timer = threading.Timer(0.5, unknown_to.clear)
    timer.start()
    assert _meet([0, 1], 2, 60, free_port(), HOSTS) == {0: "", 1: ""}
    timer.join()


def test_a_name_that_no_host_can_have_is_named():
    (message,) = _meet([0], 2, 0.5, free_port(), {1: "a" * 70 + ".b"}).values()
    assert f"cannot resolve the name of worker 1 ({'a' * 70}.b:" in message


def test_workers_of_two_clusters_do_not_meet():
    told = _meet([0, 1], 2, 5.0, free_port(), other_hosts={1: {1: "127.0.0.2"}})
    assert "no answer from worker 1" in told[0]
    assert "cluster: worker 0" in told[1]
    assert "tell all workers of the same ones" in told[1]


def test_workers_meet_by_ipv6():
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    assert _meet([0, 1], 2, 30, free_port(), {0: "[::1]", 1: "[::1]"}) == {0: "", 1: ""}
