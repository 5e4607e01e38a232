"""The examples that show the library beside other ones."""

import ast
import importlib.util
import os
import re
import subprocess

import pytest
from script_runs import script_command


def _run(example: str, data) -> str:
    done = subprocess.run(
        script_command(f"examples/{example}.py"),
        capture_output=True,
        text=True,
        env=os.environ | {"TFDS_DATA_DIR": str(data.data_dir)},
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(importlib.util.find_spec("orbit") is None, reason="Orbit is not installed")
def test_orbits_controller_drives_trainer_and_evaluator(prepared_data):
    """In the steps of an epoch, nearly as well as the recipe of the mlp."""
    out = _run("orbit_controller", prepared_data)
    accuracy = float(re.search(r"validation accuracy (0\.\d+)", out)[1])
    assert accuracy > prepared_data.accuracy - 0.03


@pytest.mark.slow
def test_fit_and_evaluate_are_the_same_beside_our_evaluator(prepared_data):
    """On two replicas, to the last digit; and our evaluation agrees with Keras's."""
    alone, ours, beside = _run("fit_beside_evaluator", prepared_data).splitlines()
    results = ast.literal_eval(alone.removeprefix("alone: "))
    assert results == ast.literal_eval(beside.removeprefix("beside it: "))
    loss, accuracy = map(float, re.search(r"loss (\S+), accuracy (\S+)", ours).groups())
    assert loss == pytest.approx(results["loss"], rel=1e-4)
    assert accuracy == pytest.approx(results["accuracy"], abs=1e-6)
