"""Runs of a model, a loss, an optimizer and metrics of one's own; longer runs; other weights."""

import dataclasses
import json
import pathlib
import random
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import mnist_lib
from mnist_lib.runs import config as configs

ERROR = mnist_lib.errors.ConfigError
BASE = {"batch_size": 48, "summaries": "none", "strategy": "default", "progress": False}


def own_model(units=16, num_classes=10, shape=(28, 28, 1)):
    """A model with seeds of Keras's own, which the configuration's seed decides."""
    return keras.Sequential(
        [
            keras.Input(shape, dtype="uint8"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(units, activation="relu"),
            keras.layers.Dropout(0.1),
            keras.layers.Dense(num_classes),
        ],
        name="own_net",
    )


def own_optimizer():
    return keras.optimizers.SGD(0.05, momentum=0.9)


def squared_margin(labels, logits):
    """A loss that no name stands for."""
    wanted = 2 * tf.one_hot(labels, logits.shape[-1]) - 1
    return tf.reduce_mean(tf.square(wanted - logits), -1)


def weights_of(workdir, **options):
    return mnist_lib.load_model(workdir, **options).get_weights()


def assert_equal(one, other):
    for ours, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def stop_at(step):
    return lambda progress: progress.step >= step


PARTS = {"model": own_model, "optimizer": own_optimizer, "loss": squared_margin}


@pytest.fixture(scope="module")
def own_run(small_dataset, tmp_path_factory):
    """A run of parts of one's own, stopped by a callback and gone on with."""
    workdir = tmp_path_factory.mktemp("runs") / "own"
    config = mnist_lib.recipe("mlp", train_steps=30, eval_every=10, **BASE)
    told = []

    def arguments(*callbacks):
        return {
            "data": small_dataset,
            **PARTS,
            "metrics": lambda: ["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(3, "top")],
            "callbacks": [told.append, *callbacks],
        }

    before = random.getstate(), np.random.get_state()[1].copy(), keras.config.dtype_policy()
    with pytest.raises(mnist_lib.errors.RunInterruptedError, match="stopped by a callback, saved"):
        mnist_lib.train_and_evaluate(config, workdir, **arguments(stop_at(10)))
    assert random.getstate() == before[0]
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])
    assert keras.config.dtype_policy() == before[2]
    keras.layers.Dense(3)  # another process has made other layers before
    results = mnist_lib.train_and_evaluate(config, workdir, **arguments())
    return config, workdir, results, told


def test_own_parts_train_resume_and_are_found_again(own_run, small_dataset, tmp_path):
    config, workdir, results, told = own_run
    assert results["model"] == "own_net"
    assert results["num_parameters"] == own_model().count_params()
    assert results["test"]["accuracy"] > 0.5
    assert results["test"]["accuracy"] <= results["test"]["top"] <= 1
    stored = mnist_lib.load_config(workdir)
    assert (stored.model, stored.loss, stored.optimizer) == ("own", "own", "own")
    assert [progress.step for progress in told] == [10, 20, 30]
    assert all(isinstance(progress, mnist_lib.RunProgress) for progress in told)
    assert told[-1].validation.own.keys() == {"top"}

    # Bitwise what a run that nobody stopped gives.
    whole = mnist_lib.train_and_evaluate(config, tmp_path / "whole", data=small_dataset, **PARTS)
    assert_equal(
        weights_of(workdir, model=own_model), weights_of(tmp_path / "whole", model=own_model)
    )
    assert whole["test"]["loss"] == results["test"]["loss"]


def test_what_an_own_run_has_left_is_used_with_its_parts(own_run, small_dataset):
    _, workdir, results, _ = own_run
    metrics = mnist_lib.evaluate(workdir, data=small_dataset, model=own_model, loss=squared_margin)
    assert metrics.num_correct == results["test"]["num_correct"]
    assert metrics.loss == results["test"]["loss"]
    images = small_dataset.test.images
    probabilities = mnist_lib.predict(workdir, images, model=own_model)
    assert int((probabilities.argmax(-1) == small_dataset.test.labels).sum()) == metrics.num_correct
    for use in (
        lambda: mnist_lib.load_model(workdir),
        lambda: mnist_lib.evaluate(workdir, data=small_dataset),
        lambda: mnist_lib.predict(workdir, images),
        lambda: mnist_lib.evaluate(workdir, data=small_dataset, model=own_model),
    ):
        with pytest.raises(ERROR, match=r"(model|loss): is the run's own.* pass (model|loss)="):
            use()
    with pytest.raises(ERROR, match=r"model: is not that of the run: num_parameters 25450 against"):
        mnist_lib.load_model(workdir, model=lambda: own_model(32))


def other_model():
    """The same variables under the same names, and another activation."""
    model = own_model()
    config = model.get_config()
    config["layers"][3]["config"]["activation"] = "tanh"
    return keras.Sequential.from_config(config)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": lambda: own_model(32)}, "model: is not what the run was started with: num_par"),
        ({"model": other_model}, "model: is not what .*: config_sha256"),
        ({"model": None}, "model: is the run's own, which no name can build; pass model= again"),
        ({"optimizer": lambda: keras.optimizers.SGD(0.06, momentum=0.9)}, "optimizer: .*config_"),
        ({"optimizer": lambda: keras.optimizers.Adam(0.05)}, "optimizer: .*class Adam against SGD"),
        ({"optimizer": None}, "optimizer: is the run's own"),
        ({"loss": "hinge"}, "loss: is hinge, but the run in --workdir was started with own"),
        ({"loss": lambda labels, logits: logits[:, 0]}, "loss: .*<lambda> against squared_margin"),
        ({"loss": None}, "loss: is the run's own"),
    ],
)
@pytest.mark.parametrize("is_finished", [True, False])
def test_other_parts_are_refused(own_run, small_dataset, tmp_path, changed, message, is_finished):
    """Also of a finished run, whose results would be those of others."""
    config, workdir, results, _ = own_run
    if not is_finished:
        workdir = pathlib.Path(shutil.copytree(workdir, tmp_path / "run"))
        (workdir / "results.json").unlink()
    stored = mnist_lib.load_config(workdir) if None in changed.values() else config
    with pytest.raises(ERROR, match=message):
        mnist_lib.train_and_evaluate(stored, workdir, data=small_dataset, **(PARTS | changed))
    same = mnist_lib.train_and_evaluate(config, own_run[1], data=small_dataset, **PARTS)
    assert same == results


def test_a_model_of_one_s_own_takes_any_images(tmp_path):
    """Float images, 26 classes, no channel to speak of; and the recipe's optimizer."""
    rng = np.random.default_rng(0)

    def split(name, size):
        images = rng.uniform(-1, 1, (size, 20, 12, 2)).astype(np.float32)
        return mnist_lib.Split(name, images, np.arange(size) % 26, value_range=(-1, 1))

    data = mnist_lib.ImageDataset(
        "letters",
        split("train", 104),
        split("validation", 26),
        split("test", 52),
        class_names=tuple("abcdefghijklmnopqrstuvwxyz"),
    )

    def model():
        inputs = keras.Input((20, 12, 2))
        return keras.Model(inputs, keras.layers.Dense(26)(keras.layers.Flatten()(inputs)))

    config = mnist_lib.recipe("mlp", epochs=1, **(BASE | {"batch_size": 26}))
    with pytest.raises(ERROR, match=r"model: mlp takes images in uint8, .* model="):
        mnist_lib.train_and_evaluate(config, tmp_path / "named", data=data)
    results = mnist_lib.train_and_evaluate(config, tmp_path / "run", data=data, model=model)
    assert np.shape(results["test"]["confusion_matrix"]) == (26, 26)
    assert mnist_lib.load_config(tmp_path / "run").optimizer == "adam"
    probabilities = mnist_lib.predict(tmp_path / "run", data.test.images, model=model)
    assert probabilities.shape == (52, 26)


@pytest.mark.parametrize("name", ["mlp", "cnn", "lenet5", "linear", "fast_cnn"])
def test_named_models_take_images_of_any_size(name):
    model = mnist_lib.build_model(name, image_shape=(32, 40, 3), num_classes=7)
    assert model(np.zeros((2, 32, 40, 3), np.uint8)).shape == (2, 7)
    if name in ("cnn", "lenet5", "fast_cnn"):
        with pytest.raises(ERROR, match=r"image_shape: \[5, 5, 1\] is too small for"):
            mnist_lib.build_model(name, image_shape=(5, 5, 1))
    with pytest.raises(ERROR, match="is not height, width and channels"):
        mnist_lib.build_model(name, image_shape=(28, 28))


def test_a_run_without_accuracy_keeps_the_least_loss_as_best(small_dataset, tmp_path):
    """The height of the ink, say: one number per image."""

    def model():
        inputs = keras.Input((28, 28, 1), dtype="uint8")
        x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
        return keras.Model(inputs, keras.layers.Dense(1)(x))

    def squared(labels, outputs):
        return tf.square(outputs[:, 0] - tf.cast(labels, tf.float32))

    losses = []
    config = mnist_lib.recipe("mlp", train_steps=20, eval_every=5, **BASE)
    results = mnist_lib.train_and_evaluate(
        config,
        tmp_path / "run",
        data=small_dataset,
        model=model,
        loss=squared,
        callbacks=[lambda progress: losses.append(progress.validation.loss)],
    )
    assert results["test"]["accuracy"] is None
    assert results["test"]["num_correct"] is None
    assert results["train"].keys() == {"loss"}
    best = mnist_lib.evaluate(
        tmp_path / "run",
        split="validation",
        checkpoint="best",
        data=small_dataset,
        model=model,
        loss=squared,
    )
    assert best.loss == min(losses)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"model": own_model()}, "model: Sequential is not a function; pass one that makes it"),
        ({"optimizer": own_optimizer()}, "optimizer: SGD is not a function"),
        ({"metrics": ["accuracy"]}, "metrics: list is not a function"),
        ({"callbacks": ["print"]}, "callbacks: str is not a function"),
        (
            {"callbacks": [keras.callbacks.EarlyStopping()]},
            "callbacks: EarlyStopping is not a function; pass one that takes the progress",
        ),
        ({"model": lambda: 3}, "model: returned 3; return a keras.Model"),
        ({"model": lambda: keras.Sequential([keras.layers.Dense(3)])}, "give it an Input"),
        ({"loss": "mse"}, "loss: 'mse' is not one of"),
    ],
)
def test_parts_that_cannot_be_used_are_refused(small_dataset, tmp_path, parts, message):
    config = mnist_lib.recipe("mlp", train_steps=2, **BASE)
    with pytest.raises(ERROR, match=message):
        mnist_lib.train_and_evaluate(config, tmp_path / "run", data=small_dataset, **parts)


@pytest.mark.parametrize("field", ["clip_norm", "ema_momentum"])
def test_options_of_an_optimizer_that_is_not_used_are_refused(field, small_dataset, tmp_path):
    config = mnist_lib.recipe("mlp", train_steps=2, **{field: 0.5}, **BASE)
    with pytest.raises(ERROR, match=f"{field}: is for an optimizer of the configuration"):
        mnist_lib.train_and_evaluate(
            config, tmp_path / "run", data=small_dataset, optimizer=own_optimizer
        )


def test_averages_of_an_optimizer_of_one_s_own_are_what_is_evaluated(small_dataset, tmp_path):
    config = mnist_lib.recipe("mlp", train_steps=20, **BASE)
    results = mnist_lib.train_and_evaluate(
        config,
        tmp_path / "run",
        data=small_dataset,
        optimizer=lambda: keras.optimizers.Adam(1e-3, use_ema=True, ema_momentum=0.9),
    )
    found = mnist_lib.evaluate(tmp_path / "run", data=small_dataset)
    assert found.loss == results["test"]["loss"]


def test_a_finished_run_becomes_longer_and_is_the_longer_run(small_dataset, tmp_path):
    short = mnist_lib.recipe("mlp", train_steps=13, eval_every=10, **BASE)
    longer = configs.with_fields(dataclasses.asdict(short), {"epochs": 2})  # 25 steps
    mnist_lib.train_and_evaluate(short, tmp_path / "grown", data=small_dataset)
    grown = mnist_lib.train_and_evaluate(longer, tmp_path / "grown", data=small_dataset)
    whole = mnist_lib.train_and_evaluate(longer, tmp_path / "whole", data=small_dataset)
    for results in (grown, whole):
        results.pop("timing")
    assert grown == whole
    assert grown["step"] == 25
    assert_equal(weights_of(tmp_path / "grown"), weights_of(tmp_path / "whole"))
    assert mnist_lib.load_config(tmp_path / "grown").epochs == 2
    # It is finished at its new length, and does not become shorter.
    again = mnist_lib.train_and_evaluate(longer, tmp_path / "grown", data=small_dataset)
    assert again["step"] == 25
    with pytest.raises(ERROR, match=r"epochs: is 5, but .* it can only become longer"):
        mnist_lib.train_and_evaluate(short, tmp_path / "grown", data=small_dataset)


def test_a_stopped_run_becomes_longer(small_dataset, tmp_path):
    short = mnist_lib.recipe("mlp", train_steps=20, eval_every=5, **BASE)
    longer = dataclasses.replace(short, train_steps=30)
    with pytest.raises(mnist_lib.errors.RunInterruptedError):
        mnist_lib.train_and_evaluate(
            short, tmp_path / "grown", data=small_dataset, callbacks=[stop_at(5)]
        )
    mnist_lib.train_and_evaluate(longer, tmp_path / "grown", data=small_dataset)
    mnist_lib.train_and_evaluate(longer, tmp_path / "whole", data=small_dataset)
    assert_equal(weights_of(tmp_path / "grown"), weights_of(tmp_path / "whole"))


@pytest.fixture(scope="module")
def source(small_dataset, tmp_path_factory):
    """A run to begin with, with averages and random state."""
    workdir = tmp_path_factory.mktemp("runs") / "source"
    config = mnist_lib.recipe("mlp", train_steps=12, ema_momentum=0.9, **BASE)
    mnist_lib.train_and_evaluate(config, workdir, data=small_dataset)
    return workdir


def test_a_run_begins_with_the_weights_of_another(source, small_dataset, tmp_path):
    """Those it was evaluated with: a rate of next to nothing leaves them as they are."""
    still = {"train_steps": 1, "optimizer": "sgd", "learning_rate": 1e-30, "seed": 3}
    config = mnist_lib.recipe("mlp", init_from=str(source), **still, **BASE)
    results = mnist_lib.train_and_evaluate(config, tmp_path / "run", data=small_dataset)
    expected = weights_of(source)
    assert_equal(weights_of(tmp_path / "run"), expected)
    stored = json.loads((source / "results.json").read_text())
    assert results["test"]["num_correct"] == stored["test"]["num_correct"]

    # The same from a file.
    mnist_lib.load_model(source).save(tmp_path / "model.keras")
    config = dataclasses.replace(config, init_from=str(tmp_path / "model.keras"))
    mnist_lib.train_and_evaluate(config, tmp_path / "of_file", data=small_dataset)
    assert_equal(weights_of(tmp_path / "of_file"), expected)


def test_a_run_that_began_with_other_weights_resumes_without_them(source, small_dataset, tmp_path):
    moved = pathlib.Path(shutil.copytree(source, tmp_path / "source"))
    config = mnist_lib.recipe("mlp", init_from=moved, train_steps=10, eval_every=5, **BASE)
    run, whole = tmp_path / "run", tmp_path / "whole"
    mnist_lib.train_and_evaluate(config, whole, data=small_dataset)
    with pytest.raises(mnist_lib.errors.RunInterruptedError):
        mnist_lib.train_and_evaluate(config, run, data=small_dataset, callbacks=[stop_at(5)])
    shutil.rmtree(moved)
    mnist_lib.train_and_evaluate(config, run, data=small_dataset)
    assert_equal(weights_of(run), weights_of(whole))


def seven_classes(dataset):
    parts = {}
    for name in ("train", "validation", "test"):
        split = getattr(dataset, name)
        parts[name] = split.take(np.flatnonzero(split.labels < 7))
    return mnist_lib.ImageDataset("seven", **parts, class_names=tuple("0123456"))


def test_a_head_of_another_size_is_left_out_on_request(source, small_dataset, tmp_path):
    data = seven_classes(small_dataset)
    still = {"train_steps": 1, "optimizer": "sgd", "learning_rate": 1e-30}
    config = mnist_lib.recipe("mlp", init_from=str(source), **still, **BASE)
    with pytest.raises(ERROR, match=r"shape \[512, 10\] where .* has \[512, 7\]; --init_without"):
        mnist_lib.train_and_evaluate(config, tmp_path / "refused", data=data)
    config = dataclasses.replace(config, init_without_head=True)
    mnist_lib.train_and_evaluate(config, tmp_path / "run", data=data)
    found, expected = weights_of(tmp_path / "run"), weights_of(source)
    assert_equal(found[:4], expected[:4])
    assert found[-2].shape == (512, 7)


@pytest.mark.parametrize(
    ("init_from", "error", "message"),
    [
        ("nowhere", mnist_lib.errors.DataNotFoundError, "nowhere: is not there. Pass --init_from"),
        (".", mnist_lib.errors.DataNotFoundError, "no config.json there"),
        ("text.keras", ERROR, "is not a model that can be loaded safely"),
        ("lambda.keras", ERROR, "is not a model that can be loaded safely"),
        ("cnn.keras", ERROR, "is of another model: it has 8 variables, and ours 6"),
        ("narrow.keras", ERROR, r"shape \[784, 16\] where .* has \[784, 512\]$"),
    ],
)
def test_weights_that_do_not_fit_are_refused(init_from, error, message, small_dataset, tmp_path):
    (tmp_path / "text.keras").write_text("no model")
    if init_from == "lambda.keras":
        code = keras.layers.Lambda(lambda x: x + 1)
        keras.Sequential([keras.Input((4,)), code]).save(tmp_path / init_from)
    if init_from == "cnn.keras":
        mnist_lib.build_model("cnn").save(tmp_path / init_from)
    if init_from == "narrow.keras":
        keras.Sequential(
            [
                keras.Input((28, 28, 1)),
                keras.layers.Flatten(),
                keras.layers.Dense(16),
                keras.layers.Dense(512),
                keras.layers.Dense(10),
            ]
        ).save(tmp_path / init_from)
    config = mnist_lib.recipe("mlp", init_from=tmp_path / init_from, train_steps=1, **BASE)
    with pytest.raises(error, match=message):
        mnist_lib.train_and_evaluate(config, tmp_path / "run", data=small_dataset)
