"""What Slurm's variables say: host lists, tasks per node, ports; what is wrong in them is named."""

import os
import random
import shutil
import subprocess

import pytest

import mnist_lib
from mnist_lib.distribution import clusters, slurm

STEP = {
    "SLURM_JOB_ID": "1000",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "3",
    "SLURM_STEP_NODELIST": "n[2,10]",
    "SLURM_STEP_TASKS_PER_NODE": "2,1",
    "SLURM_PROCID": "0",
    "SLURM_NODEID": "0",
    "SLURM_LOCALID": "0",
}
PORT = 12_000 + 16 * 1000


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("n1", ["n1"]),
        ("n[2,10]", ["n2", "n10"]),
        ("n[9-10]", ["n9", "n10"]),
        ("a3,a1", ["a3", "a1"]),
        ("n[08-10,2]", ["n08", "n09", "n10", "n2"]),
        ("n[099-101]", ["n099", "n100", "n101"]),
        ("rack[0-1]node[2-3]", ["rack0node2", "rack0node3", "rack1node2", "rack1node3"]),
        ("n[1-2].cluster,m-x", ["n1.cluster", "n2.cluster", "m-x"]),
        ("a[1-2][3-4]", ["a13", "a14", "a23", "a24"]),
        ("[1-2]", ["1", "2"]),
    ],
)
def test_host_lists_are_expanded_in_their_order(text, names):
    assert slurm.expand_host_list(text) == names


@pytest.mark.parametrize(
    "text",
    [
        *("", ",", "a,", "a,,b", "n[1", "n]1[", "n[]", "n[1-]", "n[a-b]", "n[3-1]", "a b", "n[٣]"),
        *("n[1-999999999999]", "n[1-300]m[1-300]", "n[[1]]", "n[1-99999999999999999999]"),
    ],
)
def test_what_is_no_host_list_is_refused(text):
    with pytest.raises(ValueError, match=r"cannot be read|ends before|names more than"):
        slurm.expand_host_list(text)


@pytest.mark.skipif(shutil.which("scontrol") is None, reason="Slurm's scontrol is not installed")
def test_slurm_itself_expands_them_alike(tmp_path):
    """Up to two pairs of brackets, and no suffix: Slurm 22.05 knows none."""
    conf = tmp_path / "slurm.conf"
    conf.write_text("ClusterName=c\nSlurmctldHost=localhost\nNodeName=n\nPartitionName=p Nodes=n\n")
    draw = random.Random(0)

    def numbers() -> str:
        width = draw.choice([0, 0, 2, 3])
        starts = [draw.randrange(120) for _ in range(draw.randint(1, 3))]
        ranges = [(start, start + draw.choice([0, 1, 12])) for start in starts]
        return ",".join(
            f"{a:0{width}}" if a == b else f"{a:0{width}}-{b:0{width}}" for a, b in ranges
        )

    for _ in range(40):
        entries = [
            draw.choice(["n", "gpu-", "rack7node"])
            + draw.choice(["", f"[{numbers()}]", f"[{numbers()}]x[{numbers()}]", "31"])
            for _ in range(draw.randint(1, 3))
        ]
        text = ",".join(entries)
        done = subprocess.run(
            ["scontrol", "show", "hostnames", text],
            env=os.environ | {"SLURM_CONF": str(conf)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert slurm.expand_host_list(text) == done.stdout.split(), text


def test_each_worker_is_told_its_own_address():
    addresses = (f"n2:{PORT}", f"n2:{PORT + 1}", f"n10:{PORT}")
    for index, (node, task) in enumerate([(0, 0), (0, 1), (1, 0)]):
        step = slurm.read_step(STEP | {"SLURM_NODEID": str(node), "SLURM_LOCALID": str(task)})
        assert step == slurm.SlurmStep(addresses, index, (task, (2, 1)[node]))


def test_ranks_that_go_round_the_nodes_are_no_matter():
    """With `srun --distribution=cyclic` rank 1 is on the second node."""
    cyclic = STEP | {"SLURM_PROCID": "1", "SLURM_NODEID": "1", "SLURM_LOCALID": "0"}
    step = slurm.read_step(cyclic)
    assert step.addresses[step.index] == f"n10:{PORT}"


def test_ranks_alone_go_by_nodes():
    ranks = {name: STEP[name] for name in STEP if name not in ("SLURM_NODEID", "SLURM_LOCALID")}
    steps = [slurm.read_step(ranks | {"SLURM_PROCID": str(rank)}) for rank in range(3)]
    assert [step.index for step in steps] == [0, 1, 2]
    assert steps[2].addresses[2] == f"n10:{PORT}"


def test_tasks_per_node_may_be_repeated():
    counts = {"SLURM_STEP_NUM_TASKS": "7", "SLURM_STEP_TASKS_PER_NODE": "2(x3),1"}
    step = slurm.read_step(STEP | counts | {"SLURM_STEP_NODELIST": "n[7,9-11]"})
    hosts = [address.split(":")[0] for address in step.addresses]
    assert hosts == ["n7", "n7", "n9", "n9", "n10", "n10", "n11"]


def test_the_port_follows_from_job_and_step_or_is_given():
    def port(job: int, step: int, given: int | None = None) -> int:
        numbers = {"SLURM_JOB_ID": str(job), "SLURM_STEP_ID": str(step)}
        return int(slurm.read_step(STEP | numbers, given).addresses[0].split(":")[1])

    ports = [port(job, step) for job in range(1000, 1100) for step in range(4)]
    assert len(set(ports)) == len(ports)
    assert all((p - 12_000) % 16 == 0 and 12_000 <= p <= 28_368 for p in ports)
    assert port(67_108_863, 4_294_967_290) <= 28_368
    assert port(1000, 0, 5000) == 5000


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SLURM_STEP_NUM_TASKS", None, "is not set"),
        ("SLURM_STEP_NUM_TASKS", "x", "'x' is not a number from 1 to 65536"),
        ("SLURM_STEP_NUM_TASKS", "0", "'0' is not a number"),
        ("SLURM_STEP_NUM_TASKS", "9" * 30, "is not a number"),
        ("SLURM_PROCID", None, "is not set"),
        ("SLURM_PROCID", "3", "'3' is not a number from 0 to 2"),
        ("SLURM_PROCID", "-1", "'-1' is not a number from 0 to 2"),
        ("SLURM_STEP_TASKS_PER_NODE", None, "is not set"),
        ("SLURM_STEP_TASKS_PER_NODE", "two", "'two' cannot be read"),
        ("SLURM_STEP_TASKS_PER_NODE", "2,2", "'2,2' does not fit .*NUM_TASKS=3"),
        ("SLURM_STEP_TASKS_PER_NODE", "2", "'2' are not the 3 of SLURM_STEP_NUM_TASKS"),
        ("SLURM_STEP_TASKS_PER_NODE", "1(x999999999)", "does not fit"),
        ("SLURM_STEP_TASKS_PER_NODE", "0(x999999999),3", "does not fit"),
        ("SLURM_STEP_NODELIST", None, "is not set"),
        ("SLURM_STEP_NODELIST", "n[2,10", "'n.2,10' cannot be read"),
        ("SLURM_STEP_NODELIST", "n2", "names 1 nodes, SLURM_STEP_TASKS_PER_NODE 2"),
        ("SLURM_STEP_NODELIST", "n2,n2", "names 1 nodes"),
        ("SLURM_STEP_NODELIST", "n[1-999999999]", "names more than 2 nodes"),
        ("SLURM_NODEID", "2", "'2' is not a number from 0 to 1"),
        ("SLURM_NODEID", None, "is not set"),
        ("SLURM_LOCALID", "2", "'2' is not a number from 0 to 1"),
        ("SLURM_LOCALID", "", "is not set"),
        ("SLURM_JOB_ID", "x", "'x' is not a number"),
        ("SLURM_STEP_ID", "1.batch", "'1.batch' is not a number"),
    ],
)
def test_a_wrong_variable_is_named(monkeypatch, name, value, message):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    for known in [known for known in os.environ if known.startswith("SLURM_")]:
        monkeypatch.delenv(known)
    for known, right in STEP.items():
        monkeypatch.setenv(known, right)
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)
    with pytest.raises(
        mnist_lib.errors.ConfigError, match=f"{name}: .*{message}.*; start the command with"
    ) as caught:
        clusters.read_cluster()
    assert caught.value.exit_code == 64


@pytest.mark.parametrize("port", [0, 65_535, 70_000])
def test_a_port_beyond_all_ports_is_refused(port):
    with pytest.raises(mnist_lib.errors.ConfigError, match=f"worker_port: {port} must be from 1"):
        slurm.read_step(STEP, port)
