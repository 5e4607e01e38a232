"""Sees what every layer of a model returns while a step is traced.

Each layer, nested ones too, is listened to at its `call`: a model may be functional,
nested, subclassed, or use a layer twice. What a layer computes inside a loop, as the cell
of a recurrent layer does, stays there; the output of the loop is seen.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
from collections.abc import Callable, Iterator
from typing import TypeVar

import keras
import tensorflow as tf

from mnist_lib.training import keras_internals

_Result = TypeVar("_Result")
# Each output of a layer is one more result of the traced step, on every replica.
_MOST_OUTPUTS = 400

# (layer, what it returned), in the order in which the calls end; of one replica.
_calls: contextvars.ContextVar[list[tuple] | None] = contextvars.ContextVar(
    "mnist_lib_parity_calls", default=None
)


@dataclasses.dataclass(frozen=True)
class Output:
    """One output of one call of a layer, on one replica.

    Attributes:
      name: of the layer; with the number of the call if there are several.
      operation: the layer, or a Keras operation such as the sum of two tensors.
      value: in the graph of the step.
    """

    name: str
    operation: keras.Operation
    value: tf.Tensor


class Probe:
    """Listens to the layers of one model."""

    def __init__(self, model: keras.Model):
        """Finds the layers; the model must be built."""
        found: dict[int, keras.Operation] = {}
        for layer in keras_internals.flat_layers(model):
            for operation in [*getattr(layer, "operations", ()), layer]:
                if not isinstance(operation, keras.layers.InputLayer):
                    found[id(operation)] = operation
        self._operations = list(found.values())

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Listens while it is open, around `strategy.run`; the layers are as before then."""
        with contextlib.ExitStack() as stack:
            for operation in self._operations:
                stack.enter_context(_heard(operation))
            yield

    def outputs_of(self, function: Callable[[], _Result]) -> tuple[_Result, list[Output]]:
        """Calls a function, and returns its result and what the layers returned meanwhile.

        Call it inside `listening`, in the thread of one replica.
        """
        calls: list[tuple] = []
        token = _calls.set(calls)
        try:
            result = function()
        finally:
            _calls.reset(token)
        return result, _bounded(list(_outputs(calls)))


@contextlib.contextmanager
def _heard(operation: keras.Operation) -> Iterator[None]:
    attributes = vars(operation)
    before = {"call": attributes["call"]} if "call" in attributes else {}
    call = operation.call

    # Not with functools.wraps: AutoGraph would read the source of what is wrapped.
    def heard(*args, **kwargs):
        result = call(*args, **kwargs)
        calls = _calls.get()
        if calls is not None:
            calls.append((operation, result))
        return result

    attributes["call"] = heard
    try:
        yield
    finally:
        del attributes["call"]
        attributes.update(before)


def _outputs(calls: list[tuple]) -> Iterator[Output]:
    graph = tf.compat.v1.get_default_graph()
    seen: set[int] = set()
    count: dict[int, int] = {}
    for operation, result in calls:
        count[id(operation)] = number = count.get(id(operation), 0) + 1
        name = operation.name if number == 1 else f"{operation.name} (call {number})"
        for value in tf.nest.flatten(result):
            # What a model returns is what its last layer returned.
            if not tf.is_symbolic_tensor(value) or not isinstance(value, tf.Tensor):
                continue
            if value.graph is graph and value.dtype != tf.string and id(value) not in seen:
                seen.add(id(value))
                yield Output(name, operation, value)


def _bounded(outputs: list[Output]) -> list[Output]:
    """Leaves some out, evenly, if there are too many; the last one is the model's."""
    step = -(-len(outputs) // _MOST_OUTPUTS)
    return outputs if step <= 1 else outputs[::-1][::step][::-1]
