"""The weights that a new run begins with, if they are those of another run or of a file."""

from __future__ import annotations

import hashlib
import itertools
import logging
import pathlib
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from mnist_lib import errors, paths
from mnist_lib.runs import checkpoints, run_directory
from mnist_lib.runs.config import TrainConfig
from mnist_lib.training import keras_internals

_logger = logging.getLogger(__name__)


def facts(
    run: run_directory.RunDirectory, model: keras.Model, config: TrainConfig, *, was_restored: bool
) -> dict:
    """Puts the weights of `config.init_from` into a model that begins; says what they were.

    Args:
      run: what is started, or gone on with.
      model: the model to fill; its random state stays.
      config: says where weights come from, and whether the head may be of another size.
      was_restored: whether the model has been restored already.

    Returns:
      What the run keeps of it: the SHA-256 of all weights.

    Raises:
      ConfigError: they are of another model, or not those that the run began with.
      DataNotFoundError, CheckpointError: there are none, or they cannot be read.
    """
    if config.init_from is None:
        return {}
    before = run.first_facts().get("init_sha256")
    if was_restored:
        return {"init_sha256": before}
    source = paths.local("init_from", config.init_from)
    values = _values_of(source, model)
    digest = hashlib.sha256()
    for value in values:
        digest.update(np.ascontiguousarray(value).tobytes())
    if before is not None and before != digest.hexdigest():
        raise errors.ConfigError(
            "init_from",
            f"{source} has other weights than when the run was started; pass a new --workdir",
        )
    _assign(model, values, source, without_head=config.init_without_head)
    return {"init_sha256": digest.hexdigest()}


def _values_of(source: pathlib.Path, model: keras.Model) -> list[np.ndarray]:
    """Returns the values that are meant for `_weights(model)`, in their order."""
    if source.is_dir():
        return _of_run(source, model)
    if not source.is_file():
        raise errors.DataNotFoundError(
            f"{source}: is not there. Pass --init_from=<a run directory, or a .keras file>."
        )
    try:  # safe mode: no code is read from it
        loaded = keras.saving.load_model(source, compile=False, safe_mode=True)
    except (ValueError, TypeError, OSError, KeyError) as error:
        first_line = str(error).partition("\n")[0]
        raise errors.ConfigError(
            "init_from", f"{source} is not a model that can be loaded safely ({first_line})"
        ) from error
    return [variable.numpy() for variable in _weights(loaded)]


def _of_run(source: pathlib.Path, model: keras.Model) -> list[np.ndarray]:
    """Reads the last checkpoint of a run: what it was evaluated with, averages if it kept any."""
    run = run_directory.RunDirectory(source)
    config = run.read_config()
    if config is None:
        raise errors.DataNotFoundError(
            f"{source}: no config.json there. Pass --init_from=<a run directory>."
        )
    prefix = checkpoints.newest_whole_prefix(run.checkpoints)
    seeds = _seed_ids(model)
    is_seed = [id(variable) in seeds for variable in model.variables]
    values = _stored(prefix, "model")
    if len(values) != len(is_seed):
        raise _of_another_model(source, len(values), len(is_seed))
    averages = iter(_stored(prefix, "averages"))
    trainable = {id(variable) for variable in model.trainable_variables}
    averaged = [
        next(averages, value) if id(variable) in trainable else value
        for variable, value in zip(model.variables, values, strict=True)
    ]
    return [value for value, seed in zip(averaged, is_seed, strict=True) if not seed]


def _stored(prefix: pathlib.Path, part: str) -> list[np.ndarray]:
    """Returns the variables of a part of a checkpoint, in the order of `checkpoint_of`."""
    with paths.for_tensorflow(prefix.parent) as folder:
        reader = tf.train.load_checkpoint(str(folder / prefix.name))
        keys = reader.get_variable_to_shape_map()
        names = (f"{part}/{number}/.ATTRIBUTES/VARIABLE_VALUE" for number in itertools.count())
        return [reader.get_tensor(name) for name in itertools.takewhile(keys.__contains__, names)]


def _seed_ids(model: keras.Model) -> set[int]:
    return {id(generator.state) for generator in keras_internals.seed_generators(model)}


def _weights(model: keras.Model) -> list[keras.Variable]:
    """Returns the variables of a model but for the state of its random generators."""
    seeds = _seed_ids(model)
    return [variable for variable in model.variables if id(variable) not in seeds]


def _assign(
    model: keras.Model, values: Sequence[np.ndarray], source: pathlib.Path, *, without_head: bool
) -> None:
    variables = _weights(model)
    if len(values) != len(variables):
        raise _of_another_model(source, len(values), len(variables))
    pairs = list(zip(variables, values, strict=True))
    differing = [pair for pair in pairs if tuple(pair[0].shape) != pair[1].shape]
    layer = variables[-1].path.rpartition("/")[0]
    head = {id(variable) for variable in variables if variable.path.rpartition("/")[0] == layer}
    is_head = all(id(variable) in head for variable, _ in differing)
    for variable, value in differing:
        if not (without_head and is_head):
            hint = "; --init_without_head begins that layer anew" if is_head else ""
            raise errors.ConfigError(
                "init_from",
                f"{source} has the shape {list(value.shape)} where {variable.path} has "
                f"{list(variable.shape)}{hint}",
            )
    if differing:
        pairs = [pair for pair in pairs if id(pair[0]) not in head]
        _logger.info("%s: its last layer, of another size, is left out", source)
    for variable, value in pairs:
        variable.assign(value)


def _of_another_model(source: pathlib.Path, there: int, wanted: int) -> errors.ConfigError:
    return errors.ConfigError(
        "init_from", f"{source} is of another model: it has {there} variables, and ours {wanted}"
    )
