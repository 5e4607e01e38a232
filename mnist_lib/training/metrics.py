"""What steps of training, and an evaluation, amounted to (numpy only)."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class TrainMetrics:
    """What some training steps amounted to.

    Attributes:
      num_steps: how many steps.
      num_examples: images they used, on all replicas together.
      num_correct: how many of them were predicted right, before each update.
      loss_sum: sum over the steps of each step's mean loss times its images.
      gradient_norm: Euclidean norm of the last step's global gradient.
      first_nonfinite_step: the first optimizer step (1 is the first of a run) whose
        loss or gradient was not finite; 0 if there was none.
    """

    num_steps: int
    num_examples: int
    num_correct: int
    loss_sum: float
    gradient_norm: float
    first_nonfinite_step: int

    @property
    def loss(self) -> float:
        """Mean loss per image."""
        return self.loss_sum / self.num_examples

    @property
    def accuracy(self) -> float:
        """Fraction of images predicted right, in [0, 1]."""
        return self.num_correct / self.num_examples


@dataclasses.dataclass(frozen=True, eq=False)
class EvalMetrics:
    """What an evaluation counted, every image once.

    Attributes:
      loss_sum: sum of the losses of all images.
      confusion_matrix: int64 `[C, C]`; row: label, column: prediction.
      dataset: name of the data set, where it is known.
      class_names: one name per label; empty for their numbers.
    """

    loss_sum: float
    confusion_matrix: np.ndarray
    dataset: str | None = None
    class_names: tuple[str, ...] = ()

    @property
    def num_examples(self) -> int:
        """How many images were counted."""
        return int(self.confusion_matrix.sum())

    @property
    def num_correct(self) -> int:
        """How many of them were predicted right."""
        return int(np.trace(self.confusion_matrix))

    @property
    def accuracy(self) -> float:
        """Fraction predicted right, in [0, 1]."""
        return self.num_correct / self.num_examples

    @property
    def loss(self) -> float:
        """Mean loss per image."""
        return self.loss_sum / self.num_examples

    def to_dict(self) -> dict:
        """Returns data set, counts, loss, accuracy and the confusion matrix, as JSON takes them."""
        return {
            "dataset": self.dataset,
            "num_examples": self.num_examples,
            "num_correct": self.num_correct,
            "num_incorrect": self.num_examples - self.num_correct,
            "loss": self.loss,
            "accuracy": self.accuracy,
            "confusion_matrix": self.confusion_matrix.tolist(),
        }
