"""A TensorBoard that stays open while a run is killed and goes on."""

import json
import os
import subprocess
import urllib.parse

import held_runs
import pytest
import script_runs
import tensorboard_server

RUN = [
    "--model=cnn",
    "--train_steps=240",
    "--steps_per_loop=5",
    "--checkpoint_every=60",
    "--eval_every=60",
    "--batch_size=64",
]


def _steps(address: str) -> dict[tuple[str, str], list[int]]:
    """The steps of each run's scalars, as the page of scalars is told them."""
    tags = json.loads(tensorboard_server.answer_of(f"{address}data/plugin/scalars/tags") or "{}")
    return {
        (run, tag): _steps_of(address, run, tag) for run, names in tags.items() for tag in names
    }


def _steps_of(address: str, run: str, tag: str) -> list[int]:
    query = urllib.parse.urlencode({"run": run, "tag": tag})
    points = tensorboard_server.answer_of(f"{address}data/plugin/scalars/scalars?{query}")
    return [step for _, step, _ in json.loads(points or "[]")]


def _last_step(address: str, split: str = "train") -> int:
    return max(_steps_of(address, f"run/{split}", "metrics/loss"), default=0)


@pytest.mark.slow
def test_each_step_is_shown_once_to_who_was_there_and_who_comes(prepared_data, tmp_path):
    workdir = tmp_path / "runs" / "run"
    flags = [*RUN, *script_runs.data_flags(prepared_data), f"--workdir={workdir}"]
    command = script_runs.script_command("scripts/train.py", *flags)
    with tensorboard_server.tensorboard_of(tmp_path / "runs") as open_address:
        for least, held_at in ((10, 60), (80, 120), (150, 180)):
            environment = os.environ | held_runs.Hold(tmp_path, held_at).environment
            with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
                # What is in the files by now will be trained again.
                tensorboard_server.wait_until(
                    lambda least=least: (
                        _last_step(open_address) >= max(least, script_runs.newest_step(workdir) + 5)
                        or process.poll() is not None
                    )
                )
                assert process.poll() is None, "it ended before it could be killed"
                process.kill()
            saved = script_runs.newest_step(workdir)
            assert saved < _last_step(open_address), "nothing was shown that was not saved"
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        with tensorboard_server.tensorboard_of(tmp_path / "runs") as new_address:
            for address in (open_address, new_address):
                tensorboard_server.wait_until(
                    lambda address=address: (
                        {_last_step(address), _last_step(address, "test")} == {240}
                    )
                )
            tensorboard_server.wait_until(lambda: _steps(open_address) == _steps(new_address))
            shown = _steps(open_address)
    assert shown["run/train", "metrics/loss"] == list(range(5, 241, 5))
    assert shown["run/validation", "metrics/loss"] == [60, 120, 180, 240]
    for name, steps in shown.items():
        assert sorted(set(steps)) == steps, name
