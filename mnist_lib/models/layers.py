"""The layers that the models share: seeded dense and convolution blocks, maxout,
pooling, and a dropout whose masks do not depend on the number of replicas."""

from __future__ import annotations

import collections

import keras
import numpy as np
import tensorflow as tf

from mnist_lib.models import activations, batch_parts, philox

# Height, width and channels.
ImageShape = tuple[int, int, int]
MNIST_SHAPE = (28, 28, 1)
# Of the averages that evaluation uses; Keras's 0.99 is slow for runs of a few hundred steps.
_BATCH_NORM_MOMENTUM = 0.9


class LayerPlan:
    """The seeds and the names of a model's layers, in their order.

    Names are those a reader of a graph expects (`conv1`, `bn1`, `relu1`), the same in every
    process; Keras would count on from one model to the next.
    """

    def __init__(self, seed: int):
        """Derives all seeds from `seed`, independent of each other."""
        self._children = iter(np.random.SeedSequence(seed).spawn(64))
        self._count: collections.Counter[str] = collections.Counter()

    def seed(self) -> int:
        """Returns the seed of the next layer, in [0, 2**31)."""
        return int(next(self._children).generate_state(1, np.uint32)[0] >> 1)

    def name(self, kind: str) -> str:
        """Returns the name of the next layer of a kind."""
        self._count[kind] += 1
        return f"{kind}{self._count[kind]}"


def image_input(image_shape: ImageShape) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Returns the uint8 input `[N, H, W, C]` and the same scaled to [0, 1]."""
    image = keras.Input(image_shape, dtype="uint8", name="image")
    return image, keras.layers.Rescaling(1 / 255, name="scale")(image)


def logits(
    x: keras.KerasTensor, num_classes: int, plan: LayerPlan, batch_norm: bool = False
) -> keras.KerasTensor:
    """Adds the output layer; float32 even where the rest has less precision."""
    dtype = "float64" if keras.config.dtype_policy().name == "float64" else "float32"
    x = keras.layers.Dense(
        num_classes,
        use_bias=not batch_norm,
        kernel_initializer=_glorot(plan),
        dtype=dtype,
        name="logits",
    )(x)
    return _normalise(x, "bn_logits", dtype) if batch_norm else x


def dense(
    x: keras.KerasTensor,
    units: int,
    activation: str,
    plan: LayerPlan,
    batch_norm: bool = False,
) -> keras.KerasTensor:
    """Adds an affine layer and its activation: `[N, d]` to `[N, units]`."""
    pieces = activations.num_pieces(activation)
    x = keras.layers.Dense(
        units * pieces,
        use_bias=not batch_norm,
        kernel_initializer=_glorot(plan),
        name=plan.name("dense"),
    )(x)
    return _activate(x, activation, plan, batch_norm)


def conv(
    x: keras.KerasTensor,
    filters: int,
    kernel_size: int,
    activation: str,
    plan: LayerPlan,
    padding: str = "valid",
    strides: int = 1,
    batch_norm: bool = False,
) -> keras.KerasTensor:
    """Adds a convolution and its activation: `[N, h, w, c]` to `[N, h', w', filters]`."""
    pieces = activations.num_pieces(activation)
    x = keras.layers.Conv2D(
        filters * pieces,
        kernel_size,
        strides=strides,
        padding=padding,
        use_bias=not batch_norm,
        kernel_initializer=_glorot(plan),
        name=plan.name("conv"),
    )(x)
    return _activate(x, activation, plan, batch_norm)


def pool(x: keras.KerasTensor, pooling: str, plan: LayerPlan) -> keras.KerasTensor:
    """Adds 2x2 pooling with stride 2, `"max"` or `"average"`."""
    layer = {"max": keras.layers.MaxPooling2D, "average": keras.layers.AveragePooling2D}[pooling]
    return layer(pool_size=2, name=plan.name("pool"))(x)


def dropout(x: keras.KerasTensor, rate: float, plan: LayerPlan) -> keras.KerasTensor:
    """Adds dropout."""
    return Dropout(rate, plan.seed(), name=plan.name("dropout"))(x)


def _activate(
    x: keras.KerasTensor, activation: str, plan: LayerPlan, batch_norm: bool
) -> keras.KerasTensor:
    """Adds an activation, after the batch normalisation whose offset is the only bias."""
    if batch_norm:
        x = _normalise(x, plan.name("bn"))
    return activations.activation_layer(activation, plan.name(activation))(x)


def _normalise(x: keras.KerasTensor, name: str, dtype: str | None = None) -> keras.KerasTensor:
    return FusedBatchNormalization(
        momentum=_BATCH_NORM_MOMENTUM, synchronized=True, dtype=dtype, name=name
    )(x)


def _glorot(plan: LayerPlan) -> keras.initializers.Initializer:
    return keras.initializers.GlorotUniform(seed=plan.seed())


@keras.saving.register_keras_serializable(package="mnist_lib")
class Dropout(keras.layers.Layer):
    """Dropout whose mask is a function of (seed, call, row of the global batch).

    `keras.layers.Dropout` draws the same mask on every replica. Here each replica
    draws its own rows of one mask for the global batch (`philox`), so that 1 and N
    replicas, accumulating or not, train on the same masks.

    Args:
      rate: the probability that a value is set to zero, in [0, 1). The others are
        scaled by `1 / (1 - rate)` (Srivastava et al. 2014, section 10).
      seed: chooses the masks; any integer in [0, 2**31).
    """

    def __init__(self, rate: float, seed: int, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate
        self.seed = seed
        # Counts the calls. It is a variable of the model, so checkpoints hold it.
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training or self.rate == 0:
            return x
        state = tf.cast(self.seed_generator.next(), tf.uint64)
        num_rows = tf.shape(x)[0]
        row_shape = x.shape[1:]
        bits = philox.rows(
            num_rows,
            row_shape.num_elements(),
            key=state[:1],
            stream=state[1],
            first_row=batch_parts.part_index() * tf.cast(num_rows, tf.int64),
            dtype=tf.uint32,
        )
        bits = tf.reshape(bits, tf.shape(x))
        keep = bits >= tf.constant(round(self.rate * 2**32), tf.uint32)
        scale = tf.constant(1 / (1 - self.rate), x.dtype)
        return tf.where(keep, x * scale, tf.zeros([], x.dtype))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self) -> dict:
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


@keras.saving.register_keras_serializable(package="mnist_lib")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization`, in one operation where one replica trains on images.

    The same formula (Ioffe and Szegedy 2015): Keras's own takes about ten passes over the
    memory of its input in a step. It synchronises the statistics of several replicas, and
    computes in float64, neither of which the operation does: there this one is Keras's.
    """

    def call(self, x: tf.Tensor, training: bool = False, mask: tf.Tensor | None = None):
        is_plain = mask is None and not self.renorm and self.scale and self.center
        is_image = len(x.shape) == 4 and self.axis in (-1, 3) and x.dtype != tf.float64
        if not (training and self.trainable and is_plain and is_image and _is_one_replica()):
            return super().call(x, training=training, mask=mask)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=tf.cast(x, tf.float32),
            scale=self.gamma.value,
            offset=self.beta.value,
            mean=tf.zeros([0]),
            variance=tf.zeros([0]),
            epsilon=self.epsilon,
        )
        # The operation's variance is that of a sample, Keras's average is of the batch's own.
        count = tf.cast(tf.size(x) / tf.shape(x)[-1], tf.float32)
        variance *= (count - 1) / count
        for average, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign(average * self.momentum + new * (1 - self.momentum))
        return tf.cast(outputs, self.compute_dtype)


def _is_one_replica() -> bool:
    context = tf.distribute.get_replica_context()
    return context is not None and context.num_replicas_in_sync == 1
