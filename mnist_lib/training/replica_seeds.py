"""Random numbers of Keras's own layers: different in every part of a batch.

A Keras layer that draws random numbers holds a `SeedGenerator`, whose state is the
same on every replica, and so are its draws: the same dropout mask everywhere. While
a step is traced, each draw's seed is folded with the number of the part, which the
seed of part 0 remains: one replica trains as Keras would.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf

from mnist_lib.models import batch_parts, layers


def seed_generators(model: keras.Model) -> list[keras.random.SeedGenerator]:
    """Returns the generators of all layers of a model."""
    return [generator for layer in model._flatten_layers() for generator in layer._seed_generators]


@contextlib.contextmanager
def different_in_each_part(model: keras.Model) -> Iterator[None]:
    """Folds the number of the part into the seeds that are drawn while it is open.

    `layers.Dropout` is left alone: its masks are a function of the row already.
    """
    own = [
        layer.seed_generator
        for layer in model._flatten_layers()
        if isinstance(layer, layers.Dropout)
    ]
    folded = [
        generator
        for generator in seed_generators(model)
        if not any(generator is other for other in own)
    ]
    for generator in folded:
        generator.next = _folded(generator)
    try:
        yield
    finally:
        for generator in folded:
            del generator.next


def _folded(generator: keras.random.SeedGenerator):
    draw = generator.next

    def next_seed(ordered: bool = True) -> tf.Tensor:
        seed = draw(ordered)
        part = batch_parts.part_index()
        fold_in = tf.random.experimental.stateless_fold_in
        folded = fold_in(tf.cast(seed, tf.int64), part)
        return tf.where(part == 0, seed, tf.cast(folded, seed.dtype))

    return next_seed
