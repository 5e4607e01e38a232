"""How far numbers may be apart that were computed in another order."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np

from mnist_lib import errors
from mnist_lib.training import keras_internals

# By dtype: the tolerance, and the distance from 1 to the next number.
_BY_DTYPE = {
    "float64": (1e-9, 2.0**-52),
    "float32": (1e-4, 2.0**-23),
    "float16": (2e-2, 2.0**-10),
    "bfloat16": (1e-1, 2.0**-7),
}
# How much of it numbers keep that cancel, relative to the largest they were made of.
_ROUNDING_STEPS = 64


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """What may differ.

    Attributes:
      relative: to the size of a tensor, and of what stands in the same layer.
      rounding: to the largest value of all that was computed so far: what is left where
        numbers cancel is no more than the rounding of those that it was made of.
    """

    relative: float
    rounding: float

    def difference(self, expected, found, scale: float = 0.0, largest: float = 0.0) -> float:
        """Returns the largest absolute difference; 0 if it is within the tolerance.

        Args:
          expected: an array.
          found: what is compared with it.
          scale: of the layer; the largest of `expected` counts as well.
          largest: of all that was computed so far.

        Returns:
          Infinite if shapes differ; not a number if one of them holds what is none, or both.
        """
        expected, found = np.asarray(expected), np.asarray(found)
        if expected.shape != found.shape:
            return float("inf")
        if expected.dtype.kind in "OSU":
            return 0.0 if np.array_equal(expected, found) else float("inf")
        expected, found = expected.astype(np.float64), found.astype(np.float64)
        if np.array_equal(expected, found):
            return 0.0
        # Where both are infinite, with the same sign, they are the same.
        with np.errstate(invalid="ignore"):
            apart = np.where(expected == found, 0.0, np.abs(expected - found))
        magnitude = float(np.max(apart))
        allowed = self.relative * max(scale, largest_of([expected])) + self.rounding * largest
        return 0.0 if magnitude <= allowed + self.relative**2 else magnitude


def for_model(model: keras.Model, relative: float | None) -> Tolerance:
    """Returns the tolerance that suits the dtypes a model computes in.

    Args:
      model: the model; its least precise layer counts.
      relative: what to use instead; None for 1e-9 in float64, 1e-4 in float32, 0.02 in
        float16 and 0.1 in bfloat16.

    Raises:
      ConfigError: a layer computes in another dtype, and `relative` is None.
    """
    dtypes = {
        layer.compute_dtype
        for layer in keras_internals.flat_layers(model)
        if not isinstance(layer, keras.layers.InputLayer)
        and not _only_holds_layers(layer)
        and keras.backend.is_float_dtype(layer.compute_dtype)
    } or {keras.config.floatx()}
    unknown = dtypes - set(_BY_DTYPE)
    if unknown and relative is None:
        raise errors.ConfigError(
            "tolerance", f"there is none for {', '.join(sorted(unknown))}; pass one"
        )
    known = [_BY_DTYPE[dtype] for dtype in dtypes - unknown] or [_BY_DTYPE["bfloat16"]]
    relative = max(known)[0] if relative is None else relative
    rounding = _ROUNDING_STEPS * max(step for _, step in known)
    return Tolerance(relative, min(rounding, relative))


def of_metrics(tolerance: Tolerance, metrics: list[keras.metrics.Metric]) -> Tolerance:
    """Returns the tolerance of metrics, which add up in a dtype of their own."""
    steps = [_BY_DTYPE[metric.dtype][1] for metric in metrics if metric.dtype in _BY_DTYPE]
    relative = max([tolerance.relative, *(_ROUNDING_STEPS * step for step in steps)])
    return Tolerance(relative, relative)


def largest_of(values) -> float:
    """Returns the largest absolute value of some arrays; 0 if there are none."""
    with np.errstate(invalid="ignore"):
        sizes = [np.abs(np.asarray(value, np.float64)) for value in values]
    return max((float(np.max(x[np.isfinite(x)], initial=0.0)) for x in sizes), default=0.0)


def _only_holds_layers(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, keras.Model) and bool(getattr(layer, "inputs", None))
