"""What TensorBoard shows of a run before its first step."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from mnist_lib import version
from mnist_lib.datasets.loading import ImageDataset
from mnist_lib.inspection import opening_summaries
from mnist_lib.runs.config import TrainConfig
from mnist_lib.training import augmentation

_NUM_SAMPLES = 15
_DIGITS_OF_HASH = 16


def of_run(
    config: TrainConfig,
    dataset: ImageDataset,
    model: keras.Model,
    graph: tf.Graph | None,
    facts: Mapping,
) -> opening_summaries.Beginning:
    """Returns what is shown of a run.

    Args:
      config, dataset, model: what it is of.
      graph: of its training steps; None: nothing is left to train.
      facts: what `run.json` holds of it.
    """
    sizes = f"{len(dataset.train)}, {len(dataset.validation)} for validation"
    shown = {
        "mnist_lib": version.__version__,
        "command": shlex.join(sys.argv),
        "data set": dataset.name,
        "training images": sizes,
        "parameters": f"{model.count_params():,}",
    }
    for split in ("train", "validation"):
        shown[f"SHA-256 of {split}"] = str(facts[f"{split}_sha256"])[:_DIGITS_OF_HASH]
    samples = dataset.train.images[:_NUM_SAMPLES]
    if samples.dtype != np.uint8 or samples.shape[-1] not in (1, 3):  # no picture to a browser
        samples = samples[:0]
    augmented = samples[:0]
    augment = augmentation.named_augmentation(config.augmentation, config.seed)
    if augment is not None and len(samples):
        augmented = np.asarray(augment(tf.constant(samples), tf.constant(0, tf.int64)))
    return opening_summaries.Beginning(
        configuration=dataclasses.asdict(config),
        differences=config.differences(),
        facts=shown,
        model=model,
        graph=graph,
        samples=samples,
        augmented=augmented,
    )
