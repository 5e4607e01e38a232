"""What one training step computed, with each replica's copy of every value."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import tensorflow as tf

# A value on each replica.
Copies = list[np.ndarray]
# Of a list of variables, or of layers: name and value.
Named = list[tuple[str, Copies]]


@dataclasses.dataclass(frozen=True)
class StepRecord:
    """What one step computed before its update; names and values on each replica.

    Attributes:
      inputs: what the batch holds: inputs, targets and weights, `[b, ...]` and `[b]`.
      layer_outputs: outputs of each layer in order. Where the rows are seen in several
        parts, of the first part.
      operations: the layers of `layer_outputs`.
      example_losses: as the loss function returned them; empty in several parts.
      loss_shares: scalars that add up to the global loss.
      local_gradients: by variable, before the reduction.
      reduced_gradients: by variable, after it.
      applied: the same on the first replica, for `RecordingTrainer.update`.
    """

    inputs: Named
    layer_outputs: Named
    operations: list[keras.Operation]
    example_losses: Copies
    loss_shares: Copies
    local_gradients: Named
    reduced_gradients: Named
    applied: list[tf.Tensor]
