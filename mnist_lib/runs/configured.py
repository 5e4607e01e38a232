"""Makes what a configuration describes: its data, its model, its training loop."""

from __future__ import annotations

import dataclasses
import functools

import keras
import tensorflow as tf

from mnist_lib import choices, errors, models, runtime
from mnist_lib.datasets import catalog, loading
from mnist_lib.runs import config_checks
from mnist_lib.runs.config import TrainConfig
from mnist_lib.runs.own_parts import OwnParts
from mnist_lib.training import (
    augmentation,
    evaluator,
    losses,
    optimizers,
    own_metrics,
    trainer,
)


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
    dtype = data.train.images.dtype
    if config.model != choices.OWN and dtype != "uint8":
        raise errors.ConfigError(
            "model",
            f"{config.model} takes images in uint8, and {data.name} has {dtype}; give a model of "
            "your own that takes them, model=",
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


def build_model(
    config: TrainConfig,
    num_classes: int,
    image_shape: tuple[int, int, int],
    own: OwnParts | None = None,
) -> keras.Model:
    """Builds the model that a configuration describes, or its user's own.

    Raises:
      ConfigError: it is their own, and they have not passed it; the images are too small.
    """
    runtime.check_floatx()
    own = own or OwnParts()
    if own.model is not None:
        return own.build_model(config)
    if config.model == choices.OWN:
        raise errors.ConfigError(
            "model", "is the run's own, which no name can build; pass model=, a function of it"
        )
    return models.build_model(
        config.model,
        activation=config.activation,
        pooling=config.pooling,
        dropout=config.dropout,
        width=config.width,
        num_classes=num_classes,
        image_shape=image_shape,
        seed=config.seed,
        mixed_precision=config.mixed_precision,
    )


def build_trainer(
    config: TrainConfig,
    data: loading.ImageDataset,
    strategy: tf.distribute.Strategy,
    own: OwnParts | None = None,
) -> trainer.Trainer:
    """Builds the model, the optimizer and the loop that a configuration describes.

    Args:
      config: the configuration.
      data: what to train on.
      strategy: where to train.
      own: parts that its user has made; None: none.

    Raises:
      ConfigError: XLA is asked for and would only slow the model down.
    """
    own = own or OwnParts()
    with strategy.scope():
        model = build_model(config, len(data.class_names), data.train.image_shape, own)
        if config.jit_compile:
            _check_gains_by_xla(model)
        build = own.optimizer or functools.partial(_build_optimizer, config, len(data.train))
        optimizer = build()
    # Evaluation uses `config.loss` as it is.
    loss: losses.Loss = config.loss if own.loss is None else own.loss
    if config.label_smoothing:
        loss = losses.smoothed_cross_entropy(config.label_smoothing)
    return trainer.Trainer(
        model,
        optimizer,
        loss=loss,
        reported_loss=config.loss if config.label_smoothing else None,
        strategy=strategy,
        augment=augmentation.named_augmentation(config.augmentation, config.seed),
        accumulation_steps=config.accumulation_steps,
        jit_compile=config.jit_compile,
    )


def _build_optimizer(config: TrainConfig, num_train: int) -> keras.optimizers.Optimizer:
    schedule = optimizers.LearningRate(
        config.lr_schedule,
        config.learning_rate,
        config.total_steps(num_train),
        config.warmup_steps,
    )
    return optimizers.build_optimizer(
        config.optimizer,
        schedule,
        config.weight_decay,
        beta_1=config.beta_1,
        beta_2=config.beta_2,
        clip_norm=config.clip_norm,
        ema_momentum=config.ema_momentum,
        scale_loss=config.mixed_precision == "float16",
    )


def build_evaluator(
    config: TrainConfig, model: keras.Model, strategy: tf.distribute.Strategy, own: OwnParts
) -> evaluator.Evaluator:
    """Builds what a run is evaluated with."""
    with strategy.scope():
        metrics = own.metrics() if own.metrics is not None else (own_metrics.ACCURACY,)
    return evaluator.Evaluator(
        model,
        loss=config.loss if own.loss is None else own.loss,
        metrics=metrics,
        strategy=strategy,
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
