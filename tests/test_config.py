import dataclasses

import numpy as np
import pytest

import mnist_lib
from mnist_lib import choices
from mnist_lib.runs import config as configs
from mnist_lib.runs import recipes, resuming


def test_json_round_trip():
    config = mnist_lib.TrainConfig(model="cnn", dropout=0.3, train_steps=7, learning_rate=0.02)
    assert mnist_lib.TrainConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("num_examples", "given", "steps"),
    [
        (60_000, None, 469),
        (128, None, 50),
        (3_200, None, 50),
        (3_840, None, 60),
        (50, 1, 1),
        (60_000, 7, 7),
    ],
)
def test_few_images_are_not_saved_after_each_epoch(num_examples, given, steps):
    config = mnist_lib.recipe("mlp", steps_per_loop=50, checkpoint_every=given)
    assert config.steps_between_checkpoints(num_examples) == steps


def test_steps_follow_from_epochs_unless_given():
    config = mnist_lib.TrainConfig(batch_size=128, epochs=5)
    assert config.num_train_examples == 55_000
    assert config.total_steps(55_000) == 2149  # 5 * 55,000 / 128 = 2148.4
    assert dataclasses.replace(config, train_steps=10).total_steps(55_000) == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": "cifar10"}, "dataset: 'cifar10' is not one of auto, mnist"),
        ({"model": "vgg"}, "model: 'vgg' is not one of linear"),
        ({"optimizer": "lion"}, "optimizer: 'lion' is not one of sgd"),
        ({"strategy": "parameter_server"}, "Keras 3 does not support parameter servers"),
        ({"batch_size": 0}, "batch_size: 0 must be at least 1"),
        ({"batch_size": 1.5}, "batch_size: 1.5 is not a whole number"),
        ({"epochs": -1}, "epochs: -1 must be at least 1"),
        ({"seed": -1}, "seed: -1 must be at least 0"),
        ({"seed": 2**31}, r"seed: 2147483648 must be at least 0 and below 2\*\*31"),
        ({"learning_rate": 0}, "learning_rate: 0.0 must be greater than 0"),
        ({"learning_rate": float("nan")}, "learning_rate: nan must be greater than 0"),
        (
            {"dataset": "mnist", "validation_size": 60_000},
            "validation_size: 60000 leaves none of the 60000",
        ),
        (
            {"dataset": "mnist", "batch_size": 55_001},
            "batch_size: 55001 is larger than the 55000 training images",
        ),
        ({"num_replicas": 3}, "batch_size: 256 cannot be divided among 3 replicas; .* such as 255"),
        (
            {"num_replicas": 2, "strategy": "default"},
            "num_replicas: 2 replicas need the strategy",
        ),
        (
            {"train_steps": 10, "warmup_steps": 10},
            "warmup_steps: 10 must be less than the 10 steps",
        ),
        ({"model": "mlp", "pooling": "max"}, "pooling: model mlp has none; .* lenet5 or cnn"),
        ({"model": "cnn", "dropout": -0.1}, r"dropout: -0.1 is not in \[0, 1\)"),
        ({"weight_decay": -0.1, "optimizer": "adamw"}, "weight_decay: -0.1 must be at least 0"),
        ({"weight_decay": 0.1}, "weight_decay: optimizer adam has none"),
        ({"beta_1": 1.0}, r"beta_1: 1.0 is not in \[0, 1\)"),
        ({"beta_2": -0.1}, r"beta_2: -0.1 is not in \[0, 1\)"),
        ({"beta_1": 0.5, "optimizer": "sgd"}, "beta_1: optimizer sgd has none; .* adam or adamw"),
        ({"learning_rate": "x"}, "learning_rate: 'x' is not a number"),
        ({"learning_rate": True}, "learning_rate: True is not a number"),
        ({"download": "no"}, "download: 'no' is not True or False"),
        ({"progress": 1}, "progress: 1 is not True or False"),
        ({"model": 3}, "model: 3 is not a text"),
        ({"seed": None}, "seed: None is not a whole number"),
        ({"data_dir": 7}, "data_dir: 7 is not a text"),
        ({"epochs": "5"}, "epochs: '5' is not a whole number"),
        (
            {"dataset": "mnist", "epochs": 1, "warmup_steps": 215},
            "warmup_steps: 215 must be less than the 215 steps",
        ),
        ({"clip_norm": 0.0}, "clip_norm: 0.0 must be greater than 0"),
        ({"ema_momentum": 1.0}, r"ema_momentum: 1.0 is not in \(0, 1\)"),
        ({"label_smoothing": 1.0}, r"label_smoothing: 1.0 is not in \[0, 1\)"),
        ({"label_smoothing": 0.1, "loss": "hinge"}, "label_smoothing: loss hinge has none"),
        ({"accumulation_steps": 0}, "accumulation_steps: 0 must be at least 1"),
        (
            {"accumulation_steps": 5},
            "batch_size: 256 cannot be divided among 1 replica in 5 parts each; .* such as 255",
        ),
        (
            {"accumulation_steps": 33, "num_replicas": 8},
            "batch_size: 256 cannot be divided among 8 replicas in 33 parts each",
        ),
        ({"worker_timeout_seconds": 5}, "worker_timeout_seconds: 5 must be at least 10"),
        (
            {"strategy": "multi_worker_mirrored", "num_replicas": 2},
            "num_replicas: each worker of multi_worker_mirrored is one replica on a CPU",
        ),
        (
            {"dataset": "mnist", "train_size": 55_001},
            "train_size: 55001 is more than the 55000 images",
        ),
        ({"augmentation": "flip"}, "augmentation: 'flip' is not one of none, affine"),
    ],
)
def test_wrong_values_are_refused(options, message):
    with pytest.raises(mnist_lib.errors.ConfigError, match=message) as caught:
        mnist_lib.TrainConfig(**options)
    assert caught.value.exit_code == 64


@pytest.mark.parametrize("text", ["", "[]", "{", '{"colour": "red"}'])
def test_a_file_that_is_no_configuration_is_refused(text):
    with pytest.raises(mnist_lib.errors.ConfigError, match=r"config.json: "):
        mnist_lib.TrainConfig.from_json(text)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", "cnn"),
        ("optimizer", "adamw"),
        ("seed", 1),
        ("batch_size", 64),
        ("num_replicas", 2),
    ],
)
def test_a_run_does_not_go_on_as_another(field, value):
    config = mnist_lib.TrainConfig()
    other = dataclasses.replace(config, **{field: value})
    with pytest.raises(mnist_lib.errors.ConfigError, match=f"^{field}: is {value}, but the run"):
        resuming.check_resumable(config, other, 55_000)


def test_what_changes_no_step_may_change():
    config = mnist_lib.TrainConfig()
    other = dataclasses.replace(config, checkpoint_every=7, progress=False)
    resuming.check_resumable(config, other, 55_000)
    other = dataclasses.replace(config, num_replicas=2)
    resuming.check_resumable(config, other, 55_000, allow_other_replicas=True)


@pytest.mark.parametrize(
    ("name", "before", "after", "message"),
    [
        ("mlp", {"epochs": 2}, {"epochs": 4}, None),
        ("mlp", {"epochs": 2}, {"train_steps": 860}, None),
        ("mlp", {"train_steps": 100, "warmup_steps": 50}, {"train_steps": 200}, None),
        ("mlp", {"epochs": 2}, {"train_steps": 859}, "can only become longer"),
        ("mlp", {"epochs": 2}, {"epochs": 1}, "can only become longer"),
        ("lenet5", {"epochs": 2}, {"epochs": 4}, "the cosine learning rate ends with it"),
        ("fast", {}, {"train_steps": 300}, "one_cycle .* --init_from=RUN"),
        ("mlp", {}, {"learning_rate": 0.5}, "learning_rate: .* --init_from=RUN"),
        ("mlp", {"epochs": 2}, {"epochs": 4, "batch_size": 64}, "batch_size: is 64"),
    ],
)
def test_a_run_may_become_longer_where_no_rate_depends_on_it(name, before, after, message):
    started = mnist_lib.recipe(name, **before)
    asked = configs.with_fields(dataclasses.asdict(started), after)
    if message is None:
        resuming.check_resumable(started, asked, 55_000)
    else:
        with pytest.raises(mnist_lib.errors.ConfigError, match=message):
            resuming.check_resumable(started, asked, 55_000)


def test_recipes_are_valid_and_the_default_is_one():
    assert recipes.DEFAULT_RECIPE in recipes.RECIPES
    models = {mnist_lib.recipe(name).model for name in recipes.RECIPES}
    assert models == set(choices.MODEL_OPTIONS)
    with pytest.raises(mnist_lib.errors.ConfigError, match="recipe: 'slow' is not one of"):
        mnist_lib.recipe("slow")
    with pytest.raises(mnist_lib.errors.ConfigError, match=r"epoch: is no field .* mean epochs"):
        mnist_lib.recipe("mlp", epoch=3)


def test_a_name_means_the_same_everywhere():
    """From Python, as a recipe, and as the one field that is given."""
    assert mnist_lib.TrainConfig() == mnist_lib.recipe("fast")
    for model in ("mlp", "cnn", "lenet5", "linear", "m3", "m5", "m7"):
        assert mnist_lib.TrainConfig(model=model) == mnist_lib.recipe(model)
        assert recipes.recipe_of_model(model) == model
    assert recipes.recipe_of_model("fast_cnn") == recipes.recipe_of_model(None) == "fast"
    lenet5 = mnist_lib.TrainConfig(model="lenet5")
    assert (lenet5.epochs, lenet5.lr_schedule) == (10, "cosine")
    assert mnist_lib.TrainConfig(model="fast_cnn").total_steps(55_000) == 270


def test_what_belongs_to_a_replaced_value_goes_with_it():
    fast = mnist_lib.recipe("fast")
    assert fast.train_steps
    assert fast.beta_1 is not None
    assert fast.label_smoothing
    longer = mnist_lib.recipe("fast", epochs=3)
    assert (longer.train_steps, longer.epochs, longer.beta_1) == (None, 3, fast.beta_1)
    assert longer == mnist_lib.TrainConfig(epochs=3)
    sgd = mnist_lib.recipe("fast", optimizer="sgd")
    assert (sgd.optimizer, sgd.beta_1, sgd.beta_2) == ("sgd", None, None)
    assert mnist_lib.recipe("fast", optimizer="adam") == fast
    assert mnist_lib.recipe("fast", optimizer="adamw", beta_1=0.5).beta_1 == 0.5
    assert mnist_lib.recipe("strong").width
    assert mnist_lib.recipe("strong", model="cnn").width is None
    assert mnist_lib.recipe("fast", loss="hinge").label_smoothing == 0
    assert mnist_lib.recipe("fast", seed=3) == dataclasses.replace(fast, seed=3)


def test_numbers_and_paths_of_other_libraries_become_what_json_holds(tmp_path):
    config = mnist_lib.TrainConfig(
        learning_rate=np.float32(0.5), epochs=np.int64(3), seed=np.uint8(7), data_dir=tmp_path
    )
    assert (config.learning_rate, config.epochs, config.seed) == (0.5, 3, 7)
    assert config.data_dir == str(tmp_path)
    assert [type(value) for value in (config.learning_rate, config.epochs)] == [float, int]
    assert mnist_lib.TrainConfig.from_json(config.to_json()) == config


def test_workers_may_differ_in_where_their_data_is():
    ours = mnist_lib.TrainConfig(data_dir="/a", progress=False)
    theirs = mnist_lib.TrainConfig(data_dir="/b", progress=True)
    assert ours.common_fields() == theirs.common_fields()
    assert dataclasses.replace(ours, steps_per_loop=7).common_fields() != theirs.common_fields()
