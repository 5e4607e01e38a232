"""All that is saved of a run, and where."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from mnist_lib import bounded, errors
from mnist_lib.runs import checkpoints, resuming, run_directory
from mnist_lib.runs.config import TrainConfig
from mnist_lib.training.metrics import TrainMetrics
from mnist_lib.training.trainer import Trainer


class RunState(tf.Module):
    """What a run knows beside model and optimizer; saved with them.

    Attributes:
      best_accuracy, best_step: the best validation so far; without an accuracy, its negative
        loss. The least number and -1 before the first.
      train_seconds: time spent in training steps, over all processes of the run.
      loss_sum, num_correct, num_examples: training since the validation before; the second is
        negative if the targets are no classes.
      configuration: what is computed, as JSON: a checkpoint of another run is told by it.
    """

    def __init__(self, configuration: str):
        super().__init__()
        self.configuration = tf.Variable(configuration, dtype=tf.string)
        self.best_accuracy = tf.Variable(tf.float64.min, dtype=tf.float64)
        self.best_step = tf.Variable(-1, dtype=tf.int64)
        self.train_seconds = tf.Variable(0.0, dtype=tf.float64)
        self.loss_sum = tf.Variable(0.0, dtype=tf.float64)
        self.num_correct = tf.Variable(0, dtype=tf.int64)
        self.num_examples = tf.Variable(0, dtype=tf.int64)

    def add(self, metrics: TrainMetrics, seconds: float, *, is_first: bool) -> None:
        """Counts some steps; the first ones since a validation begin anew."""
        if is_first:
            for variable in (self.loss_sum, self.num_correct, self.num_examples):
                variable.assign(tf.zeros_like(variable))
        self.train_seconds.assign_add(seconds)
        self.loss_sum.assign_add(metrics.loss_sum)
        has_classes = metrics.num_correct is not None
        self.num_correct.assign_add(metrics.num_correct if has_classes else -metrics.num_examples)
        self.num_examples.assign_add(metrics.num_examples)

    def train_metrics(self) -> dict[str, float]:
        """Returns loss and accuracy in training since the validation before the last step.

        Without the accuracy if the targets are no classes.
        """
        num_examples, num_correct = int(self.num_examples.numpy()), int(self.num_correct.numpy())
        accuracy = {"accuracy": num_correct / num_examples} if num_correct >= 0 else {}
        return {"loss": float(self.loss_sum.numpy()) / num_examples} | accuracy


class SavedState:
    """A run's variables and the two folders that hold them.

    Attributes:
      state: what the run knows beside model and optimizer.
    """

    def __init__(
        self,
        run: run_directory.RunDirectory,
        trainer: Trainer,
        config: TrainConfig,
        data_facts: Mapping[str, Any],
    ):
        """Writes nothing.

        Args:
          run: where it is saved.
          trainer: what is saved.
          config: the configuration; what it computes is saved with the rest.
          data_facts: what `configured.data_facts` says of the data.
        """
        self._config, self._data_facts = config, data_facts
        self._identity = json.dumps(
            {
                "config": resuming.computed_fields(config),
                "train_sha256": data_facts["train_sha256"],
            },
            sort_keys=True,
        )
        self.state = RunState(self._identity)
        self._trainer = trainer
        checkpoint = checkpoints.checkpoint_of(trainer.model, trainer.optimizer, self.state)
        self._latest = checkpoints.CheckpointDirectory(run.checkpoints, checkpoint)
        self._best = checkpoints.CheckpointDirectory(run.best, checkpoint, max_to_keep=1)
        self._best_saved = checkpoints.newest_value(run.best, "run/best_accuracy")

    def restore(self, *, allow_other_replicas: bool = False) -> bool:
        """Restores the newest whole checkpoint; returns whether there was one.

        Raises:
          CheckpointError: there are checkpoints, and none is whole, fits, or is of the
            step that its name says; or it is of other data.
          ConfigError: it is of another configuration, which is no part of this run.
        """
        step = self._latest.restore_latest()
        if step is not None and step != self._trainer.step:
            raise errors.CheckpointError(
                f"{self._latest.directory}: ckpt-{step} holds step {self._trainer.step}: it was "
                "renamed. Give it back its name, or start again with a new --workdir."
            )
        if step is not None:
            self._check_identity(step, allow_other_replicas)
        return step is not None

    def _check_identity(self, step: int, allow_other_replicas: bool) -> None:
        """Checks that what was restored is of this run, whatever the files beside it say."""
        saved = self._saved_identity(step)
        resuming.check_resumable(
            saved["config"],
            self._config,
            self._data_facts["num_train"],
            started_as=f"saved in {self._latest.directory / f'ckpt-{step}'}",
            allow_other_replicas=allow_other_replicas,
        )
        if saved["train_sha256"] != self._data_facts["train_sha256"]:
            raise errors.CheckpointError(
                f"{self._latest.directory}: ckpt-{step} is of a run on other images. Put back "
                "that of this run, or start again with a new --workdir."
            )
        self.state.configuration.assign(self._identity)

    def _saved_identity(self, step: int) -> dict[str, Any]:
        try:
            saved = bounded.parse_object(self.state.configuration.numpy())
            return {
                "config": TrainConfig.from_json(json.dumps(saved["config"])),
                "train_sha256": saved["train_sha256"],
            }
        except (ValueError, KeyError) as error:  # ConfigError is a ValueError
            raise errors.CheckpointError(
                f"{self._latest.directory}: ckpt-{step} does not say of which run it is ({error}). "
                "Restore it from a copy, or start again with a new --workdir."
            ) from error

    @property
    def step(self) -> int:
        """The optimizer step that has been reached."""
        return self._trainer.step

    def save(self) -> None:
        """Saves all of it.

        Raises:
          StorageError: it could not be written.
        """
        self._latest.save(self._trainer.step)

    def tidy(self) -> None:
        """Puts in order what a killed process has left of both folders.

        Raises:
          OutputError, StorageError: it could not be done.
        """
        self._latest.tidy()
        self._best.tidy()

    def note_validation(self, score: float) -> bool:
        """Notes what is larger the better; returns whether it is the best so far."""
        if score <= self.state.best_accuracy.numpy():
            return False
        self.state.best_accuracy.assign(score)
        self.state.best_step.assign(self._trainer.step)
        return True

    def save_best(self) -> None:
        """Saves all of it as the best, unless an earlier process has saved one as good.

        A resumed run comes again to what was the best of the stretch that was lost, to the
        last bit. Until it does, that stays.

        Raises:
          StorageError: it could not be written.
        """
        accuracy = float(self.state.best_accuracy.numpy())
        if self._best_saved is None or accuracy > self._best_saved:
            self._best.save(self._trainer.step)
            self._best_saved = accuracy
