"""What images and labels must be like. They are checked once, where they come in.

What is right and written otherwise is made right (a missing channel, other integers); what
could only be guessed at is refused, and the error says how to make it right.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from mnist_lib import errors

_logger = logging.getLogger(__name__)

_SHAPES = "[N, H, W, C] or [N, H, W]"


def checked_images(
    name: str, images: Any, value_range: tuple[float, float] | None = None
) -> np.ndarray:
    """Returns images as the pipelines take them; nothing is copied that fits.

    Args:
      name: of their split, for errors.
      images: uint8, or float with a `value_range`; `[N, H, W, C]` or `[N, H, W]`.
      value_range: the least and the largest value that float images can have.

    Returns:
      The same values, `[N, H, W, C]`.

    Raises:
      ConfigError: another dtype or shape, a value that is out of range or not a number.
    """
    field, images = f"{name} images", np.asarray(images)
    _check_shape(field, images)
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if not images.dtype.isnative:
        images = images.astype(images.dtype.newbyteorder("="))
    if images.dtype == np.uint8:
        if value_range not in (None, (0, 255)):
            raise errors.ConfigError(
                field, f"value_range {value_range} is for float images; leave it out for uint8"
            )
        if images.size and images.max() <= 1:
            _logger.warning(
                "%s: no value is above 1, of 0 to 255: they are all but black. If they are masks "
                "of 0 and 1, multiply them by 255.",
                field,
            )
    elif np.issubdtype(images.dtype, np.floating) and value_range is not None:
        _check_values(field, images, value_range)
    else:
        raise errors.ConfigError(field, _wrong_dtype(images))
    return images


def _check_shape(field: str, images: np.ndarray) -> None:
    shape = images.shape
    if images.ndim not in (3, 4) or 0 in shape[1:]:
        remedy = {
            1: "stack images of one size with np.stack",
            2: "reshape rows of pixels, such as [N, 784] to [N, 28, 28, 1], and give one image as "
            "image[np.newaxis]",
        }.get(images.ndim, "leave no dimension empty or spare")
        raise errors.ConfigError(field, f"shape {list(shape)} is not {_SHAPES}; {remedy}")
    if len(shape) == 4 and shape[1] in (1, 3) and shape[2] == shape[3] > 4:
        raise errors.ConfigError(
            field,
            f"shape {list(shape)} has its channels first; put them last with "
            "np.moveaxis(images, 1, -1)",
        )


def _check_values(field: str, images: np.ndarray, value_range: tuple[float, float]) -> None:
    least, most = value_range
    if not images.size:
        return
    low, high = images.min(), images.max()  # NaN if one is
    if not (np.isfinite(low) and np.isfinite(high)):
        where = np.argwhere(~np.isfinite(images))[0]
        raise errors.ConfigError(
            field,
            f"image {where[0]} holds {images[tuple(where)]}; leave out such images",
        )
    if low < least or high > most:
        raise errors.ConfigError(
            field,
            f"values from {low:g} to {high:g} are not in the value_range {value_range}; scale "
            "them, or give the range they have",
        )


def _wrong_dtype(images: np.ndarray) -> str:
    """Says how images of a dtype that is not taken as it is become uint8."""
    own = "for a model of your own that takes them as they are pass value_range=(least, most)"
    if images.dtype == np.bool_:
        return "bool; multiply by 255 and cast to uint8: images.astype(np.uint8) * 255"
    if not np.issubdtype(images.dtype, np.number) or np.iscomplexobj(images):
        return f"dtype {images.dtype} is none of pixels; make uint8 of one size of them, 0 to 255"
    low, high = (images.min(), images.max()) if images.size else (0, 0)
    found = f"{images.dtype} from {low:g} to {high:g}, not uint8 from 0 to 255"
    if np.issubdtype(images.dtype, np.floating):
        if not (np.isfinite(low) and np.isfinite(high)):
            return f"{images.dtype} with a NaN or an infinite value; leave out such images"
        if low >= 0 and high <= 1:
            return f"{found}; multiply by 255 and cast to uint8: np.rint(images * 255)" + (
                f".astype(np.uint8); {own}"
            )
        if low < 0:
            return f"{found}; scale to 0 to 255 and cast to uint8; {own}"
    if low < 0 or high > 255:
        return f"{found}; scale to 0 to 255 and cast to uint8"
    return f"{found}; cast to uint8: images.astype(np.uint8)" + (
        f"; {own}" if np.issubdtype(images.dtype, np.floating) else ""
    )


def checked_labels(name: str, labels: Any, num_images: int) -> np.ndarray:
    """Returns labels as int32 `[N]`.

    Args:
      name: of their split, for errors.
      labels: integers `[N]` or `[N, 1]`, at least 0.
      num_images: N, how many there must be.

    Raises:
      ConfigError: another dtype or shape, another number, or one below 0.
    """
    field, labels = f"{name} labels", np.asarray(labels)
    shape = list(labels.shape)
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise errors.ConfigError(
            field, f"shape {shape} is not [N]; make numbers of one-hot rows with labels.argmax(-1)"
        )
    if labels.ndim not in (1, 2):
        raise errors.ConfigError(field, f"shape {shape} is not [N], a number of a class per image")
    labels = labels.reshape(-1)
    if len(labels) != num_images:
        raise errors.ConfigError(
            name,
            f"{num_images} images and {len(labels)} labels; there must be one label per image",
        )
    if not np.issubdtype(labels.dtype, np.integer) and len(labels):
        raise errors.ConfigError(
            field,
            f"{labels.dtype}, such as {labels[0]!r}, are not numbers of classes; give whole "
            "numbers from 0, in an integer dtype: labels.astype(np.int32)",
        )
    if len(labels) and not (labels.min() >= 0 and labels.max() < 2**31):
        wrong = np.flatnonzero((labels < 0) | (labels >= 2**31))[0]
        raise errors.ConfigError(
            field, f"label {labels[wrong]} at index {wrong} is no class; count classes from 0"
        )
    return labels.astype(np.int32, copy=False)


def check_classes(name: str, labels: np.ndarray, num_classes: int) -> None:
    """Checks that labels `[N]` are in [0, num_classes).

    Raises:
      ConfigError: names the first that is not.
    """
    wrong = np.flatnonzero(labels >= num_classes)
    if wrong.size:
        raise errors.ConfigError(
            f"{name} labels",
            f"label {labels[wrong[0]]} at index {wrong[0]} is not in [0, {num_classes - 1}]; there "
            f"are {num_classes} classes. Give class_names=, one name per class, and a model with "
            "as many logits",
        )
