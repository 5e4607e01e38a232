"""Random numbers that are a function of their place: Philox (Salmon et al. 2011).

A counter-based generator can be started anywhere. Row r of the numbers that a (key, stream)
stands for is the same whoever draws it: one replica or several, from the start or resumed.
"""

from __future__ import annotations

import tensorflow as tf

_PHILOX = 1  # tf.random.Algorithm.PHILOX, as the raw ops take it
_VALUES_PER_BLOCK = 4  # 32-bit values that one counter yields
_DRAW = {
    tf.uint32: tf.raw_ops.StatelessRandomUniformFullIntV2,
    tf.float32: tf.raw_ops.StatelessRandomUniformV2,
}


def rows(
    num_rows: tf.Tensor | int,
    num_values: int,
    *,
    key: tf.Tensor,
    stream: tf.Tensor,
    first_row: tf.Tensor,
    dtype: tf.DType,
) -> tf.Tensor:
    """Returns rows of random numbers.

    Args:
      num_rows: how many rows.
      num_values: how many numbers a row has.
      key: uint64 `[1]`, chooses the numbers.
      stream: uint64 scalar, chooses among independent ones of a key.
      first_row: integer scalar, which row is the first.
      dtype: uint32 for all its values, or float32 for [0, 1).

    Returns:
      `[num_rows, num_values]` of that type.
    """
    num_blocks = -(-num_values // _VALUES_PER_BLOCK)
    first_block = tf.cast(first_row, tf.uint64) * num_blocks
    drawn = _DRAW[dtype](
        shape=tf.stack([num_rows, num_blocks * _VALUES_PER_BLOCK]),
        key=key,
        counter=tf.stack([first_block, stream]),
        alg=_PHILOX,
        dtype=dtype,
    )
    return drawn[:, :num_values]
