"""The library's own loop, built as `scripts/train.py` builds it."""

from __future__ import annotations

import time

import mnist_lib
from benchmarks import arrays
from benchmarks.tasks import Task, Turn
from mnist_lib.runs import configured


def start(task: Task) -> OurLoop:
    """Starts `Trainer` under MirroredStrategy, or without a strategy as `default`."""
    return OurLoop(task)


class OurLoop:
    """`Trainer` and `Evaluator` on arrays in memory."""

    def __init__(self, task: Task):
        config = configuration(task)
        data = arrays.read(task.arrays)
        train = mnist_lib.Split("train", data.train_images, data.train_labels)
        strategy = mnist_lib.create_strategy(config.strategy)
        validation = mnist_lib.Split("validation", data.validation_images, data.validation_labels)
        dataset = mnist_lib.ImageDataset("arrays", train, validation, validation)
        self._trainer = configured.build_trainer(config, dataset, strategy)
        batches = mnist_lib.train_batches(train, config.batch_size, seed=config.seed)
        self._batches = iter(self._trainer.distribute(batches))
        model = self._trainer.model
        self._evaluator = mnist_lib.Evaluator(model, loss=config.loss, strategy=strategy)
        self._validation = validation

    def train(self, num_steps: int) -> Turn:
        started = time.perf_counter()
        metrics = self._trainer.train(self._batches, num_steps)
        return Turn(metrics.loss, time.perf_counter() - started)

    def evaluate(self) -> float:
        with self._trainer.averaged_weights():
            return self._evaluator.evaluate(mnist_lib.eval_batches(self._validation)).accuracy


def configuration(task: Task) -> mnist_lib.TrainConfig:
    """Returns what is trained: the task's recipe, or what the peers train."""
    if task.recipe is not None:
        return mnist_lib.recipe(task.recipe, seed=task.seed)
    return mnist_lib.TrainConfig(
        model=task.model,
        # Said, since the recipes of some networks have other schedules.
        optimizer="adam",
        learning_rate=1e-3,
        lr_schedule="constant",
        batch_size=task.batch_size,
        seed=task.seed,
        strategy="default" if task.contender == "default" else "mirrored",
        augmentation="full" if task.contender == "augmented" else "none",
    )
