"""Opens a run: builds what is trained, restores it, and checks that it is the same run.

loop = open_run(config, run, dataset, workers, stop)
results = loop.run()
"""

from __future__ import annotations

import logging
import time

import tensorflow as tf

from mnist_lib import choices, errors, runtime
from mnist_lib.datasets.loading import ImageDataset
from mnist_lib.distribution import agreement
from mnist_lib.inspection import run_report, weights
from mnist_lib.runs import (
    beginning,
    configured,
    initial_weights,
    interruption,
    own_parts,
    run_directory,
    run_loop,
    saved_state,
)
from mnist_lib.runs.config import TrainConfig
from mnist_lib.training import losses
from mnist_lib.training.trainer import Trainer

_logger = logging.getLogger(__name__)


def open_run(
    config: TrainConfig,
    run: run_directory.RunDirectory,
    dataset: ImageDataset,
    workers: agreement.Workers,
    stop: interruption.StopRequest,
    own: own_parts.OwnParts | None = None,
    *,
    allow_other_replicas: bool = False,
) -> run_loop.RunLoop:
    """Builds what is trained, restores it, and returns the loop that goes on from there.

    Args:
      config, dataset: what the run is of.
      run: the run directory, held by this process or the chief's.
      workers, stop: all workers of the run; what asks it to stop.
      own: parts of it that its user has made; None: none.
      allow_other_replicas: whether what was saved may be of others.

    Raises:
      ConfigError: the workers differ, or data, parts or what was saved are not of the run.
      CheckpointError: there are checkpoints, and none can be used; or there must be some.
    """
    started = time.monotonic()
    own = own or own_parts.OwnParts()
    trainer = configured.build_trainer(config, dataset, workers.strategy, own)
    facts = _facts(config, dataset, workers.strategy) | own.facts(trainer)
    own_parts.check_same(run.first_facts(), facts)
    saved = saved_state.SavedState(run, trainer, config, facts)
    step = _restored_step(saved, run, allow_other_replicas=allow_other_replicas)
    facts |= initial_weights.facts(run, trainer.model, config, was_restored=run.has_begun())
    _check_same_run(config, run, facts, workers, step)
    total_steps = config.total_steps(len(dataset.train))
    if workers.is_chief:
        _begin(config, run, facts, saved, is_new=step is None)
        _logger.info("Starting at step %d of %d", trainer.step, total_steps)
    report = _report(config, run, workers, trainer, dataset)
    batches, graph = None, None
    if trainer.step < total_steps:  # else only the test is left
        batches = iter(trainer.distribute(dataset.train, config.batch_size, seed=config.seed))
        graph = trainer.trace(batches)
    report.begin(beginning.of_run(config, dataset, trainer.model, graph, facts))
    return run_loop.RunLoop(
        config=config,
        run_directory=run,
        dataset=dataset,
        workers=workers,
        stop=stop,
        trainer=trainer,
        evaluator=configured.build_evaluator(config, trainer.model, workers.strategy, own),
        saved=saved,
        report=report,
        callbacks=own.callbacks,
        batches=batches,
        total_steps=total_steps,
        startup_seconds=time.monotonic() - started,
    )


def _restored_step(
    saved: saved_state.SavedState, run: run_directory.RunDirectory, *, allow_other_replicas: bool
) -> int | None:
    """Restores the run; returns at which step it is, None if nothing was saved ever."""
    was_restored = saved.restore(allow_other_replicas=allow_other_replicas)
    if not was_restored and run.has_begun():
        raise errors.CheckpointError(
            f"{run.checkpoints}: holds no checkpoint, though the run had begun. Restore them from "
            "a copy, or start again with a new --workdir."
        )
    return saved.step if was_restored else None


def _report(
    config: TrainConfig,
    run: run_directory.RunDirectory,
    workers: agreement.Workers,
    trainer: Trainer,
    dataset: ImageDataset,
) -> run_report.RunReport:
    probe = None
    if config.summaries == "full" and config.loss != choices.OWN:
        loss = losses.per_example_loss(config.loss)
        images, labels = dataset.train.images, dataset.train.labels
        size = config.batch_size
        probe = weights.GradientProbe(trainer.model, loss, images[:size], labels[:size])
    return run_report.RunReport(
        run.path,
        step=trainer.step,
        total_steps=config.total_steps(len(dataset.train)),
        level=config.summaries,
        show_bar=config.progress,
        is_chief=workers.is_chief,
        probe=probe,
    )


def _check_same_run(
    config: TrainConfig,
    run: run_directory.RunDirectory,
    facts: dict,
    workers: agreement.Workers,
    restored_step: int | None,
) -> None:
    """Checks that all work on one run, the one that was begun."""
    of_each = ("devices", "runtime")
    common = {name: value for name, value in facts.items() if name not in of_each}
    workers.check_same({"checkpoint": restored_step} | common)
    run.check_same_data(facts)


def _begin(
    config: TrainConfig,
    run: run_directory.RunDirectory,
    facts: dict,
    saved: saved_state.SavedState,
    *,
    is_new: bool,
) -> None:
    """Writes what is worked on and who does, after the first checkpoint of a new run."""
    run.write_config(config)
    run.discard_results()
    saved.tidy()
    if is_new:  # so that there is one wherever training can have left anything
        saved.save()
    for line in run.append_provenance(facts):
        _logger.warning("Not as when the run was started: %s", line)
    _logger.info("Run directory: %s", run.path)


def _facts(config: TrainConfig, dataset: ImageDataset, strategy: tf.distribute.Strategy) -> dict:
    return {
        "seed": config.seed,
        "strategy": config.strategy,
        "num_replicas": strategy.num_replicas_in_sync,
        "runtime": runtime.applied_settings() | {"deterministic": config.deterministic},
        "devices": [device.name for device in tf.config.list_logical_devices()],
    } | configured.data_facts(dataset)
