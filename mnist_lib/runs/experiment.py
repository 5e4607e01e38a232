"""From a configuration to a finished run directory."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import logging
import os
from collections.abc import Callable, Sequence

import keras

from mnist_lib import choices, errors, progress, runtime
from mnist_lib.datasets import loading, preparation
from mnist_lib.distribution import agreement, division, strategies, tensorflow_internals
from mnist_lib.runs import (
    config_checks,
    configured,
    interruption,
    opening,
    own_parts,
    provenance,
    resuming,
    run_directory,
)
from mnist_lib.runs.callbacks import Callback
from mnist_lib.runs.config import TrainConfig
from mnist_lib.training import losses, own_metrics

_logger = logging.getLogger(__name__)


def train_and_evaluate(
    config: TrainConfig,
    workdir: str | os.PathLike[str] | None = None,
    *,
    data: loading.ImageDataset | None = None,
    model: Callable[[], keras.Model] | None = None,
    optimizer: Callable[[], keras.optimizers.Optimizer] | None = None,
    loss: losses.Loss | None = None,
    metrics: Callable[[], own_metrics.Metrics] | None = None,
    callbacks: Sequence[Callback] = (),
    allow_other_replicas: bool = False,
) -> dict:
    """Trains to the end, resuming if `workdir` holds a run, and tests once.

    Args:
      config, workdir: the configuration; the run directory, None for a new one in `runs/`.
      data: what to train on, instead of loading `config.dataset`. `train_size` chooses of
        it; its validation split is used as it is, and `config.json` says how large it is.
      model: a function that returns a new model, in place of `config.model`; called under the
        strategy, with Keras's seeds from `config.seed` and in `config.mixed_precision`.
      optimizer, loss: likewise; as for `Trainer`. In place of `config.optimizer` with its
        fields, and of `config.loss`.
      metrics: returns what `Evaluator` takes, called likewise; None for the accuracy.
      callbacks: get a `RunProgress` after each validation; what is true stops the run, saved.
      allow_other_replicas: whether a run may go on with another strategy or number of
        replicas (no longer bitwise the same then).

    What no file can rebuild is passed again when the run goes on, and compared by hashes.

    Returns:
      What `results.json` holds. A finished run returns it, unless it is asked for more steps,
      which a constant learning rate allows.

    Raises:
      ConfigError: `workdir` holds a run of another configuration, other data or other
        parts, or the configuration does not fit `data`.
      OutputError: `workdir` cannot be used.
      DataNotFoundError, CorruptDataError: from the data.
      DivergedError: loss or gradient became infinite or NaN.
      RunInterruptedError: a signal arrived; the state was saved.
      WorkerLostError: another worker of the run is lost or has failed.
      CheckpointError, StorageError: from reading or writing checkpoints.
    """
    own = own_parts.OwnParts(
        model=model, optimizer=optimizer, loss=loss, metrics=metrics, callbacks=callbacks
    )
    config = own.named_in(config)
    if data is not None:
        config, data = configured.with_data(config, data)
    else:
        config_checks.check_counts(config)
    if workdir is not None:  # before data is loaded
        results = _finished_results(
            run_directory.RunDirectory(workdir), config, allow_other_replicas, data
        )
        if results is not None and not own.are_any:
            return results
    elif config.strategy == "multi_worker_mirrored":
        raise errors.ConfigError("workdir", "several workers need one; pass the same to all")
    return _run_with_workers(config, workdir, data, own, allow_other_replicas)


def _run_with_workers(
    config: TrainConfig,
    workdir: str | os.PathLike[str] | None,
    data: loading.ImageDataset | None,
    own: own_parts.OwnParts,
    allow_other_replicas: bool,
) -> dict:
    runtime.check_not_forked()
    strategy = strategies.create_strategy(
        config.strategy,
        config.num_replicas,
        worker_timeout_seconds=config.worker_timeout_seconds,
        worker_port=config.worker_port,
    )
    workers = agreement.Workers(strategy, config.worker_timeout_seconds)
    with (
        progress.shown_lines(),
        workers.ending_together(),
        tensorflow_internals.op_determinism(config.deterministic),
    ):
        workers.check_same(provenance.versions() | config.common_fields())
        division.check_divides(
            config.batch_size, strategy.num_replicas_in_sync, config.accumulation_steps
        )
        return _run(config, workdir, data, own, allow_other_replicas, workers)


def _run(
    config: TrainConfig,
    workdir: str | os.PathLike[str] | None,
    data: loading.ImageDataset | None,
    own: own_parts.OwnParts,
    allow_other_replicas: bool,
    workers: agreement.Workers,
) -> dict:
    """Loads the data and trains, as one of `workers`."""
    is_auto = data is None and config.dataset == choices.AUTO
    data = data or configured.load_dataset(config)
    if is_auto:
        config = dataclasses.replace(config, dataset=data.name)
    run = run_directory.RunDirectory(workdir or run_directory.new_workdir(data.name, config.model))
    lock = run.lock() if workers.is_chief else contextlib.nullcontext()
    with lock, interruption.stop_on_signal() as stop:
        # Again, now that no other process can change it.
        results = _finished_results(run, config, allow_other_replicas, data)
        if results is not None and own.are_any:  # now that they can be made
            trainer = configured.build_trainer(config, data, workers.strategy, own)
            own_parts.check_same(run.first_facts(), own.facts(trainer))
        if results is None:
            stood_for = run.first_facts().get("stands_in_for")
            if stood_for and not data.stands_in_for:  # the warning is repeated
                data = copy.copy(data)
                data.stands_in_for = stood_for
                preparation.warn_of_substitute()
            loop = opening.open_run(
                config, run, data, workers, stop, own, allow_other_replicas=allow_other_replicas
            )
            results = loop.run()
            if data.stands_in_for:
                preparation.warn_of_substitute()
    return results


def _finished_results(
    run: run_directory.RunDirectory,
    config: TrainConfig,
    allow_other_replicas: bool,
    data: loading.ImageDataset | None,
) -> dict | None:
    """Checks that the run can be started or resumed; returns its results if it is finished.

    Args:
      run, config, allow_other_replicas: as for `train_and_evaluate`.
      data: what is to be trained on; None: not yet loaded.
    """
    run.check_usable()
    previous = run.read_config()
    if previous is None:
        return None
    if data is None and run.first_facts().get("own_data"):
        raise errors.ConfigError(
            "data",
            f"the run in {run.path} was trained on {run.first_facts()['dataset']}, which was "
            "passed as data=; pass it again, or a new --workdir",
        )
    if config.dataset == choices.AUTO:  # what it meant when the run was started
        config = dataclasses.replace(config, dataset=previous.dataset)
    num_train = run.first_facts().get("num_train") or previous.num_train_examples
    resuming.check_resumable(previous, config, num_train, allow_other_replicas=allow_other_replicas)
    if data is not None:
        run.check_same_data(configured.data_facts(data))
    results = run.read_results()
    if results is not None and results["step"] < config.total_steps(num_train):
        _logger.info(
            "%s: finished at step %d, and goes on to step %d",
            run.path,
            results["step"],
            config.total_steps(num_train),
        )
        return None
    if results is not None:
        _logger.info("%s: finished at step %d, nothing to do", run.path, results["step"])
    return results
