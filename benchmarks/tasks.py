"""What a contender's process is told, and what it answers."""

from __future__ import annotations

import dataclasses
import typing


@dataclasses.dataclass(frozen=True)
class Task:
    """What a contender's process is to train; goes to it as JSON.

    Attributes:
      contender: a key of `contenders.CONTENDERS`.
      model: a key of `contenders.NETWORKS`.
      batch_size: images per step.
      arrays: the file of images and labels that `arrays.exported` keeps.
      seed: decides initial weights, order and dropout.
      recipe: for a contender of ours, a recipe that decides the model and all else.
      process: for a contender of ours, process settings; see `settings.apply`.
    """

    contender: str
    model: str
    batch_size: int
    arrays: str
    seed: int = 0
    recipe: str | None = None
    process: dict = dataclasses.field(default_factory=dict)


class Turn(typing.NamedTuple):
    """Some training steps: their mean loss, and the seconds they took."""

    loss: float
    seconds: float


class TrainingLoop(typing.Protocol):
    """A contender that has been started."""

    def train(self, num_steps: int) -> Turn:
        """Takes that many steps."""

    def evaluate(self) -> float:
        """Returns the accuracy on the validation images, in [0, 1]."""
