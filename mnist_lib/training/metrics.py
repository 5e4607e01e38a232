"""What steps of training, and an evaluation, amounted to (numpy only)."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping

import numpy as np

from mnist_lib import errors, markup

# Of a metric: a number, or one per class or threshold.
Value = float | list


@dataclasses.dataclass(frozen=True)
class TrainMetrics:
    """What some training steps amounted to.

    Attributes:
      num_steps: how many steps.
      num_examples: images they used, on all replicas together.
      num_correct: how many of them were predicted right, before each update; None if their
        targets are no classes.
      loss_sum: sum of the losses of all images, each times its weight.
      objective_sum: sum over the steps of what was minimised, penalties and smoothing
        included, times their images.
      gradient_norm: Euclidean norm of the last step's global gradient.
      first_nonfinite_step: the first optimizer step (1 is the first of a run) whose
        loss or gradient was not finite; 0 if there was none.
    """

    num_steps: int
    num_examples: int
    num_correct: int | None
    loss_sum: float
    objective_sum: float
    gradient_norm: float
    first_nonfinite_step: int

    def __add__(self, later: TrainMetrics) -> TrainMetrics:
        """Returns what these steps and those after them amounted to."""
        correct = None if self.num_correct is None else self.num_correct + (later.num_correct or 0)
        return TrainMetrics(
            self.num_steps + later.num_steps,
            self.num_examples + later.num_examples,
            correct,
            self.loss_sum + later.loss_sum,
            self.objective_sum + later.objective_sum,
            later.gradient_norm,
            self.first_nonfinite_step or later.first_nonfinite_step,
        )

    @classmethod
    def of_sums(cls, num_steps: int, num_examples: int, num_correct: int, *others) -> TrainMetrics:
        """Takes the fields in their order; a negative `num_correct` stands for None."""
        return cls(num_steps, num_examples, num_correct if num_correct >= 0 else None, *others)

    @property
    def loss(self) -> float:
        """Mean loss per image."""
        return self.loss_sum / self.num_examples

    @property
    def objective(self) -> float:
        """Mean of what was minimised."""
        return self.objective_sum / self.num_examples

    @property
    def accuracy(self) -> float:
        """Fraction of images predicted right, in [0, 1].

        Raises:
          ConfigError: the targets are no classes.
        """
        if self.num_correct is None:
            _refuse_accuracy()
        return self.num_correct / self.num_examples

    def values(self) -> dict[str, float]:
        """Returns the loss, and the accuracy where there is one."""
        has_accuracy = self.num_correct is not None
        return {"loss": self.loss} | ({"accuracy": self.accuracy} if has_accuracy else {})

    def __repr__(self) -> str:
        right = "" if self.num_correct is None else f", {self.num_correct} right"
        values = _joined(self._shown())
        broken = self.first_nonfinite_step
        return (
            f"TrainMetrics: {self.num_steps} steps, {self.num_examples} images{right}; {values}"
            + (f"; not finite from step {broken} on" if broken else "")
        )

    def _repr_html_(self) -> str:
        counts = {"steps": self.num_steps, "images": self.num_examples}
        values = {name: f"{value:.4f}" for name, value in self._shown().items()}
        return markup.table(["training", ""], [*counts.items(), *values.items()])

    def _shown(self) -> dict[str, float]:
        return self.values() | {"gradient norm": self.gradient_norm}


@dataclasses.dataclass(frozen=True, eq=False)
class EvalMetrics:
    """What an evaluation counted, every image once.

    Attributes:
      loss_sum: sum of the losses of all images, each times its weight.
      confusion_matrix: int64 `[C, C]`; row: label, column: prediction. `[0, 0]` if the
        targets are no classes.
      dataset: name of the data set, where it is known.
      class_names: one name per label; empty for their numbers.
      num_examples: how many images were counted; by default those in the matrix.
      own: the metrics of one's own that were asked for, by name.
    """

    loss_sum: float
    confusion_matrix: np.ndarray
    dataset: str | None = None
    class_names: tuple[str, ...] = ()
    num_examples: int = -1
    own: Mapping[str, Value] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if self.num_examples < 0:
            object.__setattr__(self, "num_examples", int(self.confusion_matrix.sum()))

    @property
    def has_accuracy(self) -> bool:
        """Whether the targets are classes."""
        return bool(self.confusion_matrix.size)

    @property
    def num_correct(self) -> int:
        """How many of them were predicted right.

        Raises:
          ConfigError: the targets are no classes.
        """
        if not self.has_accuracy:
            _refuse_accuracy()
        return int(np.trace(self.confusion_matrix))

    @property
    def accuracy(self) -> float:
        """Fraction predicted right, in [0, 1].

        Raises:
          ConfigError: the targets are no classes.
        """
        return self.num_correct / self.num_examples

    @property
    def loss(self) -> float:
        """Mean loss per image."""
        return self.loss_sum / self.num_examples

    def values(self) -> dict[str, Value]:
        """Returns the loss, the accuracy where there is one, and the metrics of one's own."""
        accuracy = {"accuracy": self.accuracy} if self.has_accuracy else {}
        return {"loss": self.loss} | accuracy | dict(self.own)

    def to_dict(self) -> dict:
        """Returns data set, counts, metrics and the confusion matrix, as JSON takes them."""
        counts: dict = {"dataset": self.dataset, "num_examples": self.num_examples}
        if self.has_accuracy:
            counts |= {
                "num_correct": self.num_correct,
                "num_incorrect": self.num_examples - self.num_correct,
            }
        names = self.names
        return (
            counts
            | self.values()
            | {
                "confusion_matrix": self.confusion_matrix.tolist(),
                "confusions": [
                    {"label": names[label], "prediction": names[prediction], "count": count}
                    for label, prediction, count in self.confusions()
                ],
            }
        )

    @property
    def names(self) -> tuple[str, ...]:
        """One name per class, its number where there are no names."""
        return self.class_names or tuple(map(str, range(len(self.confusion_matrix))))

    def confusions(self, count: int = 5) -> list[tuple[int, int, int]]:
        """Returns the most frequent errors, the most frequent first.

        Args:
          count: how many of them, at most.

        Returns:
          Label, prediction and how often; equally frequent ones in the order of the labels.
        """
        wrong = self.confusion_matrix - np.diag(np.diag(self.confusion_matrix))
        order = np.argsort(-wrong, axis=None, kind="stable")[:count]
        found = ((*divmod(int(index), len(wrong)), int(wrong.flat[index])) for index in order)
        return [confusion for confusion in found if confusion[2]]

    def describe_confusions(self, count: int = 5) -> list[str]:
        """Returns the most frequent errors as lines, such as "4 taken for 9: 12 times"."""
        return [
            f"{self.names[label]} taken for {self.names[prediction]}: {number} "
            f"time{'s' if number > 1 else ''}"
            for label, prediction, number in self.confusions(count)
        ]

    def __repr__(self) -> str:
        return f"EvalMetrics{f' {self.dataset}' if self.dataset else ''}: {self._counts()}"

    def _repr_html_(self) -> str:
        parts = [markup.paragraph(f"{self.dataset}: " * bool(self.dataset) + self._counts())]
        if self.has_accuracy:
            parts.append(markup.confusion_table(self.names, self.confusion_matrix))
            parts.append(markup.paragraph("\n".join(self.describe_confusions())))
        return "".join(parts)

    def _counts(self) -> str:
        right = self.num_correct if self.has_accuracy else 0
        counted = f", {right} right, {self.num_examples - right} wrong" * self.has_accuracy
        numbers = {name: value for name, value in self.values().items() if isinstance(value, float)}
        return f"{self.num_examples} images{counted}; {_joined(numbers)}"


def _joined(values: Mapping[str, typing.Any]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in values.items())


def _refuse_accuracy() -> typing.NoReturn:
    raise errors.ConfigError(
        "metrics", "the targets are no classes, so that there is no accuracy; look at the loss"
    )
