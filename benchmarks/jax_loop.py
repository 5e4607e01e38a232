"""JAX as its users write it: a Flax module, an Optax optimizer, one jitted step.

The images are in the device's memory, where the step takes its batch by index. State is
donated to the step, and no value comes back to Python before the turn is over.
"""

from __future__ import annotations

import functools
import time
import typing

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import arrays
from benchmarks.tasks import Task, Turn


def start(task: Task) -> JaxLoop:
    """Starts JAX."""
    return JaxLoop(task)


class Network(nn.Module):
    """The library's network of a name: images `[N, 28, 28, 1]` in [0, 1] to logits `[N, 10]`."""

    model: str

    @nn.compact
    def __call__(self, x: jax.Array, training: bool) -> jax.Array:
        dropout = functools.partial(nn.Dropout, deterministic=not training)
        if self.model == "mlp":
            x = _flat(x)
            for _ in range(2):
                x = dropout(0.2)(nn.relu(_dense(512)(x)))
        elif self.model == "lenet5":
            x = _pooled(nn.relu(_conv(6, 5, "SAME")(x)))
            x = _pooled(nn.relu(_conv(16, 5)(x)))
            x = nn.relu(_dense(84)(nn.relu(_dense(120)(_flat(x)))))
        elif self.model == "cnn":
            x = nn.relu(_conv(64, 3)(nn.relu(_conv(32, 3)(x))))
            x = dropout(0.25)(_pooled(x))
            x = dropout(0.5)(nn.relu(_dense(128)(_flat(x))))
        return _dense(10)(_flat(x))


def _pooled(x: jax.Array) -> jax.Array:
    return nn.max_pool(x, (2, 2), (2, 2))


def _flat(x: jax.Array) -> jax.Array:
    return x.reshape(len(x), -1)


def _dense(units: int) -> nn.Dense:
    return nn.Dense(units, kernel_init=nn.initializers.glorot_uniform())


def _conv(filters: int, kernel_size: int, padding: str = "VALID") -> nn.Conv:
    return nn.Conv(
        filters,
        (kernel_size, kernel_size),
        padding=padding,
        kernel_init=nn.initializers.glorot_uniform(),
    )


class _State(typing.NamedTuple):
    """What a step changes."""

    weights: typing.Any
    slots: typing.Any
    key: jax.Array


class JaxLoop:
    """A network, its optimizer and the images in the device's memory."""

    def __init__(self, task: Task):
        data = arrays.read(task.arrays)
        self._train = jnp.asarray(data.train_images), jnp.asarray(data.train_labels)
        self._validation = data.validation_images, data.validation_labels
        self._batch_size = task.batch_size
        self._network = Network(task.model)
        self._optimizer = optax.adam(1e-3, eps=1e-7)
        key, of_weights = jax.random.split(jax.random.key(task.seed))
        weights = self._network.init(of_weights, jnp.zeros([1, 28, 28, 1]), training=False)
        self._state = _State(weights, self._optimizer.init(weights), key)
        self._batches = self._shuffled_batches(np.random.default_rng(task.seed))
        self._step = jax.jit(self._stepped, donate_argnums=0)
        self._predict = jax.jit(lambda weights, images: self._logits(weights, images).argmax(-1))

    def train(self, num_steps: int) -> Turn:
        started = time.perf_counter()
        losses = []
        for _ in range(num_steps):
            self._state, loss = self._step(self._state, *self._train, next(self._batches))
            losses.append(loss)
        mean = float(jnp.stack(losses).mean())
        return Turn(mean, time.perf_counter() - started)

    def evaluate(self) -> float:
        images, labels = self._validation
        num_correct = 0
        for first in range(0, len(labels), 500):
            found = self._predict(self._state.weights, images[first : first + 500])
            num_correct += int((np.asarray(found) == labels[first : first + 500]).sum())
        return num_correct / len(labels)

    def _logits(self, weights, images, **options) -> jax.Array:
        x = images.astype(jnp.float32) / 255
        return self._network.apply(weights, x, training=bool(options), **options)

    def _stepped(self, state: _State, images, labels, indices) -> tuple[_State, jax.Array]:
        key, of_dropout = jax.random.split(state.key)

        def loss_of(weights):
            logits = self._logits(weights, images[indices], rngs={"dropout": of_dropout})
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels[indices])
            return losses.mean()

        loss, gradients = jax.value_and_grad(loss_of)(state.weights)
        updates, slots = self._optimizer.update(gradients, state.slots, state.weights)
        return _State(optax.apply_updates(state.weights, updates), slots, key), loss

    def _shuffled_batches(self, random: np.random.Generator):
        """Yields indices of batches without end; what is left of an epoch is dropped.

        A batch of another size would be compiled anew.
        """
        count = len(self._train[1])
        while True:
            order = random.permutation(count).astype(np.int32)
            for first in range(0, count - self._batch_size + 1, self._batch_size):
                yield order[first : first + self._batch_size]
