"""Random batches that fit a model: what the parity check trains on by default."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import tensorflow as tf

from mnist_lib import errors
from mnist_lib.training import keras_internals

# Where a model leaves a size open: steps of a sequence, and rows and columns of an image.
_OPEN_SIZE = 16
_OPEN_IMAGE_SIZE = 32
_NUM_LEVELS = 256  # of a pixel, and of integers that nothing limits


def random_batches(model: keras.Model, batch_size: int) -> tf.data.Dataset:
    """Returns endless batches of random inputs and labels that fit a model.

    Args:
      model: built; inputs of any structure, the first output `[b, C]`.
      batch_size: rows of each batch.

    Returns:
      `(inputs, labels)`, the same at every call: integers up to 255, or as many as an
      embedding has rows; floats in [0, 1]; labels int32 in [0, C), {0, 1} if C is 1.

    Raises:
      ConfigError: the model is not built; it takes text; its labels cannot be guessed.
    """
    specs = _input_specs(model, batch_size)
    flat = tf.nest.flatten(specs)
    limits = [_limit(model, spec, len(flat)) for spec in flat]
    num_labels = max(2, _num_outputs(model, specs))

    def batch(number: tf.Tensor) -> tuple:
        seeds = [tf.stack([tf.constant(i, tf.int64), number]) for i in range(len(flat) + 1)]
        inputs = [
            _values(spec, limit, seed)
            for spec, limit, seed in zip(flat, limits, seeds[1:], strict=True)
        ]
        labels = tf.random.stateless_uniform(
            [batch_size], seeds[0], maxval=num_labels, dtype=tf.int32
        )
        return tf.nest.pack_sequence_as(specs, inputs), labels

    return tf.data.Dataset.range(tf.int64.max).map(batch)


def _input_specs(model: keras.Model, batch_size: int):
    """Returns the shapes and dtypes of a batch in the structure of the model's inputs."""

    def spec(shape, dtype, name=None) -> tf.TensorSpec:
        is_image = len(shape) == 4
        size = _OPEN_IMAGE_SIZE if is_image else _OPEN_SIZE
        filled = [size if length is None else length for length in shape[1:]]
        return tf.TensorSpec([batch_size, *filled], dtype, name)

    if getattr(model, "inputs", None):
        structure = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
        if isinstance(structure, list):  # which tf.data takes for a tensor
            structure = tuple(structure) if len(structure) > 1 else structure[0]
        return tf.nest.map_structure(lambda x: spec(x.shape, x.dtype, x.name), structure)
    shape = (model.get_build_config() or {}).get("input_shape") if model.built else None
    if not isinstance(shape, tuple | list) or not all(isinstance(n, int | None) for n in shape):
        raise errors.ConfigError(
            "build_model",
            f"{model.name} is not built, so that its inputs are not known; call it once on a "
            "batch, or give it an Input, or pass make_batches",
        )
    dtype = model.compute_dtype if tf.as_dtype(model.compute_dtype).is_floating else "float32"
    return spec(shape, dtype)


def _num_outputs(model: keras.Model, specs) -> int:
    """Returns the size C of the first output, which is asked for where it is not known."""
    outputs = model.outputs if getattr(model, "outputs", None) else None
    if not outputs:
        zeros = tf.nest.map_structure(lambda spec: tf.zeros(spec.shape, spec.dtype), specs)
        outputs = tf.nest.flatten(model(zeros, training=False))
    shape = outputs[0].shape
    if len(shape) != 2 or shape[-1] is None:
        raise errors.ConfigError(
            "make_batches",
            f"the labels of {model.name} cannot be guessed: its output has the shape "
            f"{tuple(shape)} and not (batch, classes); pass make_batches, and a loss that returns "
            "one value per example",
        )
    return int(shape[-1])


def _limit(model: keras.Model, spec: tf.TensorSpec, num_inputs: int) -> int | None:
    """Returns below which number the integers of an input must stay; None for real numbers."""
    dtype = tf.as_dtype(spec.dtype)
    if dtype == tf.string:
        raise errors.ConfigError(
            "make_batches", f"{model.name} takes text, which is not made up; pass make_batches"
        )
    limits = list(_embedding_sizes(model, spec, num_inputs))
    if limits:
        return min(limits)
    if dtype == tf.bool:
        return 2
    return None if dtype.is_floating else min(_NUM_LEVELS, dtype.max)


def _embedding_sizes(model: keras.Model, spec: tf.TensorSpec, num_inputs: int) -> Iterator[int]:
    """Yields how many rows embeddings of an input have, or of any input if that is unknown."""
    for layer in keras_internals.flat_layers(model):
        if isinstance(layer, keras.layers.Embedding):
            size = layer.input_dim
        elif isinstance(layer, keras.layers.CategoryEncoding) and layer.num_tokens:
            size = layer.num_tokens
        else:
            continue
        try:
            name = layer.input.name
        except (AttributeError, ValueError):  # it is used twice, or in a subclassed model
            name = None
        known = {tensor.name for tensor in getattr(model, "inputs", None) or ()}
        if name == spec.name or num_inputs == 1 or (name not in known and len(spec.shape) == 2):
            yield size


def _values(spec: tf.TensorSpec, limit: int | None, seed: tf.Tensor) -> tf.Tensor:
    if limit is None:
        levels = tf.random.stateless_uniform(spec.shape, seed, maxval=_NUM_LEVELS, dtype=tf.int32)
        return tf.cast(tf.cast(levels, tf.float64) / (_NUM_LEVELS - 1), spec.dtype)
    numbers = tf.random.stateless_uniform(spec.shape, seed, maxval=limit, dtype=tf.int32)
    return tf.cast(numbers, spec.dtype)
