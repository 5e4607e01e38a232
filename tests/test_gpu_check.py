"""The check for those who have GPUs, on logical devices of the CPU; and what it refuses."""

import re
import subprocess
import sys

import numpy as np
import pytest
from script_runs import ROOT

import mnist_lib
from benchmarks import device_checks

COMMAND = [sys.executable, "-m", "benchmarks.gpu_check"]


def _check(*flags: str) -> subprocess.CompletedProcess:
    return subprocess.run([*COMMAND, *flags], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_two_logical_devices_are_as_promised(prepared_data, tmp_path):
    done = _check(
        "--devices=cpu:2",
        f"--dataset={prepared_data.name}",
        f"--data_dir={prepared_data.data_dir}",
        f"--markdown={tmp_path / 'table.md'}",
        "--num_rounds=1",
        "--steps_per_round=60",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    text = (tmp_path / "table.md").read_text()
    assert text in done.stdout
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    checks = {row[0]: row[1] for row in rows[2:]}
    assert checks.pop("speed: mlp, 128 images per step") == "-"
    assert list(checks) == [
        "/cpu:0 and /cpu:1 train alike",
        "1 and 2 replicas train alike",
        "1 and 2 replicas count alike",
        "two runs are bitwise the same",
        "stopped at step 20 and resumed is bitwise the same",
        "bfloat16 trains as float32 does",
        "float16 trains as float32 does",
        "XLA computes the same",
    ]
    assert set(checks.values()) == {"yes"}
    assert re.search(r"tensorflow 2\.\d+\.\d+.*cuda_version.*driver:", text)


def test_devices_that_are_not_there_are_refused():
    for devices, told in (("gpu:9", "TensorFlow finds 0 GPUs here"), ("tpu", "is not gpu, gpu:2")):
        done = _check(f"--devices={devices}")
        assert done.returncode == 64
        assert told in done.stderr.splitlines()[-1]


def test_weights_that_differ_are_told_apart():
    one, other = mnist_lib.build_model("linear"), mnist_lib.build_model("linear")
    assert device_checks.difference(one, other) == 0
    kernel = one.trainable_variables[0]
    changed = kernel.numpy()
    changed[3, 4] += 0.01 * np.abs(changed).max()
    other.trainable_variables[0].assign(changed)
    assert device_checks.difference(one, other) == pytest.approx(0.01, rel=1e-3)
    assert device_checks.bitwise({"a": changed}, {"a": changed})[0]
    assert not device_checks.bitwise({"a": changed}, {"a": kernel.numpy()})[0]
    assert not device_checks.bitwise({"a": changed}, {})[0]


def test_named_devices_are_compared():
    build = lambda: mnist_lib.build_model("linear")  # noqa: E731
    report = mnist_lib.check_replica_parity(build, devices=["/cpu:1", "/cpu:2"])
    assert report.agree, report
    with pytest.raises(mnist_lib.errors.ConfigError, match="devices: are 1, and num_replicas is 2"):
        mnist_lib.check_replica_parity(build, devices=["/cpu:0"])
