"""Optimizers and learning-rate schedules by name."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import keras
import tensorflow as tf

from mnist_lib import choices, errors, runtime
from mnist_lib.training import keras_internals

MOMENTUM = 0.9
ADAMW_WEIGHT_DECAY = 0.004
# One-cycle: starts at peak / 25 and ends at peak / 1e4 of that (Smith and Topin
# 2018; the constants are those in common use).
_ONE_CYCLE_WARMUP = 0.3
_ONE_CYCLE_START = 1 / 25
_ONE_CYCLE_END = 1 / 25e4
_EXPONENTIAL_END = 0.01


@keras.saving.register_keras_serializable(package="mnist_lib")
class LearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule with linear warm-up to a peak, then one of four ways down.

    Args:
      schedule: `constant`; `cosine` to 0 (Loshchilov and Hutter 2017, without
        restarts); `exponential` to 1 % of the peak; `one_cycle`, cosine up from 1/25 of
        the peak and cosine down to almost 0.
      peak: the largest learning rate, greater than 0.
      total_steps: the step at which the way down ends.
      warmup_steps: the step at which the peak is reached, in [0, total_steps).
    """

    def __init__(
        self, schedule: str, peak: float, total_steps: int, warmup_steps: int | None = None
    ):
        choices.check("lr_schedule", schedule)
        if warmup_steps is None:
            warmup_steps = int(_ONE_CYCLE_WARMUP * total_steps) if schedule == "one_cycle" else 0
        if warmup_steps and warmup_steps >= total_steps:
            raise errors.ConfigError(
                "warmup_steps",
                f"{warmup_steps} must be less than the {total_steps} steps of the run",
            )
        self.schedule = schedule
        self.peak = peak
        self.total_steps = total_steps
        self.warmup_steps = warmup_steps

    def __call__(self, step) -> tf.Tensor:
        """Returns the learning rate of optimizer step `step` (0 is the first), float32."""
        step = tf.cast(step, tf.float32)
        down = tf.clip_by_value(
            (step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps), 0.0, 1.0
        )
        if self.schedule == "one_cycle":
            up = tf.minimum(step / max(1, self.warmup_steps), 1.0)
            rising = _cosine_between(_ONE_CYCLE_START, 1.0, up)
            factor = tf.where(
                step < self.warmup_steps, rising, _cosine_between(1.0, _ONE_CYCLE_END, down)
            )
            return self.peak * factor
        factor = {
            "constant": lambda: tf.ones_like(down),
            "cosine": lambda: _cosine_between(1.0, 0.0, down),
            "exponential": lambda: tf.exp(math.log(_EXPONENTIAL_END) * down),
        }[self.schedule]()
        warmup = tf.minimum((step + 1) / (self.warmup_steps + 1), 1.0)
        return self.peak * warmup * factor

    def get_config(self) -> dict:
        return {
            "schedule": self.schedule,
            "peak": self.peak,
            "total_steps": self.total_steps,
            "warmup_steps": self.warmup_steps,
        }


def _cosine_between(start: float, end: float, fraction: tf.Tensor) -> tf.Tensor:
    return end + (start - end) * 0.5 * (1 + tf.cos(math.pi * fraction))


@keras.saving.register_keras_serializable(package="mnist_lib")
class FusedAdam(keras.optimizers.Adam):
    """`keras.optimizers.Adam` with one fused update per variable.

    The same formula (Kingma and Ba 2015, the efficient form at the end of section
    2) in one pass over memory rather than about ten. With `weight_decay` it is
    AdamW (Loshchilov and Hutter 2019). Like Keras's it holds its state in float32;
    `amsgrad` and sparse gradients take Keras's own path.
    """

    def update_step(self, gradient, variable, learning_rate):
        if self.amsgrad or isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable, learning_rate)
            return
        dtype = variable.dtype
        momentum, velocity = keras_internals.adam_slots(self, variable)
        next_step = tf.cast(self.iterations + 1, dtype)
        beta_1, beta_2 = tf.constant(self.beta_1, dtype), tf.constant(self.beta_2, dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=momentum.value.handle,
            v=velocity.value.handle,
            beta1_power=tf.pow(beta_1, next_step),
            beta2_power=tf.pow(beta_2, next_step),
            lr=tf.cast(learning_rate, dtype),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=tf.constant(self.epsilon, dtype),
            grad=tf.cast(gradient, dtype),
            use_locking=True,
        )


def build_optimizer(
    name: str,
    learning_rate: float | LearningRate,
    weight_decay: float | None = None,
    *,
    beta_1: float | None = None,
    beta_2: float | None = None,
    clip_norm: float | None = None,
    ema_momentum: float | None = None,
    scale_loss: bool = False,
) -> keras.optimizers.Optimizer:
    """Builds an optimizer; call it under the scope of the strategy.

    Clipping, averaging and scaling are Keras's. Under `Trainer` they see gradients
    that have been summed over the replicas.

    Args:
      name: a name in `choices.NAMES["optimizer"]`.
      learning_rate: a number greater than 0, or a schedule.
      weight_decay: decoupled decay, used by adamw only; None for 0.004, as in Keras.
      beta_1, beta_2: momenta of adam and adamw, in [0, 1); None for 0.9 and 0.999.
      clip_norm: the largest Euclidean norm that the whole gradient may have, greater
        than 0; None for no limit (Pascanu et al. 2013).
      ema_momentum: keep an exponential moving average of the weights,
        `momentum * average + (1 - momentum) * weights` at each step, in (0, 1); None
        for none.
      scale_loss: scale the loss so that float16 gradients do not vanish, and skip steps
        whose gradient overflows (Micikevicius et al. 2018).

    Raises:
      ConfigError: there is no optimizer of that name, or it lacks an option.
    """
    runtime.check_not_forked()
    given = {"weight_decay": weight_decay, "beta_1": beta_1, "beta_2": beta_2}
    choices.check_options("optimizer", name, given)
    options: dict = {"global_clipnorm": clip_norm}
    if ema_momentum is not None:
        options |= {"use_ema": True, "ema_momentum": ema_momentum}
    if name == "adamw":
        options["weight_decay"] = ADAMW_WEIGHT_DECAY
    options |= {option: value for option, value in given.items() if value is not None}
    optimizer = _named_optimizer(name, learning_rate, options)
    return keras.optimizers.LossScaleOptimizer(optimizer) if scale_loss else optimizer


def _named_optimizer(
    name: str, learning_rate: float | LearningRate, options: dict
) -> keras.optimizers.Optimizer:
    if name == "adam":
        return FusedAdam(learning_rate, **options)
    if name == "adamw":
        return FusedAdam(learning_rate, name="adamw", **options)
    if name == "rmsprop":
        return keras.optimizers.RMSprop(learning_rate, **options)
    if name == "sgd":
        return keras.optimizers.SGD(learning_rate, **options)
    assert name == "momentum", name
    return keras.optimizers.SGD(learning_rate, momentum=MOMENTUM, **options)


def learning_rate(optimizer: keras.optimizers.Optimizer) -> float:
    """Returns the rate that the last update used; before the first, that of the first.

    Of several optimizers in one it is that of the first.
    """
    updating, *_ = keras_internals.updating_optimizers(optimizer)
    rate = keras_internals.learning_rate_source(updating)
    if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        rate = rate(tf.maximum(updating.iterations - 1, 0))
    return float(rate.numpy())


@contextlib.contextmanager
def averages_in_place(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Puts the moving averages in the place of the weights while it is open.

    Does nothing if the optimizer keeps none.
    """
    averages = keras_internals.moving_averages(optimizer, model.trainable_variables)
    variables = model.trainable_variables[: len(averages)]
    weights = [tf.identity(variable.value) for variable in variables]
    try:
        for variable, average in zip(variables, averages, strict=True):
            variable.value.assign(average.value)
        yield
    finally:
        for variable, weight in zip(variables, weights, strict=True):
            variable.value.assign(weight)


def judge(
    optimizer: keras.optimizers.Optimizer, loss: tf.Tensor, norm: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Judges a step before its update.

    Args:
      optimizer: what will update; may scale the loss.
      loss: of the global batch, a scalar.
      norm: of its gradient, scaled as the loss was for it.

    Returns:
      Whether the step has diverged, and the norm without the scale.
    """
    is_finite = tf.math.is_finite(loss)
    if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        norm /= tf.cast(optimizer.loss_scale_factor or 1, norm.dtype)
        return tf.logical_not(is_finite & tf.math.is_finite(norm)), norm
    scale = optimizer.dynamic_scale.value
    # An overflow halves the scale and the step is skipped. Below 1 there is no scale
    # to blame.
    return tf.logical_not(is_finite) | (scale < 1.0), norm / tf.cast(scale, norm.dtype)
