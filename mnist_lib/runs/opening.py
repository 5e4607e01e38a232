"""Opens a run: builds what is trained, restores it, and checks that it is the same run.

loop = open_run(config, run, dataset, workers, stop)
results = loop.run()
"""

from __future__ import annotations

import logging
import time

import tensorflow as tf

from mnist_lib import runtime
from mnist_lib.datasets.loading import ImageDataset
from mnist_lib.distribution import agreement
from mnist_lib.inspection import run_report
from mnist_lib.runs import configured, interruption, run_directory, run_loop, saved_state
from mnist_lib.runs.config import TrainConfig
from mnist_lib.training.evaluator import Evaluator
from mnist_lib.training.trainer import Trainer

_logger = logging.getLogger(__name__)


def open_run(
    config: TrainConfig,
    run: run_directory.RunDirectory,
    dataset: ImageDataset,
    workers: agreement.Workers,
    stop: interruption.StopRequest,
) -> run_loop.RunLoop:
    """Builds what is trained, restores it, and returns the loop that goes on from there.

    Args:
      config, dataset: what the run is of.
      run: the run directory, held by this process or the chief's.
      workers, stop: all workers of the run; what asks it to stop.

    Raises:
      ConfigError: the workers differ, or the data is not that of the run.
      CheckpointError: there are checkpoints, and none can be used.
    """
    started = time.monotonic()
    num_train, num_classes = len(dataset.train), len(dataset.class_names)
    trainer = configured.build_trainer(config, num_train, num_classes, workers.strategy)
    saved = saved_state.SavedState(run, trainer)
    was_restored = saved.restore()
    if not was_restored and run.has_begun():
        _logger.warning(
            "%s: holds no checkpoint, though the run had begun; starting at step 0", run.path
        )
    _check_same_run(config, run, dataset, workers, trainer.step if was_restored else None)
    total_steps = config.total_steps(num_train)
    if workers.is_chief:
        _logger.info("Run directory: %s", run.path)
        _logger.info("Starting at step %d of %d", trainer.step, total_steps)
    report = run_report.RunReport(
        run.path,
        step=trainer.step,
        total_steps=total_steps,
        level=config.summaries,
        show_bar=config.progress,
        is_chief=workers.is_chief,
    )
    if not was_restored:
        report.model(config.to_json(), _graph(trainer))
    batches = None
    if trainer.step < total_steps:  # else only the test is left
        batches = iter(trainer.distribute(dataset.train, config.batch_size, seed=config.seed))
        trainer.trace(batches)
    return run_loop.RunLoop(
        config=config,
        run_directory=run,
        dataset=dataset,
        workers=workers,
        stop=stop,
        trainer=trainer,
        evaluator=Evaluator(trainer.model, loss=config.loss, strategy=workers.strategy),
        saved=saved,
        report=report,
        batches=batches,
        total_steps=total_steps,
        startup_seconds=time.monotonic() - started,
    )


def _check_same_run(
    config: TrainConfig,
    run: run_directory.RunDirectory,
    dataset: ImageDataset,
    workers: agreement.Workers,
    restored_step: int | None,
) -> None:
    """Checks that all work on one run, the one that was begun; writes who does."""
    facts = _facts(config, dataset, workers.strategy)
    of_each = ("devices", "runtime")
    common = {name: value for name, value in facts.items() if name not in of_each}
    workers.check_same({"checkpoint": restored_step} | common)
    run.check_same_data(facts)
    if workers.is_chief:
        run.write_config(config)
        for line in run.append_provenance(facts):
            _logger.warning("Not as when the run was started: %s", line)


def _facts(config: TrainConfig, dataset: ImageDataset, strategy: tf.distribute.Strategy) -> dict:
    return {
        "seed": config.seed,
        "strategy": config.strategy,
        "num_replicas": strategy.num_replicas_in_sync,
        "runtime": runtime.applied_settings() | {"deterministic": config.deterministic},
        "devices": [device.name for device in tf.config.list_logical_devices()],
    } | configured.data_facts(dataset)


def _graph(trainer: Trainer) -> tf.Graph:
    """Returns the graph of the model's forward pass."""
    model = trainer.model
    signature = tf.TensorSpec(model.inputs[0].shape, model.inputs[0].dtype, name="image")
    forward = tf.function(lambda images: model(images, training=False), autograph=False)
    return forward.get_concrete_function(signature).graph
