"""What of a run that goes wrong is noticed, and that nothing of it is saved."""

import dataclasses
import logging
import pathlib

import numpy as np
import pytest
import tensorflow as tf

import mnist_lib
from mnist_lib.runs import divergence

CONFIG = mnist_lib.recipe(
    "linear", batch_size=50, train_steps=24, eval_every=12, checkpoint_every=12, steps_per_loop=12
)


def _poison(value: float, step: int):
    """Returns a callback that spoils a weight after some step."""

    def poison(progress: mnist_lib.RunProgress) -> None:
        if progress.step == step:
            kernel = progress.model.trainable_variables[0]
            kernel.assign(np.full(kernel.shape, value))

    return poison


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_weights_that_are_not_finite_are_not_saved(value, small_dataset, tmp_path):
    with pytest.raises(mnist_lib.errors.DivergedError, match="kernel is not finite after step 24"):
        mnist_lib.train_and_evaluate(
            CONFIG, tmp_path / "run", data=small_dataset, callbacks=[_poison(value, 24)]
        )
    saved = sorted(tmp_path.glob("run/*/ckpt-*.index"))
    assert {path.parent.name for path in saved} == {"checkpoints", "best"}
    assert not list(tmp_path.glob("run/checkpoints/ckpt-24*"))
    for path in saved:
        assert _is_finite(path.with_suffix(""))
    assert not (tmp_path / "run" / "results.json").exists()
    # It goes on from what was whole.
    results = mnist_lib.train_and_evaluate(CONFIG, tmp_path / "run", data=small_dataset)
    assert results["step"] == 24


def _is_finite(prefix: pathlib.Path) -> bool:
    reader = tf.train.load_checkpoint(str(prefix))
    values = map(reader.get_tensor, reader.get_variable_to_shape_map())
    return all(np.isfinite(value).all() for value in values if not isinstance(value, bytes))


def test_a_slot_that_is_not_finite_is_named(tmp_path):
    model = mnist_lib.build_model("linear")
    optimizer = mnist_lib.build_optimizer("adam", 1e-3)
    optimizer.build(model.trainable_variables)
    check = divergence.VariablesCheck([*model.variables, *optimizer.variables])
    check.check(tmp_path, 3)
    slot = optimizer.variables[-1]
    slot.assign(np.full(slot.shape, np.inf))
    with pytest.raises(mnist_lib.errors.DivergedError, match="velocity is not finite after step 3"):
        check.check(tmp_path, 3)


def test_a_validation_loss_that_is_not_finite_ends_the_run(small_dataset, tmp_path, monkeypatch):
    metrics = mnist_lib.EvalMetrics(float("nan"), np.eye(10, dtype=np.int64))
    monkeypatch.setattr(mnist_lib.Evaluator, "evaluate", lambda *_: metrics)
    with pytest.raises(
        mnist_lib.errors.DivergedError, match="validation loss is nan after step 12"
    ):
        mnist_lib.train_and_evaluate(CONFIG, tmp_path / "run", data=small_dataset)
    # The one of the beginning is all.
    assert [path.stem for path in tmp_path.glob("run/*/ckpt-*.index")] == ["ckpt-0"]


@pytest.mark.parametrize(("learning_rate", "times"), [(1e-12, 1), (1e-3, 0)])
def test_a_model_that_only_guesses_is_told_of_once(
    learning_rate, times, small_dataset, tmp_path, caplog
):
    config = dataclasses.replace(CONFIG, learning_rate=learning_rate)
    with caplog.at_level(logging.WARNING, "mnist_lib"):
        mnist_lib.train_and_evaluate(config, tmp_path / "run", data=small_dataset)
    assert caplog.text.count("it does not learn") == times


@pytest.mark.parametrize(
    ("labels", "accuracy", "warns"),
    [([0, 1], 0.54, True), ([0, 1], 0.56, False), ([0, 0, 0, 1], 0.76, True), ([3, 3], 1.0, False)],
)
def test_guessing_depends_on_the_classes(labels, accuracy, warns, caplog):
    watch = divergence.GuessingWatch(np.array(labels), 10)
    watch.look(9, {"accuracy": 0.0})
    watch.look(10, {"loss": 1.0})
    assert not caplog.records
    watch.look(11, {"accuracy": accuracy})
    assert bool(caplog.records) == warns
