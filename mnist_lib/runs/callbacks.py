"""What functions of a user are told while a run goes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import keras

from mnist_lib.training.metrics import EvalMetrics


@dataclasses.dataclass(frozen=True)
class RunProgress:
    """How far a run is: what callbacks are told after each validation.

    Attributes:
      step, total_steps: optimizer steps taken, and of the whole run.
      train: loss, and accuracy where there is one, of the training since the last time.
      validation: of the validation split; None if it has no images.
      model: with the weights as they are trained; leave them as they are.
    """

    step: int
    total_steps: int
    train: Mapping[str, float]
    validation: EvalMetrics | None
    model: keras.Model


# A true result stops the run, after its state is saved.
Callback = Callable[[RunProgress], object]
