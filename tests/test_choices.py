"""Every name that can be chosen is built by what it is for."""

import keras
import numpy as np
import pytest

import mnist_lib
from mnist_lib import choices
from mnist_lib.commands import figure_sources
from mnist_lib.datasets import catalog
from mnist_lib.inspection import figures, summaries
from mnist_lib.models import activations
from mnist_lib.robustness import report_tables, suites
from mnist_lib.serving import pictures
from mnist_lib.serving.exports import formats
from mnist_lib.training import augmentation, losses, optimizers


def _summaries(name, folder):
    return summaries.RunSummaries(folder, name)


def _load_from_nothing(name, folder):
    with pytest.raises(mnist_lib.errors.DataNotFoundError):
        mnist_lib.load_model(folder, name)
    return name


def _small_dataset():
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1)).astype(np.uint8)
    labels = np.arange(3)
    splits = [mnist_lib.Split(name, images, labels) for name in choices.NAMES["split"]]
    return mnist_lib.ImageDataset("small", *splits)


def _project(name, _):
    model = mnist_lib.build_model("mlp")
    return figures.draw_embedding(model, _small_dataset().test, tuple("012"), projection=name)


def _bar(on):
    picture = np.zeros((60, 60), np.float32)
    picture[15:45, 27:33] = 1
    return 1 - picture if on == "light" else picture


# How each is built; what builds takes the name and an empty folder.
BUILDERS = {
    "dataset": lambda name, _: catalog.dataset_info(name),
    "split": lambda name, _: getattr(_small_dataset(), name),
    "augmentation": lambda name, _: augmentation.named_augmentation(name, seed=0),
    "model": lambda name, _: mnist_lib.build_model(name),
    "activation": lambda name, _: activations.activation_layer(name),
    "pooling": lambda name, _: mnist_lib.build_model("cnn", pooling=name),
    "mixed_precision": lambda name, _: mnist_lib.build_model("linear", mixed_precision=name),
    "loss": lambda name, _: losses.per_example_loss(name),
    "optimizer": lambda name, _: mnist_lib.build_optimizer(name, 0.1),
    "lr_schedule": lambda name, _: optimizers.LearningRate(name, 0.1, 10)(3),
    "strategy": lambda name, _: (
        name == "multi_worker_mirrored" or mnist_lib.create_strategy(name)  # has tests of its own
    ),
    "summaries": _summaries,
    "checkpoint": _load_from_nothing,
    "suite": lambda name, _: name == suites.ALL or (suites.SUITES[name], report_tables.PRINT[name]),
    "projection": _project,
    "background": lambda name, _: pictures.find_digit(_bar(on=name), background=name),
    "export_format": lambda name, _: formats.FORMATS[name],
    "figure": lambda name, _: (figure_sources.DRAW[name], getattr(figures, f"draw_{name}")),
}


@pytest.mark.parametrize("field", choices.NAMES)
def test_every_name_is_built(field, tmp_path):
    built = [BUILDERS[field](name, tmp_path) for name in choices.NAMES[field]]
    assert len(built) == len(choices.NAMES[field])
    with pytest.raises(mnist_lib.errors.ConfigError, match=f"{field}: 'nonsense' is not one of "):
        choices.check(field, "nonsense")


def test_no_layer_has_a_name_that_cannot_be_chosen():
    assert {choices.AUTO, *catalog.CATALOG} == set(choices.NAMES["dataset"])
    assert set(losses._LOSSES) == set(choices.NAMES["loss"])


def test_options_are_those_that_are_taken():
    values = {"activation": "tanh", "pooling": "average", "dropout": 0.25, "width": 5}
    for model, options in choices.MODEL_OPTIONS.items():
        default = mnist_lib.build_model(model).to_json()
        for option, value in values.items():
            if option in options:
                assert mnist_lib.build_model(model, **{option: value}).to_json() != default
            else:
                with pytest.raises(mnist_lib.errors.ConfigError, match=f"{option}: model {model}"):
                    mnist_lib.build_model(model, **{option: value})
    values = {"beta_1": 0.5, "beta_2": 0.6, "weight_decay": 0.7}
    for name, options in choices.OPTIMIZER_OPTIONS.items():
        for option, value in values.items():
            if option in options:
                built = mnist_lib.build_optimizer(name, 0.1, **{option: value})
                assert getattr(built, option) == value
            else:
                with pytest.raises(mnist_lib.errors.ConfigError, match=f"{option}: optimizer"):
                    mnist_lib.build_optimizer(name, 0.1, **{option: value})


def test_why_a_name_that_people_expect_is_refused():
    with pytest.raises(mnist_lib.errors.ConfigError, match="Keras 3 does not support parameter"):
        choices.check("strategy", "parameter_server")
    assert isinstance(mnist_lib.build_optimizer("momentum", 0.1), keras.optimizers.SGD)
