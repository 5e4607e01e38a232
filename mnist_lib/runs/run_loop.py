"""One process's part in one run: train, validate, save, test once."""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Iterator

import tensorflow as tf

from mnist_lib import errors, runtime
from mnist_lib.datasets import loading, pipelines, splits
from mnist_lib.inspection import summaries
from mnist_lib.training.metrics import EvalMetrics, TrainMetrics
from mnist_lib.distribution import agreement
from mnist_lib.runs import checkpoints, configured, interruption, run_directory
from mnist_lib.training import evaluator
from mnist_lib import progress
from mnist_lib.runs.config import TrainConfig

_logger = logging.getLogger(__name__)


class RunState(tf.Module):
    """What a run knows beside model and optimizer; saved with them.

    Attributes:
      best_accuracy, best_step: the best validation so far; -1 before the first.
      train_seconds: time spent in training steps, over all processes of the run.
      loss_sum, num_correct, num_examples: training since the validation before.
    """

    def __init__(self):
        super().__init__()
        self.best_accuracy = tf.Variable(-1.0, dtype=tf.float64)
        self.best_step = tf.Variable(-1, dtype=tf.int64)
        self.train_seconds = tf.Variable(0.0, dtype=tf.float64)
        self.loss_sum = tf.Variable(0.0, dtype=tf.float64)
        self.num_correct = tf.Variable(0, dtype=tf.int64)
        self.num_examples = tf.Variable(0, dtype=tf.int64)


class RunLoop:
    """One process's part in one run."""

    def __init__(self, config, run, dataset, workers, stop):
        self._config: TrainConfig = config
        self._run: run_directory.RunDirectory = run
        self._dataset: loading.ImageDataset = dataset
        self._stop: interruption.StopRequest = stop
        self._workers: agreement.Workers = workers
        self._chief = workers.is_chief
        self._total_steps = config.total_steps(len(dataset.train))
        steps_per_epoch = config.steps_per_epoch(len(dataset.train))
        self._eval_every = config.eval_every or steps_per_epoch
        self._checkpoint_every = config.checkpoint_every or steps_per_epoch
        self._strategy = strategy = workers.strategy
        self._trainer = configured.build_trainer(
            config, len(dataset.train), len(dataset.class_names), strategy
        )
        model, optimizer = self._trainer.model, self._trainer.optimizer
        self._evaluator = evaluator.Evaluator(model, loss=config.loss, strategy=strategy)
        self._state = RunState()
        checkpoint = checkpoints.checkpoint_of(model, optimizer, self._state)
        self._checkpoints = checkpoints.CheckpointDirectory(run.checkpoints, checkpoint)
        self._best = checkpoints.CheckpointDirectory(run.best, checkpoint, max_to_keep=1)

    def run(self, started: float) -> dict:
        """Trains from where the run is to its end; returns the results."""
        resumed_at = self._checkpoints.restore_latest()
        if resumed_at is None and self._run.has_begun():
            _logger.warning(
                "%s: holds no checkpoint, though the run had begun; starting at step 0",
                self._run.path,
            )
        _logger.info("Run directory: %s", self._run.path)
        _logger.info("Look at it with: tensorboard --logdir %s", shlex.quote(str(self._run.path)))
        _logger.info("Starting at step %d of %d", resumed_at or 0, self._total_steps)
        facts = self._facts()
        own = ("devices", "runtime")
        common = {name: value for name, value in facts.items() if name not in own}
        self._workers.check_same({"checkpoint": resumed_at} | common)
        self._run.check_same_data(facts)
        if self._chief:
            self._run.write_config(self._config)
            self._run.write_provenance(facts)
        level = self._config.summaries if self._chief else "none"
        self._summaries = summaries.RunSummaries(self._run.path, level, resumed_at)
        if resumed_at is None:
            self._write_static_summaries()
        if resumed_at != self._total_steps:
            batches = pipelines.train_batches(
                self._dataset.train,
                self._config.batch_size,
                seed=self._config.seed,
                start_step=self._trainer.step,
            )
            self._batches = iter(self._trainer.distribute(batches))
            self._trainer.trace(self._batches)
        startup_seconds = time.monotonic() - started
        self._progress = progress.Progress(
            self._total_steps,
            self._trainer.step,
            description="step",
            show_bar=self._config.progress and self._chief,
        )
        try:
            validation = self._train()
            return self._finish(validation, startup_seconds)
        finally:
            self._progress.close()
            self._summaries.close()

    def _train(self) -> EvalMetrics | None:
        """Runs the loop; returns the validation at the last step."""
        validation = None
        if self._trainer.step == self._total_steps:  # stopped between the last save and the test
            return self._evaluate_validation()
        for step in self._take_steps():
            validation = None
            if step % self._eval_every == 0 or step == self._total_steps:
                validation = self._validate(step)
            stopping = self._workers.any_of(self._stop.is_requested) and step < self._total_steps
            if step % self._checkpoint_every == 0 or step == self._total_steps or stopping:
                self._save(step)
            if stopping:
                raise errors.RunInterruptedError(
                    f"{self._run.path}: stopped by {self._stop.reason}, saved at step {step} "
                    f"of {self._total_steps}. Start again with --workdir={self._run.path} to go on."
                )
        return validation

    def _take_steps(self) -> Iterator[int]:
        """Trains up to each step at which Python has something to do, and yields it."""
        config = self._config
        step = self._trainer.step
        while step < self._total_steps:
            # Multiples of each interval, so that a resumed run stops at the same steps.
            intervals = (config.steps_per_loop, self._eval_every, self._checkpoint_every)
            end = min(self._total_steps, *(step - step % every + every for every in intervals))
            started = time.monotonic()
            metrics = self._trainer.train(self._batches, end - step)
            seconds = time.monotonic() - started
            if metrics.first_nonfinite_step:
                raise errors.DivergedError(
                    f"{self._run.path}: loss or gradient is not finite at step "
                    f"{metrics.first_nonfinite_step} (learning_rate {config.learning_rate}). "
                    "Nothing of it was saved; try a smaller --learning_rate or a --warmup_steps."
                )
            step = end
            self._record(step, metrics, seconds)
            yield step

    def _record(self, step: int, metrics: TrainMetrics, seconds: float) -> None:
        state = self._state
        if (step - metrics.num_steps) % self._eval_every == 0:  # the first since a validation
            for variable in (state.loss_sum, state.num_correct, state.num_examples):
                variable.assign(tf.zeros_like(variable))
        state.train_seconds.assign_add(seconds)
        state.loss_sum.assign_add(metrics.loss_sum)
        state.num_correct.assign_add(metrics.num_correct)
        state.num_examples.assign_add(metrics.num_examples)
        images_per_second = metrics.num_examples / seconds
        shown = (
            f"loss {metrics.loss:.4f}",
            f"accuracy {metrics.accuracy:.4f}",
            f"{images_per_second:,.0f} images/s",
        )
        self._progress.update(step, shown)
        values = {
            "loss": metrics.loss,
            "accuracy": metrics.accuracy,
            "learning_rate": self._trainer.learning_rate,
            "gradient_norm": metrics.gradient_norm,
            "images_per_second": images_per_second,
        }
        self._summaries.scalars("train", step, values)

    def _validate(self, step: int) -> EvalMetrics | None:
        """Evaluates on the validation split; keeps the weights if they are the best."""
        self._summaries.weights(step, self._trainer.model.trainable_variables)
        train = _describe("train", self._train_metrics())
        metrics = self._evaluate_validation()
        if metrics is None:
            self._progress.message(f"step {step}: {train}")
            return None
        values = {"loss": metrics.loss, "accuracy": metrics.accuracy}
        self._summaries.scalars("validation", step, values)
        self._progress.message(f"step {step}: {train}; {_describe('validation', values)}")
        if metrics.accuracy > self._state.best_accuracy.numpy():
            self._state.best_accuracy.assign(metrics.accuracy)
            self._state.best_step.assign(step)
            if self._chief:
                self._best.save(step)
        return metrics

    def _evaluate_validation(self) -> EvalMetrics | None:
        if not len(self._dataset.validation):
            return None
        return self._evaluate(self._dataset.validation)

    def _evaluate(self, split: splits.Split) -> EvalMetrics:
        with self._trainer.averaged_weights():
            return self._evaluator.evaluate(pipelines.eval_batches(split))

    def _train_metrics(self) -> dict[str, float]:
        """Returns loss and accuracy in training since the validation before the last step."""
        num_examples = int(self._state.num_examples.numpy())
        return {
            "loss": float(self._state.loss_sum.numpy()) / num_examples,
            "accuracy": int(self._state.num_correct.numpy()) / num_examples,
        }

    def _save(self, step: int) -> None:
        # Events first: a checkpoint must not be ahead of what was logged.
        self._summaries.flush()
        self._workers.check_same_weights(self._trainer.model.variables)
        if self._chief:
            self._checkpoints.save(step)

    def _finish(self, validation: EvalMetrics | None, startup_seconds: float) -> dict:
        """Tests once, writes the results."""
        test = self._evaluate(self._dataset.test)
        values = {"loss": test.loss, "accuracy": test.accuracy}
        self._summaries.scalars("test", self._total_steps, values)
        train_seconds = float(self._state.train_seconds.numpy())
        results = {
            "dataset": self._dataset.name,
            "model": self._config.model,
            "seed": self._config.seed,
            "step": self._total_steps,
            "num_replicas": self._strategy.num_replicas_in_sync,
            "train": self._train_metrics(),
            "validation": eval_results(validation),
            "test": eval_results(test),
            "timing": {
                "startup_seconds": startup_seconds,
                "train_seconds": train_seconds,
                "images_per_second": self._total_steps * self._config.batch_size / train_seconds,
            },
        }
        if validation is not None:
            best, best_step = self._state.best_accuracy.numpy(), self._state.best_step.numpy()
            self._progress.message(f"best validation accuracy {best:.4f} at step {best_step}")
        self._progress.message(
            f"{self._dataset.name}: {_describe('test', values)} "
            f"({test.num_correct} of {test.num_examples})"
        )
        self._summaries.flush()
        if self._chief:
            self._run.write_results(results)
        return results

    def _facts(self) -> dict:
        dataset = self._dataset
        return {
            "seed": self._config.seed,
            "strategy": self._config.strategy,
            "num_replicas": self._strategy.num_replicas_in_sync,
            "runtime": runtime.applied_settings(),
            "devices": [device.name for device in tf.config.list_logical_devices()],
            "dataset": dataset.name,
            "train_sha256": dataset.train.sha256,
            "validation_sha256": dataset.validation.sha256,
            "num_train": len(dataset.train),
            "num_validation": len(dataset.validation),
        }

    def _write_static_summaries(self) -> None:
        self._summaries.configuration(self._config.to_json())
        model = self._trainer.model
        signature = tf.TensorSpec(model.inputs[0].shape, model.inputs[0].dtype, name="image")
        forward = tf.function(lambda images: model(images, training=False), autograph=False)
        self._summaries.graph(forward.get_concrete_function(signature).graph)


def eval_results(metrics: EvalMetrics | None) -> dict:
    """Returns the entry of `results.json` for one split; None: it has no images."""
    if metrics is None:
        return {"num_examples": 0, "num_correct": 0, "accuracy": None, "loss": None}
    return {
        "num_examples": metrics.num_examples,
        "num_correct": metrics.num_correct,
        "accuracy": metrics.accuracy,
        "loss": metrics.loss,
    }


def _describe(split: str, metrics: dict[str, float]) -> str:
    return f"{split} loss {metrics['loss']:.4f}, accuracy {metrics['accuracy']:.4f}"
