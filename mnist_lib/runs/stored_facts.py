"""What `results.json` and `run.json` must hold where it is read: types, and no more.

Older versions have left fields out, newer ones may add some: a field that is not there is right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from mnist_lib import bounded

_LARGEST_SIDE = 2**16


def checked_results(value: Any) -> dict[str, Any]:
    """Returns what `results.json` held if it can be used.

    Raises:
      ValueError: names the field that cannot.
    """
    results = _checked(bounded.checked_object(value), _RESULTS)
    matrix = results.get("test", {}).get("confusion_matrix", ())
    if matrix and len(matrix) != len(results.get("class_names", matrix)):
        raise ValueError(
            f"test.confusion_matrix is of {len(matrix)} classes, class_names of others"
        )
    return results


def checked_entries(value: Any) -> list[dict[str, Any]]:
    """Returns what `run.json` held, one entry per process, if it can be used.

    Raises:
      ValueError: names the field that cannot.
    """
    if not isinstance(value, list):
        raise ValueError(f"it holds a {type(value).__name__}, not a list of entries")
    return [_checked(bounded.checked_object(entry), _ENTRY) for entry in value]


def _checked(values: dict[str, Any], fields: Mapping[str, Any], within: str = "") -> dict[str, Any]:
    for name, kind in fields.items():
        if name not in values:
            continue
        value, field = values[name], f"{within}{name}"
        if isinstance(kind, Mapping):
            if not isinstance(value, dict):
                raise ValueError(f"{field} is a {type(value).__name__}, not an object")
            _checked(value, kind, f"{field}.")
        elif not kind(value):
            raise ValueError(f"{field} is {_shown(value)}, which it cannot be")
    return values


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # the second: of thousands of digits
        text = type(value).__name__
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) < 2**63)


def _is_length_of_time(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value) and value >= 0


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _or_none(kind: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or kind(value)


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_text, value))


def _is_shape(value: Any) -> bool:
    sides = value if isinstance(value, list) else []
    return len(sides) == 3 and all(_is_count(n) and 1 <= n < _LARGEST_SIDE for n in sides)


def _is_square_of_counts(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(row, list) and len(row) == len(value) and all(map(_is_count, row))
        for row in value
    )


_OF_SPLIT = {
    "num_examples": _is_count,
    "num_correct": _or_none(_is_count),
    "accuracy": _or_none(_is_number),
    "loss": _or_none(_is_number),
    "confusion_matrix": _is_square_of_counts,
}
_RESULTS = {
    "dataset": _is_text,
    "class_names": _are_names,
    "model": _is_text,
    "num_parameters": _is_count,
    "seed": _is_count,
    "step": _is_count,
    "num_replicas": _is_count,
    "train": _OF_SPLIT,
    "validation": _OF_SPLIT,
    "test": _OF_SPLIT,
    "history": {},
    "timing": {
        "startup_seconds": _is_length_of_time,
        "train_seconds": _is_length_of_time,
        "images_per_second": _is_number,
    },
}
_OF_OWN_PART: dict[str, Any] = {"model": {}, "optimizer": {}}
_ENTRY = {
    "dataset": _is_text,
    "own_data": _is_flag,
    "stands_in_for": _or_none(_is_text),
    "class_names": _are_names,
    "image_shape": _is_shape,
    "image_dtype": _is_text,
    **{f"{split}_sha256": _is_text for split in ("train", "validation", "test")},
    "init_sha256": _or_none(_is_text),
    "num_train": _is_count,
    "num_validation": _is_count,
    "averages_weights": _is_flag,
    "own_parts": _OF_OWN_PART,
}
