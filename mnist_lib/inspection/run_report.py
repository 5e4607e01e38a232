"""What a run tells while it goes on: a bar or log lines, event files, `history.csv`."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

import keras

from mnist_lib import progress
from mnist_lib.inspection import history, opening_summaries, summaries, weights
from mnist_lib.inspection.predictions import Predictions
from mnist_lib.training.metrics import EvalMetrics, TrainMetrics

_NUM_POINTS = 2000  # in the projector


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
        probe: weights.GradientProbe | None = None,
    ):
        """Opens the event files; steps that are in them are not logged again.

        Args:
          run_path: the run's folder.
          step: the step that training goes on from; 0: it begins.
          total_steps: the step it ends at.
          level: a name in `choices.NAMES["summaries"]`.
          show_bar: whether to show a bar where there is a terminal.
          is_chief: whether this process is the one that tells.
          probe: whose gradients are shown; None: none.
        """
        self._is_chief = is_chief
        self._level = level
        self._path = run_path
        self._probe = probe
        self._summaries = summaries.RunSummaries(run_path, level if is_chief else "none")
        self._history = history.HistoryLog(run_path, step, is_writing=is_chief)
        self._progress = progress.Progress(
            total_steps, step, description="step", show_bar=show_bar and is_chief
        )

    @property
    def wants_pictures(self) -> bool:
        """Whether the run shows more than scalars; the same on all its workers."""
        return self._level not in ("none", "scalars")

    @property
    def has_pictures(self) -> bool:
        """Whether this process shows more than scalars."""
        return self._summaries.has_pictures

    def begin(self, beginning: opening_summaries.Beginning) -> None:
        """Shows what is trained."""
        opening_summaries.begin(self._summaries, beginning)

    def steps(self, step: int, metrics: TrainMetrics, learning_rate: float, seconds: float) -> None:
        """Tells of the steps up to `step`, which took `seconds`."""
        images_per_second = metrics.num_examples / seconds
        self._summaries.training(step, metrics, learning_rate, images_per_second)
        values = metrics.values() | {
            "objective": metrics.objective,
            "learning_rate": learning_rate,
            "gradient_norm": metrics.gradient_norm,
        }
        # No speed: it is another one each time, and the file is to be the same.
        self._history.add("train", step, values)
        if self._is_chief:
            shown = [f"{name} {value:.4f}" for name, value in metrics.values().items()]
            self._progress.update(step, [*shown, f"{images_per_second:,.0f} images/s"])

    def weights(self, step: int, model: keras.Model, ratios: Mapping[str, float]) -> None:
        """Shows the weights; `ratios` as for `RunSummaries.weights`."""
        self._summaries.weights(step, model.trainable_variables, ratios)
        if self._summaries.has_gradients and self._probe is not None:
            self._summaries.gradients(step, self._probe.gradients())

    def validation(
        self, step: int, train: Mapping[str, float], metrics: EvalMetrics | None
    ) -> None:
        """Tells of a validation, if there was one, and of the training before it."""
        line = f"step {step}: {_describe('train', train)}"
        if metrics is not None:
            values = _scalars(metrics)
            self._summaries.evaluation("validation", step, metrics)
            self._history.add("validation", step, values)
            line += f"; {_describe('validation', values)}"
        self._history.write()
        self.message(line)

    def test(self, step: int, metrics: EvalMetrics) -> None:
        """Tells of the test."""
        self._summaries.evaluation("test", step, metrics)
        self._history.add("test", step, _scalars(metrics))

    def end(self, step: int, predictions: Predictions | None, model: keras.Model) -> None:
        """Leaves the pictures of the run, in `figures/` and for TensorBoard.

        Args:
          step: the last optimizer step.
          predictions: of the test split; None: the model does not classify images.
          model: with the weights that predicted.

        Raises:
          OutputError, StorageError: the files could not be written.
        """
        if predictions is not None:
            from mnist_lib.inspection import closing_summaries, figures

            shown = predictions.of_subset(_NUM_POINTS)
            points = figures.penultimate_features(model, shown.split.images)
            drawn = figures.draw_run(
                self._path / "figures",
                predictions=predictions,
                history=self._history.curves(),
                model=model,
                run=self._path.name,
                step=step,
                features=points,
            )
            closing_summaries.end(self._summaries, step, predictions, drawn)
            closing_summaries.write_projector(self._path / "test", shown, points)
        self._summaries.end_session(step)

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
