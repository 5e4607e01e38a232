"""Images that are changed a little, each pixel by eps at most, to be predicted wrong.

The fast gradient sign method (Goodfellow, Shlens and Szegedy 2015, section 4) and projected
gradient descent from a random start (Madry et al. 2018, section 2.1), in the maximum norm, with
all that is known of the model. Changed images are floats; they need not be whole grey levels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mnist_lib import errors
from mnist_lib.inspection.figures import layer_outputs
from mnist_lib.progress import Progress
from mnist_lib.robustness import exact_images, subjects

EPSILONS = (0.05, 0.1, 0.2, 0.3)  # of the range of a pixel
_BATCH_SIZE = 500


@dataclasses.dataclass(frozen=True)
class Attack:
    """How an image is changed.

    Attributes:
      num_steps: gradients that are taken.
      step: how far each pixel goes along the sign of each, in eps.
      random_start: whether it begins anywhere within eps, or at the image.
    """

    num_steps: int
    step: float
    random_start: bool


ATTACKS = {
    "fgsm": Attack(num_steps=1, step=1.0, random_start=False),
    "pgd": Attack(num_steps=20, step=0.125, random_start=True),
}


class Attacker:
    """Attacks one model; what it traces is traced once."""

    def __init__(self, model: keras.Model):
        """Keeps the model.

        Raises:
          ConfigError: it is not of images to logits, or scales them to another range than [0, 1].
        """
        self._to_floats, self._rest = layer_outputs.split_at_floats(model)
        self._dtype = model.inputs[0].dtype
        shape = model.inputs[0].shape[1:]
        ends = np.stack([np.zeros(shape, self._dtype), np.full(shape, 255, self._dtype)])
        low, high = np.asarray(tf.cast(self._to_floats(ends), tf.float32))
        if low.any() or (high != 1).any():
            raise errors.ConfigError(
                "model", f"{model.name} does not begin by dividing its uint8 image by 255"
            )
        images = tf.TensorSpec((None, *shape), tf.float32)
        scalar = tf.TensorSpec((), tf.float32)
        self._towards_error = tf.function(
            self._step,
            autograph=False,
            input_signature=[images, images, tf.TensorSpec((None,), tf.int32), scalar, scalar],
        )
        self._logits = tf.function(self._logits_of, autograph=False, input_signature=[images])
        self._compute_dtype = self._to_floats(ends).dtype

    def attack(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        attack: Attack,
        epsilon: float,
        *,
        seed: int = 0,
        first_index: int = 0,
    ) -> np.ndarray:
        """Returns changed images; each depends on no other one.

        Args:
          images: uint8 `[N, H, W, C]`.
          labels: int32 `[N]`, their classes, which the model is led away from.
          attack: how.
          epsilon: the most that a pixel changes, in [0, 1].
          seed: of the random starts, in [0, 2**64).
          first_index: that of the first image; the others have the next ones.

        Returns:
          float32 `[N, H, W, C]` in [0, 1].
        """
        parts = []
        for start in range(0, len(images), _BATCH_SIZE):
            stop = min(start + _BATCH_SIZE, len(images))
            original = tf.cast(self._to_floats(images[start:stop]), tf.float32)
            changed = original
            if attack.random_start:
                offsets = _random_offsets(original.shape, seed, first_index + start)
                changed = tf.clip_by_value(original + epsilon * offsets, 0.0, 1.0)
            for _ in range(attack.num_steps):
                changed = self._towards_error(
                    changed,
                    original,
                    tf.constant(labels[start:stop], tf.int32),
                    tf.constant(epsilon, tf.float32),
                    tf.constant(attack.step * epsilon, tf.float32),
                )
            parts.append(changed.numpy())
        return np.concatenate(parts)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Returns the logits of images float32 `[N, H, W, C]` in [0, 1], as float32 `[N, C]`."""
        starts = range(0, len(images), _BATCH_SIZE)
        return np.concatenate(
            [self._logits(images[start : start + _BATCH_SIZE]).numpy() for start in starts]
        )

    def _logits_of(self, images: tf.Tensor) -> tf.Tensor:
        return tf.cast(self._rest(tf.cast(images, self._compute_dtype)), tf.float32)

    def _step(self, images, original, labels, epsilon, step):
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = self._logits_of(images)
            is_label = tf.one_hot(labels, logits.shape[-1], on_value=True, off_value=False)
            # The cross-entropy is softplus of this margin: its gradient has the same sign, and
            # that of the margin does not become 0 where the model is sure.
            others = tf.where(is_label, tf.fill(tf.shape(logits), -np.inf), logits)
            own = tf.reduce_sum(tf.where(is_label, logits, tf.zeros_like(logits)), -1)
            margin = tf.reduce_logsumexp(others, -1) - own
        gradient = tape.gradient(margin, images)
        moved = images + step * tf.sign(gradient)
        moved = tf.clip_by_value(moved, original - epsilon, original + epsilon)
        return tf.clip_by_value(moved, 0.0, 1.0)


def _random_offsets(shape: tuple[int, ...], seed: int, first_index: int) -> np.ndarray:
    """Returns numbers in [-1, 1) for each pixel, float32; a row is a function of its index."""
    size = int(np.prod(shape[1:]))
    words = exact_images.random_words(seed, "pgd", first_index, shape[0], -(-size // 16) * 4)
    uniform = exact_images.uniform16(words)[:, :size].astype(np.float32) / 32_768 - 1
    return uniform.reshape(shape)


def try_attacks(subject: subjects.Subject, show: Callable[..., Progress]) -> dict[str, Any]:
    """Counts the images that a model still predicts right under each attack, at each eps.

    Args:
      subject: the model and its images.
      show: makes a `Progress` of its arguments.

    Raises:
      ConfigError: as for `Attacker`.
    """
    attacker = Attacker(subject.model)
    labels, rows = subject.split.labels, []
    bar = show(len(ATTACKS) * len(EPSILONS), description="adversarial", unit="attack")
    for name, attack in ATTACKS.items():
        for epsilon in EPSILONS:
            images = attacker.attack(
                subject.split.images, labels, attack, epsilon, seed=subject.seed
            )
            is_correct = attacker.logits(images).argmax(-1) == labels
            rows.append(
                {
                    "attack": name,
                    "epsilon": epsilon,
                    "num_steps": attack.num_steps,
                    "step_size": attack.step * epsilon,
                    "random_start": attack.random_start,
                    **subjects.accuracy_of(is_correct),
                }
            )
            bar.update(len(rows))
    bar.close()
    return {"clean": subjects.accuracy_of(subject.clean_logits.argmax(-1) == labels), "rows": rows}
