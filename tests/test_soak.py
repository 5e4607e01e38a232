"""Whether a process that trains for long grows; and whether one that grows is told from it."""

import pytest

import mnist_lib
from benchmarks import page, process_growth, soak
from benchmarks.process_growth import Sample

MIB = 2**20


def _samples(bytes_per_step: float, **counts) -> list[Sample]:
    """A hundred samples, with a jump in the warm-up and some noise."""
    values = {"descriptors": 12, "threads": 16, "traces": 2}
    return [
        Sample(
            step,
            step / 100,
            round((500 if step < 1500 else 600) * MIB + bytes_per_step * step + step * 7919 % 4096),
            **{name: counts[name](step) if name in counts else n for name, n in values.items()},
        )
        for step in range(100, 10_001, 100)
    ]


@pytest.mark.parametrize(("bytes_per_step", "is_within"), [(0, True), (-3, True), (500, False)])
def test_the_slope_is_that_of_the_memory_after_the_warm_up(bytes_per_step, is_within):
    found = process_growth.growth(_samples(bytes_per_step))
    assert found.low < 1000 * bytes_per_step + 100
    assert found.high > 1000 * bytes_per_step - 100
    assert found.slope == pytest.approx(1000 * bytes_per_step, abs=100)
    assert found.is_within_bounds == is_within


@pytest.mark.parametrize("name", ["descriptors", "threads", "traces"])
def test_a_count_that_rises_is_named(name):
    samples = _samples(0, **{name: lambda step: 10 + step // 4000})
    found = process_growth.growth(samples)
    assert found.grown == (name,)
    assert not found.is_within_bounds
    assert f"more {name}" in process_growth.table(samples, found).note


def test_a_count_that_is_higher_for_a_moment_is_no_growth():
    samples = _samples(0, threads=lambda step: 17 if step == 10_000 else 16)
    assert process_growth.growth(samples).grown == ()


def test_few_samples_are_no_judgement():
    with pytest.raises(mnist_lib.errors.ConfigError, match="too few"):
        process_growth.growth(_samples(0)[:5])


def test_the_page_and_the_picture(tmp_path):
    samples = _samples(0)
    found = process_growth.growth(samples)
    text = page.section(process_growth.table(samples, found))
    assert "| 10,000 | 100 | 629.1 | 12 | 16 | 2 |" in text
    assert "nothing else grows" in text
    process_growth.write_chart(samples, found, str(tmp_path / "soak.png"))
    assert (tmp_path / "soak.png").stat().st_size > 10_000


@pytest.mark.slow
def test_a_run_of_some_thousand_steps_does_not_grow(prepared_data):
    """Its memory by no more than 16 MiB after the first fifth, nothing else at all."""
    config = mnist_lib.recipe(
        "linear", train_steps=6000, steps_per_loop=50, eval_every=200, checkpoint_every=200
    )
    options = {"name": prepared_data.name, "data_dir": str(prepared_data.data_dir)}
    samples = soak.soak(config, options)
    assert [sample.step for sample in samples] == list(range(200, 6001, 200))
    assert process_growth.growth(samples).grown == ()
    assert len({sample.traces for sample in samples}) == 1
    assert samples[-1].resident_bytes - samples[6].resident_bytes < 16 * MIB
