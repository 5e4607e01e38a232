"""Which labels are most likely wrong: confident learning.

Northcutt, Jiang and Chuang, Confident learning: estimating uncertainty in dataset labels, JAIR
70, 2021 (arXiv 1911.00068). The numbers of its sections are in the functions. What is found are
candidates: somebody has to look at them.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class LabelErrors:
    """The labels of some images beside what networks say that have not seen them.

    Attributes:
      labels: integers `[N]`, in [0, C).
      probabilities: float `[N, C]`, out of sample: each row of a network that was not trained on
        this image.
    """

    labels: np.ndarray
    probabilities: np.ndarray

    @functools.cached_property
    def thresholds(self) -> np.ndarray:
        """Mean probability of each class in the images of that label, `[C]` (equation 2).

        Infinite for a class that no image has as its label.
        """
        counts = np.bincount(self.labels, minlength=self.num_classes)
        of_label = self.probabilities[np.arange(len(self.labels)), self.labels]
        sums = np.bincount(self.labels, of_label, minlength=self.num_classes)
        return np.where(counts, sums / np.maximum(counts, 1), np.inf)

    @functools.cached_property
    def confident_joint(self) -> np.ndarray:
        """Counts, int64 `[C, C]`: of each label (row) the images that are confidently of a class.

        An image is counted where the probability of some class reaches that class's
        threshold, in the column of the most probable such class (equation 1).
        """
        reached = self.probabilities >= self.thresholds
        confident = np.where(reached, self.probabilities, -1.0).argmax(-1)
        pairs = self.labels.astype(np.int64) * self.num_classes + confident
        counts = np.bincount(pairs[reached.any(-1)], minlength=self.num_classes**2)
        return counts.reshape(self.num_classes, self.num_classes)

    @functools.cached_property
    def estimated_counts(self) -> np.ndarray:
        """Images of each label (row) and true class (column), int64 `[C, C]` (equation 3).

        The confident joint, scaled so that each row adds up to the images of its label, and
        rounded by largest remainders so that it still does, of equal ones the last, as cleanlab
        does. A label none of whose images is confidently of any class
        is taken to be right.
        """
        joint = self.confident_joint.astype(np.float64)
        unknown = joint.sum(1) == 0
        joint[unknown, unknown] = 1
        counts = np.bincount(self.labels, minlength=self.num_classes)
        scaled = joint / joint.sum(1, keepdims=True) * counts[:, np.newaxis]
        rounded = np.floor(scaled).astype(np.int64)
        for row, missing in enumerate(counts - rounded.sum(1)):
            by_remainder = np.argsort(scaled[row] - rounded[row], kind="stable")
            rounded[row, by_remainder[self.num_classes - missing :]] += 1
        return rounded

    @functools.cached_property
    def suggested(self) -> np.ndarray:
        """The most probable class of each image, int64 `[N]`."""
        return self.probabilities.argmax(-1)

    @functools.cached_property
    def margins(self) -> np.ndarray:
        """Probability of the label less the largest of another class, `[N]`, in [-1, 1].

        The normalized margin of section 3.2; the lower, the more suspect.
        """
        every = np.arange(len(self.labels))
        others = self.probabilities.copy()
        others[every, self.labels] = -np.inf
        return self.probabilities[every, self.labels] - others.max(-1)

    def suspects(self) -> np.ndarray:
        """Returns the positions of the labels that are likely wrong, the most suspect first.

        Pruned by noise rate (section 3.2): of each label and other class as many images as are
        estimated to belong there, those whose probabilities differ most in favour of the latter.
        Left out are images whose most probable class is their label.
        """
        is_suspect = np.zeros(len(self.labels), bool)
        for label, row in enumerate(self.estimated_counts):
            members = np.flatnonzero(self.labels == label)
            for other in np.flatnonzero(row):
                if other != label:
                    found = self.probabilities[members]
                    order = np.argsort(found[:, label] - found[:, other], kind="stable")
                    is_suspect[members[order[: row[other]]]] = True
        positions = np.flatnonzero(is_suspect & (self.suggested != self.labels))
        return positions[np.argsort(self.margins[positions], kind="stable")]

    @property
    def num_classes(self) -> int:
        """C."""
        return self.probabilities.shape[1]
