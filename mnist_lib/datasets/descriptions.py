"""What data sets and their splits say of themselves."""

from __future__ import annotations

import typing
from collections.abc import Sequence

import numpy as np

from mnist_lib import markup

_MOST_CLASSES = 20  # of more, counts are not listed
_NUM_PICTURES = 10
_UNREAD = "not read yet"


def counts_line(labels: np.ndarray, num_classes: int = 0) -> str:
    """Returns how many images there are, and of each class.

    Args:
      labels: integers `[N]`.
      num_classes: how many classes there are; 0: as many as are seen.
    """
    if not len(labels):
        return "no images"
    counts = np.bincount(labels, minlength=num_classes)
    line = f"{len(labels)} images"
    if len(counts) <= _MOST_CLASSES:
        line += f", per class {' '.join(map(str, counts))}"
    return line


def kind(images: np.ndarray, value_range: tuple[float, float] | None) -> str:
    """Returns shape, dtype and range of the images `[N, H, W, C]`."""
    ends = f" in {value_range}" if value_range else ""
    return f"images {list(images.shape[1:])} {images.dtype}{ends}"


def split_html(split: typing.Any, class_names: Sequence[str] = ()) -> str:
    """Returns the first ten images of a `Split` with their labels in a row, as HTML."""
    shown, labels = split.images[:_NUM_PICTURES], split.labels[:_NUM_PICTURES]
    if split.value_range is not None:
        low, high = split.value_range
        shown = np.clip((shown - low) / (high - low) * 255, 0, 255).round().astype(np.uint8)
    if shown.shape[-1] != 3:
        shown = shown[..., 0]
    return markup.pictures(shown, [class_names[at] if class_names else str(at) for at in labels])


def dataset_text(dataset: typing.Any, *, read_test: bool) -> str:
    """Returns what an `ImageDataset` is and holds, a line per split.

    Args:
      dataset: the data set.
      read_test: whether its test split was read; it is not for this.
    """
    lines = [_headline(dataset)]
    for name, labels in _labels(dataset, read_test).items():
        counts = counts_line(labels, len(dataset.class_names)) if labels is not None else _UNREAD
        lines.append(f"  {name}: {counts}")
    return "\n".join(lines)


def dataset_html(dataset: typing.Any, *, read_test: bool) -> str:
    """Returns what `dataset_text` does as HTML, with the first images to train on."""
    names = dataset.class_names
    listed = list(names) if len(names) <= _MOST_CLASSES else []
    rows: list[list[object]] = []
    for name, labels in _labels(dataset, read_test).items():
        if labels is None:
            rows.append([name, _UNREAD, *([""] * len(listed))])
        else:
            counts = np.bincount(labels, minlength=len(names)).tolist()
            rows.append([name, len(labels), *(counts if listed else [])])
    table = markup.table(["split", "images", *listed], rows)
    return markup.paragraph(_headline(dataset)) + table + split_html(dataset.train, names)


def _headline(dataset: typing.Any) -> str:
    in_place = f" (in place of {dataset.stands_in_for})" if dataset.stands_in_for else ""
    train = dataset.train
    return (
        f"ImageDataset {dataset.name}{in_place}: {kind(train.images, train.value_range)}, "
        f"{len(dataset.class_names)} classes"
    )


def _labels(dataset: typing.Any, read_test: bool) -> dict[str, np.ndarray | None]:
    return {
        "train": dataset.train.labels,
        "validation": dataset.validation.labels,
        "test": dataset.test.labels if read_test else None,
    }
