"""Whether a model is right as often as it says, before and after its temperature is set."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mnist_lib.inspection import calibration, separation, temperature
from mnist_lib.robustness import subjects

COVERAGES = (0.9, 0.95, 0.99, 0.995, 1.0)


def calibrate(subject: subjects.Subject) -> dict[str, Any]:
    """Fits a temperature on the validation images and says what it does to the others.

    Expected calibration errors are in 15 bins, of equal width and of equal mass, with
    95 % intervals (`CalibrationBins.error_interval`). Accuracy at a coverage is that of the images
    that the model, at its temperature, is surest of.

    Args:
      subject: the model, its images, and at least one validation image.
    """
    validation, labels = subject.validation, subject.split.labels
    fitted = temperature.fit_temperature(subject.logits(validation.images), validation.labels)
    logits = subject.clean_logits.astype(np.float64)
    return {
        "temperature": fitted,
        "num_validation": len(validation),
        "before": _measures(logits, labels, 1.0),
        "after": _measures(logits, labels, fitted),
        "coverage": [accuracy_at(share, logits / fitted, labels) for share in COVERAGES],
    }


def _measures(logits: np.ndarray, labels: np.ndarray, fitted: float) -> dict[str, Any]:
    probabilities = temperature.probabilities(logits, fitted)
    confidence, is_correct = probabilities.max(-1), probabilities.argmax(-1) == labels
    measures: dict[str, Any] = {
        "negative_log_likelihood": temperature.negative_log_likelihood(logits, labels, fitted),
        "mean_confidence": float(confidence.mean()),
    }
    for name, bins_of in (
        ("equal_width", calibration.equal_width_bins),
        ("equal_mass", calibration.equal_mass_bins),
    ):
        bins = bins_of(confidence, is_correct)
        measures[f"calibration_error_{name}"] = bins.error
        measures[f"calibration_error_{name}_interval"] = list(bins.error_interval())
    return measures


def accuracy_at(share: float, logits: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Returns how often the surest predictions are right.

    Args:
      share: of the images, in (0, 1]; rounded up to a whole number of them.
      logits: float `[N, C]`, divided by the temperature.
      labels: integers `[N]`.

    Returns:
      Counts, and the least confidence among them.
    """
    odds = separation.log_odds(logits)
    # 0.9 of 10 is 9, and not 9.000000000000002.
    count = math.ceil(round(share * len(labels), 6))
    surest = np.argsort(-odds, kind="stable")[:count]
    is_correct = logits.argmax(-1)[surest] == labels[surest]
    least = float(1 / (1 + np.exp(-odds[surest[-1]])))
    return {"coverage": share, "least_confidence": least, **subjects.accuracy_of(is_correct)}
