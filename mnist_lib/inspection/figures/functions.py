"""Pictures of what a single unit computes: activation functions, and what it separates."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mnist_lib.inspection.figures import style
from mnist_lib.models import activations

_TITLES = {
    "sigmoid": r"sigmoid: $1 / (1 + e^{-x})$",
    "tanh": r"tanh: $(e^x - e^{-x}) / (e^x + e^{-x})$",
    "relu": r"ReLU: $\max(0, x)$",
    "leaky_relu": rf"leaky ReLU: $\max({activations.LEAKY_RELU_SLOPE}\,x, x)$",
    "elu": r"ELU: $x$ if $x > 0$, else $e^x - 1$",
    "maxout": r"maxout of $x$ and $-x/2 - 1$",
}
# Inputs (x1, x2), and what a gate makes of them.
CORNERS = np.array([(0, 0), (0, 1), (1, 0), (1, 1)], np.float64)
GATES = {"AND": (0, 0, 0, 1), "OR": (0, 1, 1, 1), "XOR": (0, 1, 1, 0)}


@style.styled
def draw_activations() -> Figure:
    """Draws the library's activation functions and their derivatives."""
    figure = style.new_figure(10, 6)
    x = np.linspace(-4, 4, 401, dtype=np.float32)
    for number, (name, title) in enumerate(_TITLES.items()):
        axes = figure.add_subplot(2, 3, number + 1)
        y, slope = activation_values(name, x)
        if name == "maxout":
            for piece in (x, -x / 2 - 1):
                axes.plot(x, piece, color="0.6", linestyle=":", linewidth=1.5)
        axes.axhline(0, color="0.5", linewidth=0.8)
        axes.axvline(0, color="0.5", linewidth=0.8)
        axes.plot(x, y, color=style.BLUE, linewidth=2.2, label="function")
        axes.plot(x, slope, color=style.VERMILION, linestyle="--", linewidth=1.8)
        axes.set(title=title, xlim=(-4, 4), ylim=(-1.5, 2.5))
        axes.grid()
        if number % 3 == 0:
            axes.set_ylabel("output")
        if number >= 3:
            axes.set_xlabel("input x")
    lines = axes.get_lines()[-2:]
    figure.legend(lines, ["function", "derivative"], loc="outside upper center", ncols=2)
    return figure


def activation_values(name: str, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns an activation and its derivative.

    Args:
      name: a name in `choices.NAMES["activation"]`; maxout is that of x and -x / 2 - 1.
      x: float32 `[n]`.

    Returns:
      Two float32 `[n]`.
    """
    layer = activations.activation_layer(name)
    inputs = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        if name == "maxout":
            outputs = layer(tf.stack([inputs, -inputs / 2 - 1], axis=1))[:, 0]
        else:
            outputs = layer(inputs)
    return outputs.numpy(), tape.gradient(outputs, inputs).numpy()


@style.styled
def draw_separability() -> Figure:
    """Draws what one perceptron separates, AND and OR, and what none can, XOR.

    No line has the two corners of XOR on one side (Minsky and Papert 1969).
    """
    figure = style.new_figure(10, 4.4)
    for number, (gate, targets) in enumerate(GATES.items()):
        axes = figure.add_subplot(1, 3, number + 1)
        weights, num_passes = train_perceptron(np.array(targets))
        _draw_gate(axes, np.array(targets), weights)
        axes.set(xlabel="$x_1$", title=_gate_title(gate, weights, num_passes))
        if number == 0:
            axes.set_ylabel("$x_2$")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def train_perceptron(targets: np.ndarray, max_passes: int = 100) -> tuple[np.ndarray, int | None]:
    """Trains a perceptron on the four corners by Rosenblatt's rule (1958).

    A corner x on the wrong side of the line, or on it, adds (1, x) to the weights where the
    target is 1, and takes it from them where it is 0.

    Args:
      targets: 0 or 1, integers `[4]`, in the order of `CORNERS`.
      max_passes: over the four corners.

    Returns:
      The weights, float64 `[3]`, the bias first: output 1 where their product with (1, x) is
      positive. And the number of the first pass without a mistake; None: there was none.
    """
    inputs = np.column_stack([np.ones(4), CORNERS])
    weights = np.zeros(3)
    for num_passes in range(1, max_passes + 1):
        num_wrong = 0
        for x, sign in zip(inputs, 2 * targets - 1, strict=True):
            if sign * (weights @ x) <= 0:
                weights += sign * x
                num_wrong += 1
        if not num_wrong:
            return weights, num_passes
    return weights, None


def _gate_title(gate: str, weights: np.ndarray, num_passes: int | None) -> str:
    if num_passes is None:
        return f"{gate}: no line separates\nthe corners of the two outputs"
    bias, first, second = weights
    equation = rf"${first:g}\,x_1 {second:+g}\,x_2 {bias:+g} = 0$"
    return f"{gate}: separated after {num_passes - 1} passes\nby {equation}"


def _draw_gate(axes: Axes, targets: np.ndarray, weights: np.ndarray) -> None:
    ends = np.array([-0.5, 1.5])
    outputs = np.column_stack([np.ones(4), CORNERS]) @ weights > 0
    if np.array_equal(outputs, targets):
        bias, first, second = weights
        height = -(bias + first * ends) / second
        axes.plot(ends, height, color="black", linewidth=2)
        axes.fill_between(ends, height, 2, color=style.ORANGE, alpha=0.2, linewidth=0)
        axes.fill_between(ends, height, -1, color=style.BLUE, alpha=0.15, linewidth=0)
    else:
        for value, colour in ((0, style.BLUE), (1, style.ORANGE)):
            axes.plot(*CORNERS[targets == value].T, color=colour, linestyle=":", linewidth=2)
    for value, marker, colour in ((0, "o", style.BLUE), (1, "s", style.ORANGE)):
        points = CORNERS[targets == value].T
        axes.plot(
            *points,
            marker,
            color=colour,
            markersize=13,
            markeredgecolor="black",
            label=f"output {value}",
        )
    axes.set(xlim=(-0.5, 1.5), ylim=(-0.5, 1.5), xticks=(0, 1), yticks=(0, 1), aspect="equal")
