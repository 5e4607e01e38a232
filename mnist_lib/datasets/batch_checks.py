"""Whether batches are what a model takes: told from their shapes and dtypes, before any is made."""

from __future__ import annotations

from typing import Any

from mnist_lib import errors
from mnist_lib.datasets.splits import Split


def check_fits(model: Any, batches: Any, *, labels_are_classes: bool = True) -> None:
    """Checks batches of `(images, labels)` against a model that classifies.

    Keras casts what it is given to the dtype of the model's input: images from 0 to 1
    become all black where that is uint8.

    Args:
      model: a `keras.Model`; nothing is checked of its input unless it has one and is built.
      batches: a `tf.data.Dataset`, or a split, whose labels have been checked.
      labels_are_classes: whether the labels must be integers `[B]`.

    Raises:
      ConfigError: the elements are no such pairs, the model takes other images, or the
        labels are not integers `[B]`.
    """
    if isinstance(batches, Split):
        check_images(model, batches.images.shape, batches.images.dtype)
        return
    spec = batches.element_spec
    if (
        not isinstance(spec, tuple)
        or len(spec) != 2
        or not all(hasattr(part, "dtype") for part in spec)
    ):
        raise errors.ConfigError(
            "data",
            f"has elements {spec}; make batches of (images, labels) of it, one tensor each: "
            "weights, dictionaries and several inputs or outputs are not taken",
        )
    images, labels = spec
    check_images(model, images.shape, images.dtype)
    if labels_are_classes:
        _check_labels(labels)


def _check_labels(labels: Any) -> None:
    if labels.shape.rank == 2:
        how = "labels[:, 0]" if labels.shape[1] == 1 else "tf.argmax(labels, -1)"
        raise errors.ConfigError(
            "labels",
            f"have shape {labels.shape.as_list()}, not [B]; "
            f"map(lambda images, labels: (images, {how})) makes them numbers of classes",
        )
    if labels.shape.rank != 1:
        raise errors.ConfigError(
            "labels", f"have shape {labels.shape}, not [B]; batch the data set, once"
        )
    if not labels.dtype.is_integer:
        raise errors.ConfigError(
            "labels",
            f"are {labels.dtype.name}; give numbers of classes in an integer dtype, "
            "tf.cast(labels, tf.int32)",
        )


def check_images(model: Any, shape: Any, dtype: Any) -> None:
    """Checks the images of batches against a model's input.

    Args:
      model: as for `check_fits`.
      shape: of a batch, `[B, ...]`; a `tf.TensorShape`, or a sequence.
      dtype: `tf.DType` or `np.dtype`.

    Raises:
      ConfigError: the model takes others.
    """
    inputs = getattr(model, "inputs", None)
    if not inputs or len(inputs) != 1:
        return
    taken, given = tuple(inputs[0].shape[1:]), tuple(shape[1:])
    # Keras adds and drops a last dimension of 1 by itself.
    if not any(_is_compatible(taken, other) for other in (given, (*given, 1))) and not (
        given[-1:] == (1,) and _is_compatible(taken, given[:-1])
    ):
        raise errors.ConfigError(
            "images",
            f"of shape {list(given)} do not fit {model.name}, which takes {list(taken)}; make a "
            f"model whose first layer is keras.Input({given})",
        )
    name, wanted = getattr(dtype, "name", str(dtype)), str(inputs[0].dtype)
    if "float" in name and "float" not in wanted:
        raise errors.ConfigError(
            "images",
            f"are {name}, and {model.name} takes {wanted} from 0 to 255; multiply images from 0 to "
            f"1 by 255 and cast to {wanted}, or make a model that takes {name}",
        )


def _is_compatible(taken: tuple, given: tuple) -> bool:
    """Whether two shapes can be the same; None is any size."""
    return len(taken) == len(given) and all(
        None in (one, other) or one == other for one, other in zip(taken, given, strict=True)
    )
