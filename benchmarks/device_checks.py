"""What `gpu_check` looks at, each in a process of its own: `child` calls these.

Devices are all that the process sees: GPUs, or as many logical devices of the CPU as are asked
for. What differs between devices is given as the largest difference, relative to the largest
value of the variable.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import tempfile
import typing

import mnist_lib
from benchmarks import settings
from mnist_lib import errors

if typing.TYPE_CHECKING:
    import tensorflow as tf

# A float32 sum in another order, carried on over some steps of plain gradient descent.
_TOLERANCE = 1e-3
_LOSS_TOLERANCE = 1e-3
_PRECISION_ACCURACY = 0.03
_NUM_TRAIN, _NUM_TEST = 4000, 2003  # the latter is divided by no number of devices
_ROWS_PER_DEVICE = 32
_RUN_STEPS, _STOP_AT = 40, 20


@dataclasses.dataclass(frozen=True)
class Finding:
    """One row of the table.

    Attributes:
      check: what was looked at.
      passed: whether it is as promised; None: a measurement, which promises nothing.
      measured: the numbers, in words.
    """

    check: str
    passed: bool | None
    measured: str


def run(part: str, kind: str, num_devices: int, data_options: dict) -> dict:
    """Does one part of the check, in this process.

    Args:
      part: a key of `PARTS`.
      kind: `gpu` or `cpu`.
      num_devices: how many of them.
      data_options: arguments of `load_dataset`.

    Returns:
      `findings`, each as a dictionary.
    """
    settings.apply({"deterministic": True})
    import tensorflow as tf

    # What is compared is float32; NVIDIA's TF32 keeps 10 bits of 23.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    if kind == "cpu":
        mnist_lib.create_strategy("mirrored", max(2, num_devices))  # while it can be split
    data = mnist_lib.load_dataset(**data_options)
    small = mnist_lib.ImageDataset(
        data.name,
        data.train.subset(_NUM_TRAIN),
        data.validation.subset(1000),
        data.test.subset(_NUM_TEST),
    )
    found = PARTS[part](_Machine(kind, num_devices, small))
    return {"findings": [dataclasses.asdict(finding) for finding in found]}


@dataclasses.dataclass(frozen=True)
class _Machine:
    """Some devices, and what to train on them."""

    kind: str
    num_devices: int
    data: mnist_lib.ImageDataset

    def names(self, count: int) -> list[str]:
        return [f"/{self.kind}:{number}" for number in range(count)]

    def strategy(self, count: int) -> tf.distribute.Strategy:
        import tensorflow as tf

        if self.kind == "cpu":
            return mnist_lib.create_strategy("mirrored", count)
        return tf.distribute.MirroredStrategy(self.names(count))

    @property
    def network(self) -> str:
        """What is compared: convolutions and dropout; on a CPU those that take seconds."""
        return "cnn" if self.kind == "gpu" else "lenet5"

    def config(self, model: str, **fields) -> mnist_lib.TrainConfig:
        """Returns a configuration that trains on all devices."""
        return mnist_lib.recipe(
            model,
            strategy="mirrored",
            num_replicas=self.num_devices if self.kind == "cpu" else 0,
            batch_size=_ROWS_PER_DEVICE * self.num_devices,
            progress=False,
            **fields,
        )


def _trained(
    machine: _Machine, config: mnist_lib.TrainConfig, strategy: tf.distribute.Strategy, steps: int
):
    """Returns a trainer after some steps, and their mean loss."""
    from mnist_lib.runs import configured

    trainer = configured.build_trainer(config, machine.data, strategy)
    metrics = trainer.train(machine.data.train, steps, config.batch_size, seed=config.seed)
    return trainer, metrics.loss


def difference(ours, theirs) -> float:
    """Returns the largest difference of weights, relative to the largest of their variable."""
    import numpy as np

    return max(
        float(np.max(np.abs(our - their)) / max(np.max(np.abs(our)), 1e-9))
        for our, their in zip(ours.get_weights(), theirs.get_weights(), strict=True)
    )


def _first_device(machine: _Machine) -> list[Finding]:
    """Trains on the CPU and on the first device that is not it."""
    import tensorflow as tf

    other = "/gpu:0" if machine.kind == "gpu" else "/cpu:1"
    fields = {"optimizer": "momentum", "learning_rate": 0.01, "lr_schedule": "constant"}
    config = dataclasses.replace(machine.config(machine.network, **fields), strategy="one_device")
    models = [
        _trained(machine, config, tf.distribute.OneDeviceStrategy(device), 10)[0].model
        for device in ("/cpu:0", other)
    ]
    apart = difference(*models)
    name = f"/cpu:0 and {other} train alike"
    return [Finding(name, apart <= _TOLERANCE, f"weights {apart:.1e} apart after 10 steps")]


def _parity(machine: _Machine) -> list[Finding]:
    """Compares training and evaluation on one device with those on all."""
    count = machine.num_devices
    report = mnist_lib.check_replica_parity(
        lambda: mnist_lib.build_model(machine.network),
        num_replicas=count,
        batch_size=_ROWS_PER_DEVICE * count,
        devices=machine.names(count),
    )
    found = [Finding(f"1 and {count} replicas train alike", report.agree, str(report))]
    trainer, _ = _trained(machine, machine.config("fast"), machine.strategy(count), 30)
    weights = trainer.model.get_weights()
    evaluations = []
    for number in (1, count):
        strategy = machine.strategy(number)
        with strategy.scope():
            model = mnist_lib.build_model("fast_cnn")
        model.set_weights(weights)
        evaluations.append(
            mnist_lib.Evaluator(model, strategy=strategy).evaluate(machine.data.test)
        )
    one, all_ = evaluations
    is_exact = (one.num_examples, one.num_correct) == (all_.num_examples, all_.num_correct)
    is_exact &= one.num_examples == _NUM_TEST
    counts = " and ".join(f"{each.num_correct} of {each.num_examples}" for each in evaluations)
    found.append(Finding(f"1 and {count} replicas count alike", is_exact, f"{counts} right"))
    return found


def _runs(machine: _Machine) -> list[Finding]:
    """Trains three times: to the end, again, and stopped and resumed."""
    config = machine.config(
        "fast",
        train_steps=_RUN_STEPS,
        eval_every=10,
        checkpoint_every=10,
        steps_per_loop=5,
        augmentation="full",
        summaries="scalars",
    )
    with tempfile.TemporaryDirectory() as folder:
        runs = [pathlib.Path(folder, name) for name in ("first", "second", "stopped")]
        for run_path in runs[:2]:
            mnist_lib.train_and_evaluate(config, run_path, data=machine.data)

        def stop(progress: mnist_lib.RunProgress) -> bool:
            return progress.step == _STOP_AT

        with contextlib.suppress(errors.RunInterruptedError):
            mnist_lib.train_and_evaluate(config, runs[2], data=machine.data, callbacks=(stop,))
        mnist_lib.train_and_evaluate(config, runs[2], data=machine.data)
        first, second, resumed = map(_last_checkpoint, runs)
    return [
        Finding("two runs are bitwise the same", *bitwise(first, second)),
        Finding(
            f"stopped at step {_STOP_AT} and resumed is bitwise the same",
            *bitwise(first, resumed),
        ),
    ]


def _last_checkpoint(run_path: pathlib.Path) -> dict:
    """Returns all values of the end of a run but the time it took and the list of names."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(run_path / "checkpoints" / f"ckpt-{_RUN_STEPS}"))
    names = reader.get_variable_to_shape_map()
    others = ("_CHECKPOINTABLE_OBJECT_GRAPH", "run/train_seconds")
    return {name: reader.get_tensor(name) for name in names if not name.startswith(others)}


def bitwise(ours: dict, theirs: dict) -> tuple[bool, str]:
    """Returns whether two sets of arrays by name are the same, and says how many differ."""
    import numpy as np

    unlike = [
        name
        for name in ours.keys() | theirs.keys()
        if name not in ours or name not in theirs or not np.array_equal(ours[name], theirs[name])
    ]
    return not unlike, f"{len(unlike)} of {len(ours)} variables differ"


def _variants(machine: _Machine) -> list[Finding]:
    """Trains in mixed precision and compiled with XLA."""
    found = []
    strategy = machine.strategy(machine.num_devices)
    accuracies: dict[str, float] = {}
    for precision in ("float32", "bfloat16", "float16"):
        config = machine.config("mlp", mixed_precision=precision)
        trainer, _ = _trained(machine, config, strategy, 150)
        evaluator = mnist_lib.Evaluator(trainer.model, strategy=strategy)
        accuracies[precision] = evaluator.evaluate(machine.data.test).accuracy
        if precision == "float32":
            continue
        kept = {variable.dtype for variable in trainer.model.trainable_variables}
        computed = {layer.compute_dtype for layer in trainer.model.layers} & {precision}
        near = abs(accuracies[precision] - accuracies["float32"]) <= _PRECISION_ACCURACY
        found.append(
            Finding(
                f"{precision} trains as float32 does",
                near and kept == {"float32"} and computed == {precision},
                f"accuracy {accuracies[precision]:.3f}, {accuracies['float32']:.3f} in float32; "
                f"weights kept in {', '.join(sorted(kept))}",
            )
        )
    losses = [
        _trained(machine, machine.config("mlp", jit_compile=compiled), strategy, 20)[1]
        for compiled in (False, True)
    ]
    apart = abs(losses[1] / losses[0] - 1)
    told = f"loss {losses[1]:.5f}, {losses[0]:.5f} without"
    found.append(Finding("XLA computes the same", apart <= _LOSS_TOLERANCE, told))
    return found


PARTS = {"first device": _first_device, "parity": _parity, "runs": _runs, "variants": _variants}
