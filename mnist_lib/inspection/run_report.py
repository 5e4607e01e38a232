"""What a run tells while it goes on: a bar or log lines, event files, `history.csv`."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

from mnist_lib import progress
from mnist_lib.inspection import history, summaries
from mnist_lib.training.metrics import EvalMetrics, TrainMetrics


class RunReport:
    """Tells of one run; of several workers all but the chief tell nothing."""

    def __init__(
        self,
        run_path: pathlib.Path,
        *,
        step: int,
        total_steps: int,
        level: str,
        show_bar: bool,
        is_chief: bool,
    ):
        """Opens the event files, without what is in them of steps after `step`.

        Args:
          run_path: the run's folder.
          step: the step that training goes on from; 0: it begins.
          total_steps: the step it ends at.
          level: a name in `choices.NAMES["summaries"]`.
          show_bar: whether to show a bar where there is a terminal.
          is_chief: whether this process is the one that tells.
        """
        self._is_chief = is_chief
        self._summaries = summaries.RunSummaries(run_path, level if is_chief else "none", step)
        self._history = history.HistoryLog(run_path, step, is_writing=is_chief)
        self._progress = progress.Progress(
            total_steps, step, description="step", show_bar=show_bar and is_chief
        )

    def model(self, config_json: str, graph) -> None:
        """Shows what is trained: the configuration, and the graph of the model."""
        self._summaries.configuration(config_json)
        self._summaries.graph(graph)

    def steps(self, step: int, metrics: TrainMetrics, learning_rate: float, seconds: float) -> None:
        """Tells of the steps up to `step`, which took `seconds`."""
        images_per_second = metrics.num_examples / seconds
        values = metrics.values() | {
            "learning_rate": learning_rate,
            "gradient_norm": metrics.gradient_norm,
            "images_per_second": images_per_second,
        }
        self._summaries.scalars("train", step, values)
        # No speed: it is another one each time, and the file is to be the same.
        del values["images_per_second"]
        self._history.add("train", step, values)
        if self._is_chief:
            shown = [f"{name} {value:.4f}" for name, value in metrics.values().items()]
            self._progress.update(step, [*shown, f"{images_per_second:,.0f} images/s"])

    def validation(
        self, step: int, train: Mapping[str, float], metrics: EvalMetrics | None, variables
    ) -> None:
        """Tells of a validation, if there was one, and of the training before it."""
        self._summaries.weights(step, variables)
        line = f"step {step}: {_describe('train', train)}"
        if metrics is not None:
            values = _scalars(metrics)
            self._summaries.scalars("validation", step, values)
            self._history.add("validation", step, values)
            line += f"; {_describe('validation', values)}"
        self._history.write()
        self.message(line)

    def test(self, step: int, metrics: EvalMetrics) -> None:
        """Tells of the test."""
        self._summaries.scalars("test", step, _scalars(metrics))
        self._history.add("test", step, _scalars(metrics))

    def message(self, text: str) -> None:
        """Shows a line that stays."""
        if self._is_chief:
            self._progress.message(text)

    def flush(self) -> None:
        """Writes out what is buffered.

        Raises:
          OutputError, StorageError: the files could not be written.
        """
        self._summaries.flush()
        self._history.write()

    def history_in_brief(self, steps: Sequence[int]) -> dict:
        """Returns the curves as `results.json` holds them; `steps`: of the validations."""
        return history.in_brief(self._history.curves(), steps)

    def close(self) -> None:
        """Closes the files and leaves the bar as it is."""
        self._progress.close()
        self._summaries.close()


def _describe(split: str, metrics: Mapping[str, float]) -> str:
    return f"{split} {', '.join(f'{name} {value:.4f}' for name, value in metrics.items())}"


def _scalars(metrics: EvalMetrics) -> dict[str, float]:
    """Returns the metrics that are one number each."""
    return {name: value for name, value in metrics.values().items() if isinstance(value, float)}
