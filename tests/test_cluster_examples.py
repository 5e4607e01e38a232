"""The examples for clusters: fields that there are, flags that parse, files that exist."""

import copy
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest
from script_runs import ROOT

from mnist_lib.distribution import clusters

yaml = pytest.importorskip("yaml")
jsonschema = pytest.importorskip("jsonschema")

JOB = yaml.safe_load((ROOT / "examples" / "kubernetes.yaml").read_text())
SCHEMA = json.loads((pathlib.Path(__file__).parent / "tfjob_schema.json").read_text())
WORKER = JOB["spec"]["tfReplicaSpecs"]["Worker"]


def _flags_parse(arguments: list[str]) -> subprocess.CompletedProcess:
    parse_only = (
        "import importlib, sys; from mnist_lib.commands import command_line;"
        "command_line._call = lambda main: None;"
        "importlib.import_module('mnist_lib.commands.' + sys.argv[1]).run(sys.argv[2:])"
    )
    return subprocess.run(
        [sys.executable, "-c", parse_only, *arguments], capture_output=True, text=True, check=False
    )


def test_the_job_has_the_fields_of_a_tfjob():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(JOB, SCHEMA)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "tfReplicaSpec"), {}),
        (("spec", "tfReplicaSpecs", "PS"), {}),
        (("spec", "tfReplicaSpecs", "Worker", "restartPolicy"), "Sometimes"),
        (("spec", "tfReplicaSpecs", "Worker", "replicas"), "2"),
        (("spec", "tfReplicaSpecs", "Worker", "template", "spec", "container"), []),
        (("spec", "tfReplicaSpecs", "Worker", "template", "spec", "containers", 0, "name"), "x"),
    ],
)
def test_the_schema_finds_mistakes(path, value):
    job = copy.deepcopy(JOB)
    place = job
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(job, SCHEMA)


def test_the_jobs_arguments_are_a_command_of_ours():
    (container,) = WORKER["template"]["spec"]["containers"]
    assert "command" not in container  # the image's entry point
    done = _flags_parse(container["args"])
    assert done.returncode == 0, done.stderr
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    named = [
        arg.split("=")[1] for arg in container["args"] if re.match("--(workdir|data_dir)", arg)
    ]
    assert all(any(path.startswith(f"{mount}/") for mount in mounted) for path in named)
    volumes = {volume["name"] for volume in WORKER["template"]["spec"]["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    # What exit code 75 needs, and what the operator names its service after.
    assert WORKER["restartPolicy"] == "OnFailure"
    assert container["ports"] == [{"name": "tfjob-port", "containerPort": 2222}]


def test_the_operators_tf_config_is_understood(monkeypatch):
    """With a field of its own, and names of services."""
    names = [f"mnist-worker-{index}.default.svc:2222" for index in range(2)]
    task = {"type": "worker", "index": 1}
    text = json.dumps({"cluster": {"worker": names}, "task": task, "environment": "cloud"})
    monkeypatch.setenv("TF_CONFIG", text)
    monkeypatch.setattr(clusters.Cluster, "listen", lambda self: open("/dev/null"))  # noqa: SIM115
    cluster = clusters.read_cluster()
    assert (cluster.addresses, cluster.index) == (tuple(names), 1)


def test_the_image_has_what_installing_needs():
    """It could not be built: there is no Docker here."""
    lines = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text()).splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    assert steps[0] == ["FROM", "python:3.12-slim"]
    copied = {name for step, rest in steps if step == "COPY" for name in rest.split()[:-1]}
    assert all((ROOT / name).exists() for name in copied)
    read_by_setup = {"setup.py", "pyproject.toml", "README.md", "mnist_lib"}
    assert read_by_setup <= copied
    assert ["ENTRYPOINT", '["mnist-lib"]'] in steps
    assert ["USER", "mnist"] in steps


def test_the_batch_script_passes_flags_on():
    text = (ROOT / "examples" / "slurm.sbatch").read_text()
    (command,) = re.findall(r"srun mnist-lib (.*?)\"\$@\"", text.replace("\\\n", ""))
    done = _flags_parse([*re.sub(r'"\$\{WORKDIR:-(.*?)\}"', r"\1", command).split(), "--epochs=2"])
    assert done.returncode == 0, done.stderr


_FAKE_STUDY = """#!/bin/sh
trap 'exit 75' TERM
echo "$@" > called
touch running
[ "$MOOD" = fine ] && exit 0
while :; do sleep 0.01; done
"""


@pytest.mark.parametrize("mood", ["fine", "stopped"])
def test_the_job_array_s_script_puts_back_what_was_stopped(mood, tmp_path):
    """With programs in place of ours and of Slurm's, which write down how they are called."""
    for name, text in (
        ("mnist-lib", _FAKE_STUDY),
        ("scontrol", "#!/bin/sh\necho $@ > requeued\n"),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    array = {"SLURM_ARRAY_JOB_ID": "41", "SLURM_ARRAY_TASK_ID": "3", "MOOD": mood}
    script = subprocess.Popen(
        ["bash", str(ROOT / "examples" / "study.sbatch"), "--seeds=0:4", "--vary=dropout=0.3,0.5"],
        cwd=tmp_path,
        env=os.environ | array | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "WORKDIR": "w"},
    )
    if mood == "stopped":
        while not (tmp_path / "running").exists():
            assert script.poll() is None
            time.sleep(0.01)
        script.send_signal(signal.SIGUSR1)
    code = script.wait(60)
    assert (tmp_path / "called").read_text() == (
        "study --workdir=w --seeds=0:4 --vary=dropout=0.3,0.5\n"
    )
    if mood == "fine":
        assert (code, (tmp_path / "requeued").exists()) == (0, False)
    else:
        assert (code, (tmp_path / "requeued").read_text()) == (75, "requeue 41_3\n")
