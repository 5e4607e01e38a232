"""The loss terms of a model, kept apart for each replica.

Keras collects what layers pass to `add_loss` (activity regularisers do) in a list on
the layer, which the replicas of one process share. Where their traces interleave,
as they do at every synchronised batch normalisation, a replica finds the terms of
others in `model.losses`. Here each forward pass collects its own.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

import keras
import tensorflow as tf

_collected: contextvars.ContextVar[list] = contextvars.ContextVar("mnist_lib_added_losses")


@contextlib.contextmanager
def kept_apart(model: keras.Model) -> Iterator[None]:
    """Sends what the layers of `model` add to the `collecting` of their own thread."""
    model_layers = list(model._flatten_layers())
    for layer in model_layers:
        vars(layer)["add_loss"] = lambda loss: _collected.get().extend(tf.nest.flatten(loss))
    try:
        yield
    finally:
        for layer in model_layers:
            del vars(layer)["add_loss"]


@contextlib.contextmanager
def collecting() -> Iterator[list[tf.Tensor]]:
    """Returns a list that holds what was added, scalars, once a forward pass is over."""
    terms: list[tf.Tensor] = []
    token = _collected.set(terms)
    try:
        yield terms
    finally:
        _collected.reset(token)


def weight_penalties(model: keras.Model) -> list[tf.Tensor]:
    """Returns the regularisation of each trainable variable that has one, scalars."""
    return [
        variable.regularizer(variable)
        for variable in model.trainable_variables
        if variable.regularizer is not None
    ]
