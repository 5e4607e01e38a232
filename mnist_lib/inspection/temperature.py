"""One number by which logits are divided, so that probabilities are those of being right.

Guo et al. 2017, On calibration of modern neural networks, section 4.2. Which class is the most
probable one stays as it was.
"""

from __future__ import annotations

import math

import numpy as np

LOWEST, HIGHEST = 0.05, 20.0


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Returns the temperature that makes labels most likely.

    Args:
      logits: floats `[N, C]`, of images on which nothing was trained and nothing is reported.
      labels: integers `[N]`, in [0, C).

    Returns:
      In [`LOWEST`, `HIGHEST`]; above 1 if the logits are too sure. `LOWEST` if all of them are
      right, for then no temperature is low enough; `HIGHEST` if they say nothing of the labels.
    """
    from scipy import optimize

    if (np.asarray(logits).argmax(-1) == labels).all():
        return LOWEST
    found = optimize.minimize_scalar(
        lambda exponent: negative_log_likelihood(logits, labels, math.exp(exponent)),
        bounds=(math.log(LOWEST), math.log(HIGHEST)),
        method="bounded",
        options={"xatol": 1e-7},
    )
    return math.exp(found.x)


def negative_log_likelihood(
    logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0
) -> float:
    """Returns the mean of -log of the labels' probabilities, in nats, at least 0."""
    from scipy import special

    scaled = np.asarray(logits, np.float64) / temperature
    of_labels = special.log_softmax(scaled, axis=-1)[np.arange(len(labels)), labels]
    return abs(float(of_labels.mean()))


def probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Returns the probability of each class, float64 `[N, C]`."""
    from scipy import special

    return special.softmax(np.asarray(logits, np.float64) / temperature, axis=-1)
