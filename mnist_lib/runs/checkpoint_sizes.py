"""Whether a checkpoint can hold what its index says, for which TensorFlow takes memory first."""

from __future__ import annotations

import math
import pathlib

import tensorflow as tf


def size_problem(prefix: pathlib.Path, reader: tf.train.CheckpointReader) -> str | None:
    """Says by how much the tensors of a checkpoint are larger than its files; None: they fit.

    Args:
      prefix: the checkpoint.
      reader: of its index.
    """
    there = sum(path.stat().st_size for path in prefix.parent.glob(f"{prefix.name}.data-*"))
    dtypes = reader.get_variable_to_dtype_map()
    needed = 0
    for name, shape in reader.get_variable_to_shape_map().items():
        if any(side < 0 for side in shape):
            return f"damaged ({name} has the shape {shape})"
        needed += math.prod(shape) * max(1, dtypes[name].size or 0)
    if needed > there:
        return f"damaged (by its index it has {needed:,} bytes of values, and {there:,} are there)"
    return None
