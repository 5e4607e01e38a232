"""What a model says of an image in a file."""

from __future__ import annotations

import dataclasses

import numpy as np

from mnist_lib import errors


@dataclasses.dataclass(frozen=True, eq=False)
class FilePrediction:
    """What a model says of an image in a file, or why it says nothing.

    Attributes:
      file: the file, as it was named.
      index: number of the image in a `.npy` or IDX file, or of the digit in its line; else None.
      label: name of the most probable class.
      probability: of that class.
      probabilities: float32 `[C]`, which add up to 1.
      digit_score: how far it looks like a digit, see `digit_scores`; None where the
        model was trained on other things.
      box: left, top, right and bottom of what was looked at, in pixels of the picture.
      image: what the model was given, of its shape and dtype.
      error: why nothing else is known; else None.
    """

    file: str
    index: int | None = None
    label: str | None = None
    probability: float | None = None
    probabilities: np.ndarray | None = None
    digit_score: float | None = None
    box: tuple[int, int, int, int] | None = None
    image: np.ndarray | None = None
    error: errors.MnistLibError | None = None

    def to_dict(self) -> dict:
        """Returns it as JSON has it: without the image, and without what is not known."""
        values = {
            "file": self.file,
            "index": self.index,
            "label": self.label,
            "probability": self.probability,
            "probabilities": None if self.probabilities is None else self.probabilities.tolist(),
            "digit_score": self.digit_score,
            "box": None if self.box is None else list(self.box),
            "error": None if self.error is None else str(self.error),
        }
        return {name: value for name, value in values.items() if value is not None}


def digit_scores(probabilities: np.ndarray) -> np.ndarray:
    """Returns how far images look like digits to the model that gave the probabilities.

    One minus their entropy as a share of the largest there can be: 1 where one class has all,
    0 where all have the same. Models are less sure of what they have not been trained on (D.
    Hendrycks and K. Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution
    Examples in Neural Networks, ICLR 2017). `docs/predict.md` has how well that tells digits
    from letters, scribbles, shapes and noise.

    Args:
      probabilities: float32 `[N, C]`, rows that add up to 1.

    Returns:
      float32 `[N]`, in 0..1.
    """
    logs = np.log(np.maximum(probabilities, 1e-12))
    entropy = -(probabilities * logs).sum(1) / np.log(probabilities.shape[1])
    return np.clip(1 - entropy, 0, 1).astype(np.float32)
