"""Whether batches are what a model takes: told from their shapes and dtypes, before any is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mnist_lib import errors
from mnist_lib.datasets.splits import Split


def check_fits(model: Any, batches: Any, *, loss: Any = "cross_entropy") -> None:
    """Checks batches of `(inputs, targets)` or `(inputs, targets, weights)` against a model.

    Keras casts what it is given to the dtype of the model's input: images from 0 to 1
    become all black where that is uint8.

    Args:
      model: a `keras.Model`; nothing is checked of its inputs unless it has some and is built.
      batches: a `tf.data.Dataset`, or a split, whose labels have been checked.
      loss: the name of a loss, which takes integer labels `[B]`, and the cross-entropy
        also a probability per class, `[B, C]`. Targets are not checked for any other.

    Raises:
      ConfigError: the elements are no such tuples, the model takes other inputs, or the loss
        other targets.
    """
    if isinstance(batches, Split):
        check_images(model, batches.images.shape, batches.images.dtype)
        return
    spec: Any = batches.element_spec
    num_parts = len(spec) if isinstance(spec, tuple) else 1
    if num_parts not in (2, 3):
        raise errors.ConfigError(
            "data",
            f"has elements {spec}; map them to (inputs, targets), or to (inputs, targets, weights)",
        )
    inputs, targets = spec[:2]
    weights = spec[2] if num_parts == 3 else None
    _check_inputs(model, inputs)
    if isinstance(loss, str):
        _check_labels(targets, _num_classes(model) if loss == "cross_entropy" else None)
    elif not callable(loss):
        check_keys(loss, "targets", targets)
    if weights is not None and (not hasattr(weights, "dtype") or weights.shape.rank != 1):
        raise errors.ConfigError(
            "data", f"has weights {weights}; give one per example, of shape [B]"
        )


def check_keys(losses: Any, name: str, of_outputs: Any) -> None:
    """Checks that something that each output has is there for each loss.

    Args:
      losses: a mapping by output, or a sequence.
      name, of_outputs: what is checked, and its structure.

    Raises:
      ConfigError: it is of other outputs.
    """
    wanted, there = _keys(losses), _keys(of_outputs)
    if set(wanted) != set(there):
        raise errors.ConfigError(
            "loss",
            f"is given for {', '.join(map(str, wanted))}, and the {name} are "
            f"{', '.join(map(str, there)) or of_outputs}; give one loss per output, under its name",
        )


def _keys(structure: Any) -> list:
    if isinstance(structure, Mapping):
        return list(structure)
    return list(range(len(structure))) if isinstance(structure, list | tuple) else []


def _check_inputs(model: Any, inputs: Any) -> None:
    if hasattr(inputs, "dtype"):
        check_images(model, inputs.shape, inputs.dtype)
    elif isinstance(inputs, Mapping):
        symbolic = getattr(model, "inputs", None) or ()
        is_named = symbolic and isinstance(model.input, Mapping)
        names = list(model.input) if is_named else [one.name for one in symbolic]
        missing = [name for name in names if name not in inputs]
        if missing:
            raise errors.ConfigError(
                "data",
                f"has the inputs {', '.join(inputs)}, and {model.name} takes {', '.join(names)}; "
                "name them as the model's Input layers",
            )


def _num_classes(model: Any) -> int | None:
    outputs: Any = getattr(model, "outputs", None) or ()
    return outputs[0].shape[-1] if len(outputs) == 1 else None


def _check_labels(labels: Any, num_classes: int | None) -> None:
    if not hasattr(labels, "dtype"):
        raise errors.ConfigError(
            "labels",
            f"are {labels}, and the loss is of one output; give Trainer and Evaluator "
            "loss={name of output: loss}, or a function of targets and outputs",
        )
    if labels.shape.rank == 2:
        if labels.shape[1] == num_classes and num_classes != 1:
            return
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
