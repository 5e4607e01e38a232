"""Makes what a configuration describes: its data, its model, its training loop."""

from __future__ import annotations

import keras
import tensorflow as tf

from mnist_lib import errors, models
from mnist_lib.datasets import loading
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
