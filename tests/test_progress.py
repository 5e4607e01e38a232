"""Progress: what fits on a terminal, and lines in a pipe."""

import io
import logging
import sys

import pytest

from mnist_lib import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("columns", "shown", "left_out"),
    [
        (120, ("loss 0.1234", "accuracy 0.9876", "25,000 images/s"), ()),
        (80, ("loss 0.1234", "accuracy 0.9876"), ("images/s",)),
        (60, (), ("loss", "images/s")),
    ],
)
def test_what_does_not_fit_is_left_out_and_the_bar_stays(monkeypatch, columns, shown, left_out):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    bar = progress.Progress(270, description="step")
    bar.update(135, ["loss 0.1234", "accuracy 0.9876", "25,000 images/s"])
    bar.update(270, ["loss 0.1234", "accuracy 0.9876", "25,000 images/s"])
    bar.close()
    last = terminal.getvalue().rstrip().split("\r")[-1]
    assert last.startswith("step: 100%|")
    assert last.count("#") >= 10
    assert len(last) <= columns
    assert all(text in last for text in shown)
    assert not any(text in last for text in left_out)


def test_lines_come_at_most_every_ten_seconds(caplog):
    seconds = iter([0.0, 5.0, 11.0, 11.0, 12.0, 25.0, 25.0])
    lines = progress.Progress(100, description="step", clock=lambda: next(seconds))
    with caplog.at_level(logging.INFO):
        for done in (10, 20, 30, 40):
            lines.update(done, ["loss 1.0", "accuracy 0.5"])
    assert [record.message for record in caplog.records] == [
        "step 20 of 100: loss 1.0, accuracy 0.5",
        "step 40 of 100: loss 1.0, accuracy 0.5",
    ]
