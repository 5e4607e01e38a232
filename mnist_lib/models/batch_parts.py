"""Which part of the global batch a forward pass sees.

The global batch is divided among the replicas, and each replica's rows once more
when gradients are accumulated. A layer that draws random numbers asks for the
number of its part, so that no two parts draw the same ones.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

import tensorflow as tf

_accumulation: contextvars.ContextVar[tuple] = contextvars.ContextVar(
    "mnist_lib_accumulation", default=(0, 1)
)


@contextlib.contextmanager
def accumulation_part(index: int | tf.Tensor, count: int) -> Iterator[None]:
    """Says that a replica's rows are seen in `count` equal parts, and this is part `index`."""
    token = _accumulation.set((index, count))
    try:
        yield
    finally:
        _accumulation.reset(token)


def part_index() -> tf.Tensor:
    """Returns the number of this part, an int64 scalar.

    Part p of P holds rows `p * B / P` to `(p + 1) * B / P` of a global batch of B;
    P is the number of replicas times the parts that each accumulates. Outside of a
    replica it is 0.
    """
    index, count = _accumulation.get()
    context = tf.distribute.get_replica_context()
    replica = context.replica_id_in_sync_group if context is not None else 0
    return tf.cast(replica, tf.int64) * count + tf.cast(index, tf.int64)
