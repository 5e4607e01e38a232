"""Times training loops against each other: interleaved, as ratios of medians.

    report = compare(["mirrored", "fit"], model="mlp", batch_size=128)
    report = measure_input({"name": "mnist"})

Each contender lives in a process of its own, set up as its users would set it up,
and waits between its turns. A round gives every contender one turn, so that a
machine whose speed drifts slows all of them down.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time

from mnist_lib import errors, models, runtime
from mnist_lib.datasets import catalog, splits

CONTENDERS = {
    "mirrored": "Trainer under MirroredStrategy, one device",
    "default": "Trainer without a strategy",
    "augmented": "Trainer under MirroredStrategy, one device, --augmentation=full",
    "fit": "Keras fit without a strategy",
    "fit_mirrored": "Keras fit under MirroredStrategy, one device",
}
_CHANCE_LOSS = 2.303  # -log(1/10)


def compare(
    contenders: list[str],
    *,
    model: str = "mlp",
    batch_size: int = 128,
    num_rounds: int = 7,
    steps_per_round: int = 200,
    data_options: dict | None = None,
) -> dict:
    """Times contenders in turn and compares each with the first.

    Args:
      contenders: names in `CONTENDERS`; the first is what the others are compared with.
      model: a key of `models.MODEL_OPTIONS`; every contender trains it, with Adam.
      batch_size: images per step.
      num_rounds: turns of each contender that count, at least 1; one more is warm-up.
      steps_per_round: steps per turn, at least 1.
      data_options: arguments of `load_dataset`.

    Returns:
      The settings and, for each contender, milliseconds per step (median, minimum,
      maximum), images per second, seconds of the first step (tracing), the last
      training loss, and `speedup`: how many times as fast the first contender is,
      the median over rounds of the ratio of times within one round.

    Raises:
      ConfigError: an unknown name, more steps than an epoch, or one has not learned.
    """
    _check_request(contenders, model, batch_size, steps_per_round)
    settings: dict = {
        "model": model,
        "batch_size": batch_size,
        "num_rounds": num_rounds,
        "steps_per_round": steps_per_round,
    }
    workers = {name: _Worker(name, settings, data_options or {}) for name in contenders}
    try:
        warm_up = {name: worker.train(1) for name, worker in workers.items()}
        turns: dict[str, list[dict]] = {name: [] for name in contenders}
        for _ in range(1 + num_rounds):
            for name, worker in workers.items():
                turns[name].append(worker.train(steps_per_round))
    finally:
        for worker in workers.values():
            worker.close()
    results = {name: _summary(name, contenders[0], turns, settings) for name in contenders}
    for name, result in results.items():
        result["first_step_seconds"] = warm_up[name]["seconds"]
    return {"settings": settings, "results": results}


def _check_request(
    contenders: list[str], model: str, batch_size: int, steps_per_round: int
) -> None:
    if not contenders:
        raise errors.ConfigError("contenders", f"name at least one of {', '.join(CONTENDERS)}")
    for name in contenders:
        if name not in CONTENDERS:
            raise errors.ConfigError(
                "contenders", f"'{name}' is not one of {', '.join(CONTENDERS)}"
            )
    models.check_options(model, activation=None, pooling=None, dropout=None)
    available = catalog.dataset_info(catalog.AUTO).num_train - splits.VALIDATION_SIZE
    if steps_per_round * batch_size > available:
        raise errors.ConfigError(
            "steps_per_round",
            f"{steps_per_round} of {batch_size} images are more than one epoch of {available}, and "
            "Keras fit is timed within one",
        )


def _summary(
    name: str, reference: str, turns: dict[str, list[dict]], settings: dict[str, int]
) -> dict:
    """Summarises the turns of one contender after the first, which was warm-up."""
    loss = turns[name][-1]["loss"]
    if not loss < _CHANCE_LOSS / 2:
        raise errors.ConfigError("contenders", f"{name} has not learned (loss {loss:.3f})")
    seconds, reference_seconds = (
        [turn["seconds"] for turn in turns[contender][1:]] for contender in (name, reference)
    )
    milliseconds = [1e3 * value / settings["steps_per_round"] for value in seconds]
    ratios = [theirs / ours for ours, theirs in zip(reference_seconds, seconds, strict=True)]
    median = statistics.median(milliseconds)
    return {
        "description": CONTENDERS[name],
        "milliseconds_per_step": median,
        "milliseconds_range": [min(milliseconds), max(milliseconds)],
        "images_per_second": settings["batch_size"] * 1e3 / median,
        "loss": loss,
        "speedup": statistics.median(ratios),
        "speedup_range": [min(ratios), max(ratios)],
    }


def measure_input(data_options: dict, num_batches: int = 46_876) -> dict:
    """Measures what it costs to have batches, in a new process.

    Args:
      data_options: arguments of `load_dataset`.
      num_batches: batches of indices whose mean time is taken, at least 1; by default
        one more than an epoch of 6,000,000 has.

    Returns:
      `dataset`; `load_seconds`, `load_dataset` alone; `first_batch_seconds`, from the
      call of `load_dataset` to the first batch (TensorFlow has been imported before);
      `peak_memory_mb`, the largest resident set of the process; and
      `index_batch_microseconds`, the mean time of a batch of 128 indices out of
      60,000 and of 6,000,000, the permutations of the epochs included.
    """
    options = json.dumps({"data_options": data_options, "num_batches": num_batches})
    command = [sys.executable, "-m", "mnist_lib.benchmark", "input", options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise errors.MnistLibError(f"benchmark: ended with exit code {done.returncode}, see above")
    return json.loads(done.stdout)


def _print_input_measurements(data_options: dict, num_batches: int) -> None:
    runtime.configure_before_tensorflow()
    import resource

    import mnist_lib
    from mnist_lib.datasets import pipelines

    load, batches = mnist_lib.load_dataset, mnist_lib.train_batches  # imports TensorFlow
    started = time.perf_counter()
    data = load(**data_options)
    loaded = time.perf_counter()
    next(iter(batches(data.train, 128)))
    first_batch = time.perf_counter()
    peak_memory_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    microseconds = {}
    for num_examples in (60_000, 6_000_000):
        indices = iter(pipelines.index_batches(num_examples, 128, seed=0, start_step=0).prefetch(2))
        begun = time.perf_counter()
        for _ in range(num_batches):
            next(indices)
        microseconds[str(num_examples)] = 1e6 * (time.perf_counter() - begun) / num_batches
    measurements = {
        "dataset": data.name,
        "load_seconds": loaded - started,
        "first_batch_seconds": first_batch - started,
        "peak_memory_mb": peak_memory_kb / 1024,
        "index_batch_microseconds": microseconds,
    }
    print(json.dumps(measurements))


class _Worker:
    """A process that trains one contender when told to."""

    def __init__(self, name: str, settings: dict, data_options: dict):
        arguments = json.dumps(
            {
                "name": name,
                "model": settings["model"],
                "batch_size": settings["batch_size"],
                "data_options": data_options,
            }
        )
        self._name = name
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mnist_lib.benchmark", "train", arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def train(self, num_steps: int) -> dict:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{num_steps}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise errors.MnistLibError(
                f"benchmark: {self._name} ended with exit code {self._process.wait()}; its "
                "messages are above"
            )
        return json.loads(answer)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def _serve(name: str, model: str, batch_size: int, data_options: dict) -> None:
    """Trains as many steps as each line of standard input says; answers in JSON."""
    contend = _keras_fit if name.startswith("fit") else _our_loop
    if contend is _our_loop:
        runtime.configure_before_tensorflow()
    train = contend(name, model, batch_size, data_options)
    for line in sys.stdin:
        started = time.perf_counter()
        loss = train(int(line))
        answer = {"seconds": time.perf_counter() - started, "loss": loss}
        print(json.dumps(answer), flush=True)


def _our_loop(name: str, model: str, batch_size: int, data_options: dict):
    import mnist_lib
    from mnist_lib.datasets.augmentation import named_augmentation

    data = mnist_lib.load_dataset(**data_options)
    strategy = mnist_lib.create_strategy("default" if name == "default" else "mirrored")
    with strategy.scope():
        built = mnist_lib.build_model(model)
        optimizer = mnist_lib.build_optimizer("adam", 1e-3)
    augment = named_augmentation("full" if name == "augmented" else "none", seed=0)
    trainer = mnist_lib.Trainer(built, optimizer, strategy=strategy, augment=augment)
    batches = iter(trainer.distribute(mnist_lib.train_batches(data.train, batch_size)))
    return lambda num_steps: trainer.train(batches, num_steps).loss


def _keras_fit(name: str, model: str, batch_size: int, data_options: dict):
    """As Keras's own MNIST examples have it: arrays in memory, compile, fit."""
    import contextlib

    import keras
    import tensorflow as tf

    import mnist_lib

    data = mnist_lib.load_dataset(**data_options)
    strategy = tf.distribute.MirroredStrategy(["/cpu:0"]) if name == "fit_mirrored" else None
    with strategy.scope() if strategy else contextlib.nullcontext():
        # The same network; Keras's own dropout in place of the library's.
        built = keras.models.clone_model(
            mnist_lib.build_model(model),
            clone_function=lambda layer: (
                keras.layers.Dropout(layer.rate)
                if type(layer).__name__ == "Dropout"
                else layer.__class__.from_config(layer.get_config())
            ),
        )
        built.compile(
            keras.optimizers.Adam(1e-3),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )

    def train(num_steps: int) -> float:
        images = data.train.images[: num_steps * batch_size]
        labels = data.train.labels[: num_steps * batch_size]
        history = built.fit(images, labels, batch_size=batch_size, epochs=1, verbose=0)
        return history.history["loss"][-1]

    return train


if __name__ == "__main__":
    role, options = sys.argv[1], json.loads(sys.argv[2])
    if role == "train":
        _serve(**options)
    else:
        _print_input_measurements(**options)
