"""A trace of some training steps, for TensorBoard's profiler; its viewer is an extra."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

import tensorflow as tf


class StepProfile:
    """Records what happens between two steps; nothing if a process begins after the first."""

    def __init__(self, folder: pathlib.Path, steps: tuple[int, int] | None):
        """Records nothing yet.

        Args:
          folder: gets `plugins/profile/`.
          steps: after the first of them it begins, after the second it ends; None: no profile.
        """
        self._folder = folder
        self._steps = steps
        self._is_recording = False

    def boundaries_after(self, step: int) -> Sequence[int]:
        """Returns the steps to come at which it begins or ends."""
        return [boundary for boundary in self._steps or () if boundary > step]

    def at(self, step: int) -> None:
        """Begins, or ends and writes, if this is the step for it."""
        if self._steps is None:
            return
        first, last = self._steps
        if step == first and not self._is_recording:
            tf.profiler.experimental.start(os.fspath(self._folder))
            self._is_recording = True
        elif step >= last:
            self.close()

    def close(self) -> None:
        """Ends and writes what is being recorded."""
        if self._is_recording:
            tf.profiler.experimental.stop()
            self._is_recording = False
