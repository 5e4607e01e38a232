"""The benchmark's bookkeeping. It asserts on no time: only that all have learned."""

import pytest

import mnist_lib
from mnist_lib import benchmark


@pytest.mark.slow
def test_contenders_are_compared_and_have_learned(prepared_data):
    options = {"name": prepared_data.name, "data_dir": str(prepared_data.data_dir)}
    report = benchmark.compare(
        ["mirrored", "fit"], model="linear", num_rounds=3, steps_per_round=100, data_options=options
    )
    assert report["settings"]["num_rounds"] == 3
    assert set(report["results"]) == {"mirrored", "fit"}
    ours, fit = report["results"]["mirrored"], report["results"]["fit"]
    assert ours["speedup"] == 1
    assert fit["speedup_range"][0] <= fit["speedup"] <= fit["speedup_range"][1]
    for result in (ours, fit):
        assert result["images_per_second"] == pytest.approx(
            128e3 / result["milliseconds_per_step"], rel=1e-6
        )
        assert result["loss"] < 1.15


@pytest.mark.slow
def test_input_is_measured(prepared_data):
    options = {"name": prepared_data.name, "data_dir": str(prepared_data.data_dir)}
    report = benchmark.measure_input(options, num_batches=10)
    assert report["dataset"] == prepared_data.name
    assert 0 < report["load_seconds"] < report["first_batch_seconds"]
    assert set(report["index_batch_microseconds"]) == {"60000", "6000000"}


def test_unknown_contenders_are_refused():
    with pytest.raises(mnist_lib.ConfigError, match="contenders: 'orbit' is not one of mirrored"):
        benchmark.compare(["mirrored", "orbit"])
