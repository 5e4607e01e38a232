"""Functions of images to logits, probabilities and label, for SavedModel, LiteRT and ONNX."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

NAME = "serving_default"


class AnsweringModule(tf.Module):
    """Holds one function, `answer`, and the variables that it reads.

    Attributes:
      answer: images `[N, *shape]` to `logits` float32 `[N, C]`, `probabilities` float32
        `[N, C]` and, if wanted, `label` int64 `[N]`.
    """

    def __init__(
        self,
        logits_of: Callable[[tf.Tensor], tf.Tensor],
        shape: tuple[int, ...],
        dtype: str,
        variables: list[tf.Variable],
        with_label: bool = True,
    ):
        """Makes the function of one of images `[N, H, W, C]` to logits."""
        super().__init__(name="served")
        self.held = variables

        def answer(images: tf.Tensor) -> dict[str, tf.Tensor]:
            has_channels = len(shape) == 3
            logits = logits_of(images if has_channels else images[..., tf.newaxis])
            logits = tf.cast(logits, tf.float32)
            answers = {"logits": logits, "probabilities": tf.nn.softmax(logits)}
            return answers | ({"label": tf.argmax(logits, -1)} if with_label else {})

        signature = tf.TensorSpec([None, *shape], dtype, "images")
        self.answer = tf.function(answer, input_signature=[signature], autograph=False)


def with_variables(model: keras.Model, shape: tuple[int, ...]) -> AnsweringModule:
    """Returns the function of a model, with its variables.

    Args:
      model: images to logits.
      shape: of an image, without its channel where there is only one.
    """
    variables = [variable.value for variable in model.variables]

    def logits_of(images: tf.Tensor) -> tf.Tensor:
        # No image goes as one that is thrown away: oneDNN's convolutions of none have the shape
        # of their input on processors with AVX-512 (TensorFlow 2.21).
        count = tf.shape(images)[0]
        missing = tf.cast(count == 0, tf.int32)
        padding = tf.pad([[0, missing]], [[0, images.shape.rank - 1], [0, 0]])
        padded = tf.ensure_shape(tf.pad(images, padding), [None, *images.shape[1:]])
        return model(padded, training=False)[:count]

    return AnsweringModule(logits_of, shape, model.inputs[0].dtype, variables)


def with_constants(
    model: keras.Model, shape: tuple[int, ...], with_label: bool = True
) -> AnsweringModule:
    """Returns the same with the weights as constants, which converters can fold."""
    trainable = [variable.numpy() for variable in model.trainable_variables]
    others = [variable.numpy() for variable in model.non_trainable_variables]

    def logits_of(images: tf.Tensor) -> tf.Tensor:
        values = [list(map(tf.constant, some)) for some in (trainable, others)]
        logits, _ = model.stateless_call(*values, images, training=False)
        return logits

    return AnsweringModule(logits_of, shape, model.inputs[0].dtype, [], with_label)
