"""Portions of about half a second; Ctrl-C is heard between them."""

import pathlib
import signal
import subprocess
import sys
import time

import pytest

from mnist_lib.training import portions

_ENDLESS = """
import sys
sys.path.insert(0, {tests!r})
import conftest, mnist_lib
split = conftest.make_split("train", 200, 1)
model = mnist_lib.build_model("mlp")
trainer = mnist_lib.Trainer(model, mnist_lib.build_optimizer("adam", 1e-3))
print("ready", trainer.train(split, 1, 20).num_steps, flush=True)
try:
    trainer.train(split, 10**7, 20)
except KeyboardInterrupt:
    print("stopped at", trainer.step, trainer.train(split, 3, 20).num_steps, flush=True)
"""


@pytest.mark.parametrize(("seconds_per_step", "longest"), [(0.001, 1000), (0.1, 10), (2.0, 10)])
def test_they_add_up_and_last_about_half_a_second(seconds_per_step, longest):
    sizes: list[int] = []
    for size in portions.portions(5000, clock=lambda: sum(sizes) * seconds_per_step):
        sizes.append(size)
    assert sum(sizes) == 5000
    assert max(sizes) <= longest
    for size in sizes[6:-1]:
        assert size == pytest.approx(max(1, 0.5 / seconds_per_step), abs=1)


def test_nothing_is_no_portion():
    assert list(portions.portions(0)) == []


def test_an_interrupt_ends_a_call_of_ten_million_steps(tmp_path):
    """The trainer goes on from there."""
    script = tmp_path / "endless.py"
    script.write_text(_ENDLESS.format(tests=str(pathlib.Path(__file__).parent)))
    command = [sys.executable, str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready 1\n"
            time.sleep(1)
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=120)
        finally:
            process.kill()  # or what does not end works on for ever
    assert out.startswith("stopped at ")
    assert out.endswith(" 3\n")
