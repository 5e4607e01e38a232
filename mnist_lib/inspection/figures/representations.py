"""Where a network puts images before its last layer, in two axes."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
from collections.abc import Sequence

import keras
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.sparse import linalg

from mnist_lib import choices, errors
from mnist_lib.datasets.splits import Split
from mnist_lib.inspection.figures import layer_outputs, style

_BATCH_SIZE = 500
_WHOLE_DECOMPOSITION = 64


@dataclasses.dataclass(frozen=True, eq=False)
class PrincipalComponents:
    """Points on the axes along which they vary most.

    Attributes:
      coordinates: floats `[N, k]`.
      explained: floats `[k]`, the share of all variance along each axis, in [0, 1].
    """

    coordinates: np.ndarray
    explained: np.ndarray


def principal_components(points: np.ndarray, count: int = 2) -> PrincipalComponents:
    """Projects points onto their principal components (Hotelling 1933).

    By a singular value decomposition: the whole of a small one, of a large one by the
    Lanczos method only what is asked for.

    Args:
      points: floats `[N, d]`, N and d at least `count`.
      count: how many components, k.

    Returns:
      The projections; the sign of each axis is such that its largest coordinate is positive.
    """
    centred = np.asarray(points, np.float64)
    centred = centred - centred.mean(0)
    total = np.square(centred).sum()
    if not total:
        return PrincipalComponents(np.zeros((len(points), count)), np.zeros(count))
    smaller = min(centred.shape)
    if smaller <= _WHOLE_DECOMPOSITION:
        left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    else:
        # The smallest comes first here; any start that does not depend on chance.
        start = np.random.default_rng(0).normal(size=smaller)
        left, sizes, _ = linalg.svds(centred, k=count, v0=start)
        left, sizes = left[:, ::-1], sizes[::-1]
    coordinates = left[:, :count] * sizes[:count]
    largest = np.abs(coordinates).argmax(0)
    signs = np.sign(coordinates[largest, np.arange(count)])
    return PrincipalComponents(coordinates * signs, sizes[:count] ** 2 / total)


@style.styled
def draw_embedding(
    model: keras.Model,
    split: Split,
    class_names: Sequence[str] = tuple("0123456789"),
    *,
    projection: str = "pca",
    num_images: int = 2000,
    features: np.ndarray | None = None,
    caption: str = "",
) -> Figure:
    """Draws images where the network puts them: the input of its last layer, in two axes.

    Principal components keep distances, as far as two axes can; t-SNE keeps who is near whom,
    and what lies far apart in it means nothing.

    Args:
      model: a functional model of the split's images.
      split: a stratified choice of its images is drawn.
      class_names: one name per label.
      projection: `"pca"`, or `"tsne"`, which needs scikit-learn.
      num_images: at most so many.
      features: what `penultimate_features` says of those images, if it is known.
      caption: a line below.

    Raises:
      ConfigError: the model has no such layer, or one with a single input; no such projection, or
        scikit-learn is not installed.
    """
    choices.check("projection", projection)
    if projection == "tsne" and importlib.util.find_spec("sklearn") is None:
        raise errors.ConfigError(
            "projection", "tsne needs scikit-learn: pip install 'mnist_lib[tsne]', or take pca"
        )
    chosen = split.subset(min(num_images, len(split)))
    if features is None:
        features = penultimate_features(model, chosen.images)
    if features.shape[1] < 2:
        raise errors.ConfigError("model", f"the last layer of {model.name} has a single input")
    figure = style.new_figure(7.4, 6.6, caption)
    axes = figure.add_subplot(title=f"{len(chosen):,} images, where the last layer finds them")
    if projection == "pca":
        components = principal_components(features)
        first, second = components.explained
        points = components.coordinates
        axes.set_xlabel(f"1st principal component ({first:.0%} of the variance)")
        axes.set_ylabel(f"2nd principal component ({second:.0%})")
    else:
        points = _tsne(features)
        axes.set(xlabel="t-SNE: neighbours stay near, far distances mean nothing")
        axes.set(xticks=[], yticks=[])
    _draw_classes(axes, points, chosen.labels, class_names)
    return figure


def _tsne(features: np.ndarray) -> np.ndarray:
    """Returns points `[N, 2]` by t-SNE (van der Maaten and Hinton 2008), the same each time."""
    manifold = importlib.import_module("sklearn.manifold")
    # Its default, or less where there are too few points for it.
    perplexity = min(30.0, (len(features) - 1) / 3)
    return manifold.TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(features)


def _draw_classes(
    axes: Axes, points: np.ndarray, labels: np.ndarray, class_names: Sequence[str]
) -> None:
    """Draws points `[N, 2]`, each class in its look, and its name where its middle is."""
    looks = style.class_styles(len(class_names))
    for label in np.unique(labels):
        look = looks[label]
        axes.plot(
            *points[labels == label].T,
            look["marker"],
            color=look["color"],
            markersize=4,
            alpha=0.6,
            markeredgewidth=0,
        )
    for label in np.unique(labels):
        axes.text(
            np.median(points[labels == label, 0]),
            np.median(points[labels == label, 1]),
            class_names[label],
            ha="center",
            va="center",
            fontsize=13,
            fontweight="bold",
            bbox={
                "boxstyle": "round,pad=0.25",
                "facecolor": "white",
                "edgecolor": looks[label]["color"],
                "alpha": 0.9,
            },
        )


def penultimate_features(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Returns what goes into the last layer, float32 `[N, d]`.

    Raises:
      ConfigError: the model takes no images, or its last layer several tensors.
    """
    layer_outputs.image_shape(model)
    (last,) = layer_outputs.tensors_of(model, model.layers[-1], "input")
    inner = keras.Model(model.inputs[0], last)
    starts = range(0, len(images), _BATCH_SIZE)
    # Not in a graph: tracing would take longer.
    parts = [inner(images[i : i + _BATCH_SIZE], training=False) for i in starts]
    return np.concatenate(parts).reshape(len(images), -1).astype(np.float32)
