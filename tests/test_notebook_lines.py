"""What is seen of a run in a notebook and in a plain script, where nobody has set up logging."""

import io
import logging
import subprocess
import sys
import types

import pytest
import tqdm.std

from mnist_lib import progress

OURS = logging.getLogger("mnist_lib")


@pytest.fixture
def bare_root(monkeypatch):
    """Makes loggers as they are in a new process, when called: pytest adds handlers later."""

    def make():
        monkeypatch.setattr(logging.getLogger(), "handlers", [])

    level = OURS.level
    monkeypatch.setattr(OURS, "handlers", [])
    monkeypatch.setattr(OURS, "propagate", True)
    OURS.setLevel(logging.NOTSET)
    yield make
    OURS.setLevel(level)


@pytest.fixture
def notebook(monkeypatch):
    """An IPython whose shell has a kernel, as in Jupyter; its widgets are not installed."""
    shell = types.SimpleNamespace(kernel=object(), config={})
    fake = types.SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", fake)


def test_lines_are_shown_where_nobody_has_set_up_logging(bare_root, capsys):
    bare_root()
    with progress.shown_lines():
        logging.getLogger("mnist_lib.runs").info("step %d", 5)
        logging.getLogger("mnist_lib.runs").debug("not this")
    logging.getLogger("mnist_lib.runs").info("nor this")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.endswith(" step 5\n")
    assert len(shown.err.splitlines()) == 1
    assert OURS.handlers == []
    assert OURS.level == logging.NOTSET


def test_they_are_shown_once_inside_each_other_and_after_an_error(bare_root, capsys):
    bare_root()
    with pytest.raises(KeyError), progress.shown_lines(), progress.shown_lines():
        _ = {}[logging.getLogger("mnist_lib.runs").warning("once")]
    assert capsys.readouterr().err.count("once") == 1
    assert OURS.handlers == []


@pytest.mark.parametrize("name", ["mnist_lib", None])
def test_who_has_set_up_logging_sees_what_that_says(bare_root, capsys, name):
    bare_root()
    handler = logging.StreamHandler(stream := io.StringIO())
    logging.getLogger(name).addHandler(handler)
    with progress.shown_lines():
        logging.getLogger("mnist_lib.runs").warning("once")
        logging.getLogger("mnist_lib.runs").info("not asked for")
    assert capsys.readouterr().err == ""
    assert stream.getvalue() == "once\n"


def test_warnings_of_others_are_shown_as_without_handlers(bare_root, capsys):
    bare_root()
    with progress.shown_lines():
        logging.getLogger("another").warning("beware")
        logging.getLogger("another").info("chatter")
    assert capsys.readouterr().err == "beware\n"
    assert logging.getLogger().handlers == []


def test_who_has_chosen_a_level_keeps_it(bare_root, capsys):
    bare_root()
    OURS.setLevel(logging.ERROR)
    with progress.shown_lines():
        logging.getLogger("mnist_lib.runs").warning("not wanted")
    assert capsys.readouterr().err == ""


def test_a_notebook_has_a_bar_though_it_is_no_terminal(notebook, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
    bar = progress.Progress(10, description="step")
    bar.update(10, ["loss 0.1234", "accuracy 0.9876", "25,000 images/s"])
    bar.message("step 10: done")
    bar.close()
    assert "step: 100%|" in stream.getvalue()
    assert "25,000 images/s" in stream.getvalue()
    assert "step 10: done\n" in stream.getvalue()


def test_a_notebook_has_the_bar_that_tqdm_chooses_for_it(notebook, monkeypatch):
    made = []

    class Chosen(tqdm.std.tqdm):
        def __init__(self, *arguments, **options):
            made.append(options)
            super().__init__(*arguments, **options | {"file": io.StringIO()})

    monkeypatch.setitem(sys.modules, "tqdm.auto", types.SimpleNamespace(tqdm=Chosen))
    progress.Progress(10, description="step").close()
    assert made[0]["total"] == 10
    assert made[0].get("ncols") is None  # as wide as the cell


def test_no_bar_where_none_is_wanted(notebook, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
    progress.Progress(10, show_bar=False).close()
    assert stream.getvalue() == ""


SCRIPT = """
import logging, sys
import numpy as np
import mnist_lib
{setup}
rng = np.random.default_rng(0)
splits = [
    mnist_lib.Split(
        name, rng.integers(0, 256, (100, 28, 28, 1)).astype(np.uint8), np.arange(100) % 10
    )
    for name in ("train", "validation", "test")
]
config = mnist_lib.TrainConfig(model="linear", batch_size=50, train_steps=4)
mnist_lib.train_and_evaluate(config, sys.argv[1], data=mnist_lib.ImageDataset("noise", *splits))
{check}
"""
BARE = "assert not logging.getLogger('mnist_lib').hasHandlers()"


def _run(code, workdir):
    done = subprocess.run(
        [sys.executable, "-c", code, str(workdir)], capture_output=True, text=True, check=True
    )
    return done.stdout, done.stderr


def test_a_plain_script_is_not_silent(tmp_path):
    out, err = _run(SCRIPT.format(setup="", check=BARE), tmp_path / "run")
    assert out == ""
    for step in (2, 4):
        assert err.count(f" step {step}: train loss ") == 1
    assert err.count("best validation accuracy") == 1


@pytest.mark.slow
def test_a_script_with_logging_set_up_has_no_double_lines(tmp_path):
    setup = "logging.basicConfig(level=logging.INFO)"
    _, err = _run(SCRIPT.format(setup=setup, check=""), tmp_path / "run")
    assert err.count("step 2: train loss ") == 1
