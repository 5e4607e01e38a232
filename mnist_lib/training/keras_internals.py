"""Every private name, and every replaced method, of Keras that this library touches.

Keras 3.15 has no public way to any of them. Each is tried by name in
`tests/test_internals.py`, so that an upgrade that changes one fails there first.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator

import keras
import tensorflow as tf

from mnist_lib.models import batch_parts, layers

_added: contextvars.ContextVar[list] = contextvars.ContextVar("mnist_lib_added_losses")


def flat_layers(model: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Returns the model and all layers in it, nested ones too."""
    return list(model._flatten_layers())


def seed_generators(model: keras.layers.Layer) -> list[keras.random.SeedGenerator]:
    """Returns the generators of a model and of all layers in it."""
    return [generator for layer in flat_layers(model) for generator in layer._seed_generators]


def updating_optimizers(
    optimizer: keras.optimizers.Optimizer,
) -> list[keras.optimizers.Optimizer]:
    """Returns those that change weights: what a loss-scaling or a multiple one wraps."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return updating_optimizers(optimizer.inner_optimizer)
    if isinstance(optimizer, keras.optimizers.MultiOptimizer):
        return list(optimizer.optimizers)
    return [optimizer]


def step_counter(optimizer: keras.optimizers.Optimizer) -> keras.Variable:
    """Returns the variable behind `iterations`, which a loss-scaling optimizer hides."""
    return optimizer._iterations


def learning_rate_source(optimizer: keras.optimizers.Optimizer):
    """Returns the schedule, the variable or the function that rates come from."""
    return optimizer._learning_rate


def moving_averages(
    optimizer: keras.optimizers.Optimizer, variables: list[keras.Variable]
) -> list[keras.Variable]:
    """Returns the averages that are kept of variables, in their order; empty if none are."""
    average_of = {
        id(variable): average
        for updating in updating_optimizers(optimizer)
        if updating.use_ema
        for variable, average in zip(
            updating._trainable_variables, updating._model_variables_moving_average, strict=True
        )
    }
    return [average_of[id(variable)] for variable in variables if id(variable) in average_of]


def adam_slots(optimizer: keras.optimizers.Adam, variable) -> tuple[keras.Variable, keras.Variable]:
    """Returns the first and the second moment that Adam keeps of a variable."""
    index = optimizer._get_variable_index(variable)
    return optimizer._momentums[index], optimizer._velocities[index]


@contextlib.contextmanager
def tracing_a_step(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Keeps the replicas of a process from sharing what is each one's own.

    Open it while a step is traced, around `strategy.run`. All is as it was afterwards, so
    that model and optimizer still work with `fit`.
    """
    with (
        reduced_elsewhere(optimizer),
        averages_begun_warm(optimizer),
        losses_apart(model),
        seeds_of_each_part(model),
    ):
        yield


@contextlib.contextmanager
def reduced_elsewhere(optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Keeps `optimizer.apply` from summing gradients over the replicas, after clipping.

    They are summed before, so that clipping, averages and loss scaling see the gradient
    of the global batch.
    """
    with contextlib.ExitStack() as stack:
        for updating in updating_optimizers(optimizer):
            stack.enter_context(_replaced(updating, "_all_reduce_sum_gradients", list))
        yield


@contextlib.contextmanager
def averages_begun_warm(optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Has moving averages of weights use `min(momentum, (1 + t) / (10 + t))` at update t.

    Keras begins an average at the weights after the first update: with a momentum of
    0.999 it is still four fifths of them after 200. The formula is that of
    `tf.train.ExponentialMovingAverage(num_updates=t)`.
    """
    with contextlib.ExitStack() as stack:
        for updating in updating_optimizers(optimizer):
            if updating.use_ema:
                updates = tf.cast(updating.iterations.value, tf.float32)
                momentum = tf.minimum(updating.ema_momentum, (1 + updates) / (10 + updates))
                stack.enter_context(_replaced(updating, "ema_momentum", momentum))
        yield


@contextlib.contextmanager
def state_updates_noted(model: keras.Model, noted: dict[str, keras.Variable]) -> Iterator[None]:
    """Notes, by their paths, the variables that layers assign to, but for seeds and weights."""
    seeds = {id(generator.state) for generator in seed_generators(model)}
    with contextlib.ExitStack() as stack:
        for variable in model.non_trainable_variables:
            if id(variable) not in seeds:
                stack.enter_context(_replaced(variable, "assign", _noting(variable, noted)))
        yield


def _noting(variable: keras.Variable, noted: dict[str, keras.Variable]) -> Callable:
    assign = variable.assign

    def assign_and_note(value):
        noted[variable.path] = variable
        return assign(value)

    return assign_and_note


@contextlib.contextmanager
def losses_apart(model: keras.Model) -> Iterator[None]:
    """Sends what layers add to the loss to the replica whose forward pass it is.

    Keras collects it in lists on the layers, which the replicas share. Where their traces
    interleave, as at every synchronised batch normalisation, one finds those of others.
    """
    with contextlib.ExitStack() as stack:
        for layer in flat_layers(model):
            stack.enter_context(_replaced(layer, "add_loss", _collect))
        yield


@contextlib.contextmanager
def seeds_of_each_part(model: keras.Model) -> Iterator[None]:
    """Has Keras's own layers draw other random numbers in every part of the global batch.

    `layers.Dropout` is left alone: its masks are a function of the row already.
    """
    own = [
        layer.seed_generator for layer in flat_layers(model) if isinstance(layer, layers.Dropout)
    ]
    with contextlib.ExitStack() as stack:
        for generator in seed_generators(model):
            if not any(generator is other for other in own):
                stack.enter_context(_replaced(generator, "next", _folded(generator)))
        yield


def collecting_added_losses(forward: Callable) -> Callable:
    """Returns `forward` with a second result: what layers added to the loss, scalars.

    For use inside `tracing_a_step`, in the thread of one replica.
    """

    def collecting(*inputs, **options) -> tuple:
        terms: list[tf.Tensor] = []
        token = _added.set(terms)
        try:
            return forward(*inputs, **options), terms
        finally:
            _added.reset(token)

    return collecting


def weight_penalties(model: keras.Model) -> list[tf.Tensor]:
    """Returns the regularisation of each trainable variable that has one, scalars."""
    return [
        variable.regularizer(variable)
        for variable in model.trainable_variables
        if variable.regularizer is not None
    ]


def _collect(loss) -> None:
    _added.get().extend(tf.nest.flatten(loss))


def _folded(generator: keras.random.SeedGenerator):
    """Returns a `next` whose seeds differ in every part of the global batch.

    A generator's state, and so each draw, is the same on every replica. The number of
    the part is folded in; part 0 keeps its seed, so that one replica trains as Keras would.
    """
    draw = generator.next

    def next_seed(ordered: bool = True) -> tf.Tensor:
        seed = draw(ordered)
        part = batch_parts.part_index()
        folded = tf.random.experimental.stateless_fold_in(tf.cast(seed, tf.int64), part)
        return tf.where(part == 0, seed, tf.cast(folded, seed.dtype))

    return next_seed


@contextlib.contextmanager
def _replaced(thing: object, name: str, method) -> Iterator[None]:
    """Puts a method in the place of that of one object; a nested use is put back in turn."""
    attributes = vars(thing)
    before = {name: attributes[name]} if name in attributes else {}
    attributes[name] = method
    try:
        yield
    finally:
        del attributes[name]
        attributes.update(before)
