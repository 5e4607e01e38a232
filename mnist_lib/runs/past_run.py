"""A run that is looked at, in Python and in a notebook.

from mnist_lib.runs.past_run import load_run
run = load_run("runs/mine")
figure = run.plot()
steps, losses = run.history["validation"]["loss"]
"""

from __future__ import annotations

import os
import pathlib
import typing
from collections.abc import Sequence

from mnist_lib import errors, markup, paths
from mnist_lib.inspection import history as histories
from mnist_lib.runs import overview, run_directory
from mnist_lib.runs.config import TrainConfig

if typing.TYPE_CHECKING:
    from matplotlib.figure import Figure

_Workdir = str | os.PathLike[str]


class Run:
    """A run, finished or not, as its folder shows it now; see `load_run`.

    Attributes:
      path: the run directory.
      config: what it was started with.
    """

    def __init__(self, path: pathlib.Path, config: TrainConfig):
        """Keeps its arguments."""
        self.path = path
        self.config = config

    @property
    def results(self) -> dict | None:
        """What `results.json` holds; None: the run is not finished."""
        return run_directory.RunDirectory(self.path).read_results()

    @property
    def history(self) -> histories.History:
        """Its curves, as `read_history` returns them."""
        return histories.read_history(self.path)

    def plot(self) -> Figure:
        """Draws its curves."""
        return plot(self.path)

    def __repr__(self) -> str:
        return f"Run {self.path}: {overview.look_at(self.path)}"

    def _repr_html_(self) -> str:
        results = self.results or {}
        matrix = results.get("test", {}).get("confusion_matrix", ())
        names = results.get("class_names") or tuple(map(str, range(len(matrix))))
        html = markup.paragraph(repr(self))
        if len(matrix):
            html += markup.confusion_table(names, matrix, "test")
        return html


def load_run(workdir: _Workdir) -> Run:
    """Returns a run, to be asked for its `config`, `results`, `history` and `plot()`.

    Its model is what `load_model` returns. TensorFlow is not needed for this.

    Raises:
      DataNotFoundError: the folder holds no run.
      CorruptDataError: its `config.json` cannot be understood.
    """
    folder = paths.local("workdir", workdir)
    config = run_directory.RunDirectory(folder).read_config()
    if config is None:
        raise errors.DataNotFoundError(
            f"{folder}: no config.json there. Pass the --workdir of a run of scripts/train.py."
        )
    return Run(folder, config)


def plot(run: _Workdir | Run | Sequence[_Workdir | Run]) -> Figure:
    """Draws loss and accuracy of a run over its steps, or of several in one figure.

    Args:
      run: a run directory, what `load_run` returns, or several of them.

    Returns:
      A figure, which a notebook shows and `figure.savefig` writes.

    Raises:
      DataNotFoundError, CorruptDataError: as for `read_history`.
      ConfigError: nothing was logged yet, or no run is given.
    """
    from mnist_lib.inspection.figures import training_curves  # a second, only for who draws

    several = [run] if isinstance(run, str | os.PathLike | Run) else list(run)
    folders = [one.path if isinstance(one, Run) else paths.local("run", one) for one in several]
    names = [folder.absolute().name for folder in folders]
    if len(set(names)) < len(names):
        names = list(map(str, folders))
    curves = {name: histories.read_history(at) for name, at in zip(names, folders, strict=True)}
    return training_curves.draw_curves(curves)
