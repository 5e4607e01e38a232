"""Workers of one run take the same steps in the same calls, or they wait for each other forever."""

import dataclasses
import types

import pytest

import mnist_lib
from mnist_lib.inspection import run_report
from mnist_lib.runs import run_loop


@pytest.mark.parametrize("level", ["none", "scalars", "default", "full"])
def test_chief_and_others_train_in_the_same_calls(small_dataset, tmp_path, level):
    calls: dict[bool, list[int]] = {}
    for is_chief in (True, False):

        def train(batches, num_steps, is_chief=is_chief):
            calls.setdefault(is_chief, []).append(num_steps)
            return mnist_lib.TrainMetrics(num_steps, 1, 1, 1.0, 1.0, 1.0, 0)

        report = run_report.RunReport(
            tmp_path, step=0, total_steps=13, level=level, show_bar=False, is_chief=is_chief
        )
        loop = types.SimpleNamespace(
            config=mnist_lib.TrainConfig(batch_size=48, summaries=level),
            dataset=small_dataset,
            trainer=types.SimpleNamespace(
                train=train, model=types.SimpleNamespace(trainable_variables=[])
            ),
            batches=None,
            report=report,
            total_steps=13,
        )
        for start in (0, 10):
            run_loop.RunLoop._train_to(loop, start, min(start + 10, 13))
        report.close()
    assert calls[True] == calls[False]


def test_a_profile_of_some_steps_is_left_and_changes_nothing(small_dataset, tmp_path):
    config = mnist_lib.recipe("linear", batch_size=48, train_steps=12, summaries="none")
    plain = mnist_lib.train_and_evaluate(config, tmp_path / "plain", data=small_dataset)
    profiled = dataclasses.replace(config, profile_steps="3:7")
    results = mnist_lib.train_and_evaluate(profiled, tmp_path / "profiled", data=small_dataset)
    assert results["test"] == plain["test"]
    (trace,) = (tmp_path / "profiled").glob("plugins/profile/*/*.xplane.pb")
    assert trace.stat().st_size > 1000
    for text in ("7:3", "3", "a:b", "3:", "-1:4"):
        with pytest.raises(mnist_lib.errors.ConfigError, match=r"profile_steps: .* such as 20:30"):
            dataclasses.replace(config, profile_steps=text)
