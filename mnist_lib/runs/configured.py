"""Makes what a configuration describes: its data, its model, its training loop."""

from __future__ import annotations

import dataclasses

import keras
import tensorflow as tf

from mnist_lib import choices, errors, models
from mnist_lib.datasets import catalog, loading
from mnist_lib.runs import config_checks
from mnist_lib.runs.config import TrainConfig
from mnist_lib.training import augmentation, losses, optimizers, trainer


def load_dataset(config: TrainConfig) -> loading.ImageDataset:
    """Loads the data that a configuration describes."""
    return loading.load_dataset(
        config.dataset,
        data_dir=config.data_dir,
        manual_dir=config.manual_dir,
        download=config.download,
        validation_size=config.validation_size,
        train_size=config.train_size,
    )


def is_own(data: loading.ImageDataset) -> bool:
    """Whether data is somebody's own, which no name can load again."""
    return data.name not in catalog.CATALOG or data.train.numbers is None


def with_data(
    config: TrainConfig, data: loading.ImageDataset
) -> tuple[TrainConfig, loading.ImageDataset]:
    """Puts a configuration in force on data that is given, and tells of the data in it.

    Args:
      config: the configuration that is asked for.
      data: what to train on, left as it is.

    Returns:
      The configuration, with the name and sizes of the data, and the data that is used.

    Raises:
      ConfigError: the two contradict each other, or the data cannot be used.
    """
    own = is_own(data)
    if config.dataset not in (choices.AUTO, data.name):
        raise errors.ConfigError(
            "dataset", f"is {config.dataset}, and data= is {data.name}; leave one of them out"
        )
    num_validation = len(data.validation)
    if config.validation_size not in (TrainConfig.validation_size, num_validation):
        raise errors.ConfigError(
            "validation_size",
            f"is {config.validation_size}, and data= has {num_validation} validation images; leave "
            "it out, or give data with as many",
        )
    train_size = config.train_size
    if train_size is not None:
        data = data.with_train(data.train.subset(train_size))
    if own:
        _check_own(config, data)
    elif len(data.train) < catalog.dataset_info(data.name).num_train - num_validation:
        train_size = len(data.train)
    config_checks.check_sizes(config, len(data.train))
    config = dataclasses.replace(
        config,
        dataset=config.dataset if own else data.name,
        validation_size=num_validation,
        train_size=train_size,
    )
    return config, data


def _check_own(config: TrainConfig, data: loading.ImageDataset) -> None:
    images = data.train
    if (images.image_shape, images.images.dtype) != ((28, 28, 1), "uint8"):
        raise errors.ConfigError(
            "model",
            f"{config.model} takes images of 28x28x1 in uint8, and {data.name} has "
            f"{'x'.join(map(str, images.image_shape))} in {images.images.dtype}; pass a model of "
            "your own to mnist_lib.Trainer and Evaluator",
        )
    if not len(data.test):  # now, and not when all is trained
        raise errors.ConfigError(
            "data", f"{data.name} has no images to test on; give it a test split"
        )


def data_facts(data: loading.ImageDataset) -> dict:
    """Returns what a run keeps of the data it is of, as JSON takes it.

    Of data that can be loaded again the test split is left for the end.
    """
    own = is_own(data)
    return {
        "dataset": data.name,
        "own_data": own,
        "stands_in_for": data.stands_in_for,
        "class_names": list(data.class_names),
        "image_shape": list(data.train.image_shape),
        "image_dtype": str(data.train.images.dtype),
        "train_sha256": data.train.sha256,
        "validation_sha256": data.validation.sha256,
        **({"test_sha256": data.test.sha256} if own else {}),
        "num_train": len(data.train),
        "num_validation": len(data.validation),
    }


def build_model(config: TrainConfig, num_classes: int) -> keras.Model:
    """Builds the model that a configuration describes."""
    return models.build_model(
        config.model,
        activation=config.activation,
        pooling=config.pooling,
        dropout=config.dropout,
        num_classes=num_classes,
        seed=config.seed,
        mixed_precision=config.mixed_precision,
    )


def build_trainer(
    config: TrainConfig, num_train_examples: int, num_classes: int, strategy: tf.distribute.Strategy
) -> trainer.Trainer:
    """Builds the model, the optimizer and the loop that a configuration describes.

    Args:
      config: the configuration.
      num_train_examples: images to train on, from which its number of steps follows.
      num_classes: number of logits.
      strategy: where to train.

    Raises:
      ConfigError: XLA is asked for and would only slow the model down.
    """
    schedule = optimizers.LearningRate(
        config.lr_schedule,
        config.learning_rate,
        config.total_steps(num_train_examples),
        config.warmup_steps,
    )
    with strategy.scope():
        model = build_model(config, num_classes)
        if config.jit_compile:
            _check_gains_by_xla(model)
        optimizer = optimizers.build_optimizer(
            config.optimizer,
            schedule,
            config.weight_decay,
            beta_1=config.beta_1,
            beta_2=config.beta_2,
            clip_norm=config.clip_norm,
            ema_momentum=config.ema_momentum,
            scale_loss=config.mixed_precision == "float16",
        )
    # Evaluation uses `config.loss` as it is.
    smoothed = losses.smoothed_cross_entropy(config.label_smoothing)
    return trainer.Trainer(
        model,
        optimizer,
        loss=smoothed if config.label_smoothing else config.loss,
        strategy=strategy,
        augment=augmentation.named_augmentation(config.augmentation, config.seed),
        accumulation_steps=config.accumulation_steps,
        jit_compile=config.jit_compile,
    )


def _check_gains_by_xla(model: keras.Model) -> None:
    convolutions = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
    slow = [layer.name for layer in model.layers if isinstance(layer, convolutions)]
    if slow and not tf.config.list_logical_devices("GPU"):
        raise errors.ConfigError(
            "jit_compile",
            f"XLA makes convolutions ({', '.join(slow)}) on a CPU about five times slower; "
            "leave it out",
        )
