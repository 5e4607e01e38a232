"""One process's part in one run: train, validate, save, test once."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Iterator, Sequence
from typing import Any

from mnist_lib import choices, errors, progress
from mnist_lib.datasets.loading import ImageDataset
from mnist_lib.datasets.splits import Split
from mnist_lib.distribution import agreement
from mnist_lib.inspection import predictions, profiling, run_report, weights
from mnist_lib.runs import callbacks as own_callbacks
from mnist_lib.runs import config_checks, divergence, interruption, run_directory, saved_state
from mnist_lib.runs.config import TrainConfig
from mnist_lib.training.evaluator import Evaluator
from mnist_lib.training.metrics import EvalMetrics, TrainMetrics
from mnist_lib.training.trainer import Trainer


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunLoop:
    """One process's part in one run, restored and traced; see `opening.open_run`."""

    config: TrainConfig
    run_directory: run_directory.RunDirectory
    dataset: ImageDataset
    workers: agreement.Workers
    stop: interruption.StopRequest
    trainer: Trainer
    evaluator: Evaluator
    saved: saved_state.SavedState
    report: run_report.RunReport
    callbacks: Sequence[own_callbacks.Callback]
    batches: Any
    total_steps: int
    startup_seconds: float

    def run(self) -> dict:
        """Trains from where the run is to its end; returns the results.

        Raises:
          DivergedError, RunInterruptedError, StorageError: from training and saving.
        """
        with progress.shown_lines():
            try:
                validation = self._train()
                results = self._finish(validation)
            except BaseException:
                with contextlib.suppress(errors.MnistLibError):  # the first error is the cause
                    self.report.close()
                raise
            self.report.close()
            return results

    def _train(self) -> EvalMetrics | None:
        """Runs the loop; returns the validation at the last step."""
        validation = None
        if len(self.dataset.validation):
            self.evaluator.keep(self.dataset.validation)
        if self.trainer.step == self.total_steps:  # stopped between the last save and the test
            return self._evaluate_validation()
        eval_every = self._eval_every()
        steps_per_epoch = self.config.steps_per_epoch(len(self.dataset.train))
        checkpoint_every = self.config.steps_between_checkpoints(len(self.dataset.train))
        guessing = divergence.GuessingWatch(self.dataset.train.labels, steps_per_epoch)
        for step in self._take_steps(eval_every, checkpoint_every):
            is_last = step == self.total_steps
            validation = None
            if step % eval_every == 0 or is_last:
                validation = self._validate(step)
                guessing.look(step, self.saved.state.train_metrics())
            stopping = self.workers.any_of(self.stop.is_requested) and not is_last
            if step % checkpoint_every == 0 or is_last or stopping:
                self._save()
            if stopping:
                path = self.run_directory.path
                raise errors.RunInterruptedError(
                    f"{path}: stopped by {self.stop.reason}, saved at step {step} of "
                    f"{self.total_steps}. Start again with --workdir={path} to go on."
                )
        return validation

    def _eval_every(self) -> int:
        return self.config.eval_every or self.config.steps_per_epoch(len(self.dataset.train))

    def _take_steps(self, eval_every: int, checkpoint_every: int) -> Iterator[int]:
        """Trains up to each step at which Python has something to do, and yields it."""
        # Multiples of each interval, so that a resumed run stops at the same steps.
        intervals = (self.config.steps_per_loop, eval_every, checkpoint_every)
        profile = profiling.StepProfile(
            self.run_directory.path, config_checks.profiled_steps(self.config.profile_steps)
        )
        step = self.trainer.step
        with contextlib.closing(profile):
            while step < self.total_steps:
                ends = (step - step % every + every for every in intervals)
                end = min(self.total_steps, *ends, *profile.boundaries_after(step))
                profile.at(step)
                started = time.monotonic()
                metrics, ratios = self._train_to(step, end)
                seconds = time.monotonic() - started
                self._check_finite(metrics)
                self.saved.state.add(metrics, seconds, is_first=step % eval_every == 0)
                self.report.steps(end, metrics, self.trainer.learning_rate, seconds)
                if ratios is not None:
                    self.report.weights(end, self.trainer.model, ratios)
                step = end
                profile.at(step)
                yield step

    def _train_to(self, step: int, end: int) -> tuple[TrainMetrics, dict[str, float] | None]:
        """Trains; where weights are shown, the last step apart, to see what it changes.

        All workers do so, though one shows them: they take part in the same calls.
        """
        is_epoch = end % self.config.steps_per_epoch(len(self.dataset.train)) == 0
        if not self.report.wants_pictures or not (is_epoch or end == self.total_steps):
            return self.trainer.train(self.batches, end - step), None
        variables = self.trainer.model.trainable_variables
        first = self.trainer.train(self.batches, end - step - 1) if end - step > 1 else None
        before = weights.values_of(variables)
        last = self.trainer.train(self.batches, 1)
        ratios = weights.update_ratios(before, weights.values_of(variables))
        return (last if first is None else first + last), ratios

    def _check_finite(self, metrics: TrainMetrics) -> None:
        if metrics.first_nonfinite_step:
            raise errors.DivergedError(
                f"{self.run_directory.path}: loss or gradient is not finite at step "
                f"{metrics.first_nonfinite_step} (learning_rate {self.config.learning_rate}). "
                "Nothing of it was saved; try a smaller --learning_rate or a --warmup_steps."
            )

    def _validate(self, step: int) -> EvalMetrics | None:
        """Evaluates on the validation split; keeps the weights if they are the best."""
        metrics = self._evaluate_validation()
        if metrics is not None:
            divergence.check_loss(metrics.loss, self.run_directory.path, step)
        train = self.saved.state.train_metrics()
        self.report.validation(step, train, metrics)
        is_best = metrics is not None and self.saved.note_validation(_score(metrics))
        if is_best:
            self._check_variables()
        if is_best and self.workers.is_chief:
            self.saved.save_best()
        model = self.trainer.model
        so_far = own_callbacks.RunProgress(step, self.total_steps, train, metrics, model)
        for callback in self.callbacks:
            if callback(so_far):
                self.stop.ask("a callback")
        return metrics

    def _evaluate_validation(self) -> EvalMetrics | None:
        return self._evaluate(self.dataset.validation) if len(self.dataset.validation) else None

    def _evaluate(self, split: Split) -> EvalMetrics:
        with self.trainer.averaged_weights():
            metrics = self.evaluator.evaluate(split)
        return dataclasses.replace(metrics, class_names=self.dataset.class_names)

    def _save(self) -> None:
        # Events first: a checkpoint must not be ahead of what was logged.
        self.report.flush()
        self._check_variables()
        self.workers.check_same_weights(self.trainer.model.variables)
        if self.workers.is_chief:
            self.saved.save()

    @functools.cached_property
    def _variables(self) -> divergence.VariablesCheck:
        return divergence.VariablesCheck(
            [*self.trainer.model.variables, *self.trainer.optimizer.variables]
        )

    def _check_variables(self) -> None:
        self._variables.check(self.run_directory.path, self.trainer.step)

    def _finish(self, validation: EvalMetrics | None) -> dict:
        """Tests once, writes the results."""
        test = self._evaluate(self.dataset.test)
        self.report.test(self.total_steps, test)
        self._leave_pictures(test)
        state, model = self.saved.state, self.trainer.model
        train_seconds = float(state.train_seconds.numpy())
        every = self._eval_every()
        results = {
            "dataset": self.dataset.name,
            "class_names": list(self.dataset.class_names),
            "model": model.name if self.config.model == choices.OWN else self.config.model,
            "num_parameters": model.count_params(),
            "seed": self.config.seed,
            "step": self.total_steps,
            "num_replicas": self.trainer.strategy.num_replicas_in_sync,
            "train": state.train_metrics(),
            "validation": eval_results(validation),
            "test": eval_results(test) | {"confusion_matrix": test.confusion_matrix.tolist()},
            "history": self.report.history_in_brief(
                [*range(every, self.total_steps, every), self.total_steps]
            ),
            "timing": {
                "startup_seconds": self.startup_seconds,
                "train_seconds": train_seconds,
                "images_per_second": self.total_steps * self.config.batch_size / train_seconds,
            },
        }
        if validation is not None:
            best, best_step = state.best_accuracy.numpy(), state.best_step.numpy()
            what = f"accuracy {best:.4f}" if validation.has_accuracy else f"loss {-best:.4f}"
            self.report.message(f"best validation {what} at step {best_step}")
        self.report.flush()
        if self.workers.is_chief:
            self.run_directory.write_results(results)
        return results

    def _leave_pictures(self, test: EvalMetrics) -> None:
        """Draws what the run came to, on the chief, if pictures are wanted."""
        model = self.trainer.model
        with self.trainer.averaged_weights():
            shown = None
            if self.report.has_pictures and test.has_accuracy and predictions.classifies(model):
                names, dataset = self.dataset.class_names, self.dataset.name
                shown = predictions.predict_split(model, self.dataset.test, names, dataset)
            self.report.end(self.total_steps, shown, model)


def _score(metrics: EvalMetrics) -> float:
    """Returns what is larger the better: the accuracy, or without one the negative loss."""
    return metrics.accuracy if metrics.has_accuracy else -metrics.loss


def eval_results(metrics: EvalMetrics | None) -> dict:
    """Returns the entry of `results.json` for one split; None: it has no images."""
    if metrics is None:
        return {"num_examples": 0, "num_correct": 0, "accuracy": None, "loss": None}
    return {
        "num_examples": metrics.num_examples,
        "num_correct": metrics.num_correct if metrics.has_accuracy else None,
        "accuracy": None,
    } | metrics.values()
