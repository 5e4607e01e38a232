"""Checks on the GPUs of this machine what the library promises, and prints a table to paste.

  python -m benchmarks.gpu_check
  python -m benchmarks.gpu_check --devices=gpu:2 --markdown=gpus.md
  python -m benchmarks.gpu_check --devices=cpu:2

Needs no MNIST. Ends with exit code 70 if something is not as promised.
"""

from __future__ import annotations

import os
import pathlib
import re

from absl import flags

from benchmarks import comparison, device_checks, environment, page, tables, workers
from benchmarks import flags as benchmark_flags
from mnist_lib import errors, runtime
from mnist_lib.commands import command_line
from mnist_lib.commands import flags as shared_flags

FLAGS = flags.FLAGS
_DRIVER = pathlib.Path("/proc/driver/nvidia/version")
_WORDS = {True: "yes", False: "NO", None: "-"}


def main() -> None:
    """Does what the flags, which have been parsed, ask for."""
    benchmark_flags.check_writable(FLAGS.markdown)
    runtime.configure_before_tensorflow()
    kind, count, described = _devices()
    os.environ.update(_visible(kind, count))
    options = shared_flags.data_options()
    found = []
    for part, number in _parts(kind, count):
        found += _findings(part, kind, number, options)
    found += _speed(options)
    table = tables.Table(
        "GPU check" if kind == "gpu" else "GPU check, tried on the CPU",
        ("check", "as promised", "measured"),
        [(finding.check, _WORDS[finding.passed], finding.measured) for finding in found],
        described,
    )
    text = page.section(table)
    print(text)
    if FLAGS.markdown:
        pathlib.Path(FLAGS.markdown).write_text(text)
    failed = [finding.check for finding in found if finding.passed is False]
    if failed:
        raise errors.MnistLibError(
            f"gpu_check: not as promised: {'; '.join(failed)}. Paste the table into an issue."
        )


def _devices() -> tuple[str, int, str]:
    """Returns kind and number of the devices that are asked for, and tells of the machine.

    Raises:
      ConfigError: `--devices` cannot be read, or there are not as many.
    """
    asked = re.fullmatch(r"(gpu|cpu)(?::([1-9]\d?))?", FLAGS.devices)
    if asked is None:
        raise errors.ConfigError("devices", f"'{FLAGS.devices}' is not gpu, gpu:2 or cpu:2")
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    kind = asked[1]
    count = int(asked[2] or (len(gpus) if kind == "gpu" else 2))
    if kind == "gpu" and not 0 < count <= len(gpus):
        raise errors.ConfigError(
            "devices",
            f"'{FLAGS.devices}': TensorFlow finds {len(gpus)} GPUs here. `mnist-lib train` says "
            "why one is not used; cpu:2 tries the check without",
        )
    build = tf.sysconfig.get_build_info()
    parts = [page.describe_environment(environment.describe()), f"Devices: {kind}, {count}."]
    for gpu in gpus[:count] if kind == "gpu" else ():
        details = tf.config.experimental.get_device_details(gpu)
        capability = ".".join(map(str, details.get("compute_capability", ("unknown",))))
        parts.append(f"{details.get('device_name', gpu.name)}, compute capability {capability}.")
    for name in ("cuda_version", "cudnn_version"):
        parts.append(f"{name} {build.get(name, 'none')};")
    driver = _DRIVER.read_text().splitlines()[0] if _DRIVER.is_file() else "none"
    return kind, count, " ".join([*parts, f"driver: {driver}."])


def _visible(kind: str, count: int) -> dict[str, str]:
    """Returns the variable that shows the processes to come no more GPUs than these."""
    if kind == "cpu":
        return {"CUDA_VISIBLE_DEVICES": "-1"}
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = given.split(",") if given else [str(number) for number in range(count)]
    return {"CUDA_VISIBLE_DEVICES": ",".join(names[:count])}


def _parts(kind: str, count: int) -> list[tuple[str, int]]:
    """Returns what is looked at, each with the number of devices."""
    pairs = [("first device", 1)]
    pairs += [("parity", number) for number in range(2, count + 1)]
    return [*pairs, ("runs", count), ("variants", count)]


def _findings(part: str, kind: str, count: int, options: dict) -> list[device_checks.Finding]:
    """Returns what a process found, or that it failed."""
    asked = {"part": part, "kind": kind, "num_devices": count, "data_options": options}
    try:
        answer = workers.ask_once("devices", asked)
    except errors.MnistLibError as error:
        return [device_checks.Finding(f"{part}, {count} devices", False, str(error))]
    return [device_checks.Finding(**finding) for finding in answer["findings"]]


def _speed(options: dict) -> list[device_checks.Finding]:
    """Times training against Keras `fit`, which uses the first device."""
    compared = comparison.compare(
        ["mirrored", "fit"],
        model=FLAGS.model,
        batch_size=FLAGS.batch_size,
        num_rounds=FLAGS.num_rounds,
        steps_per_round=FLAGS.steps_per_round,
        data_options=options,
    )
    ours, fit = (compared["results"][name] for name in ("mirrored", "fit"))
    what = f"speed: {FLAGS.model}, {FLAGS.batch_size} images per step"
    return [
        device_checks.Finding(
            what,
            None,
            f"{ours['milliseconds_per_step']:.2f} ms under MirroredStrategy, "
            f"{fit['milliseconds_per_step']:.2f} ms by Keras fit: "
            f"{fit['slower_by']:.2f} times as long",
        )
    ]


def _define_flags() -> None:
    shared_flags.define_data_flags()
    FLAGS.set_default("dataset", "synthetic_digits")
    for name, default, text in (
        ("devices", "gpu", "gpu for all GPUs, gpu:2 for the first two, cpu:2 for logical devices"),
        ("model", "mlp", "the network whose speed is measured"),
    ):
        flags.DEFINE_string(name, default, text, module_name="Check")
    for number, count, text in (
        ("batch_size", 128, "images per step of it"),
        ("num_rounds", 5, "turns of it"),
        ("steps_per_round", None, "steps per turn (default: up to a second of them)"),
    ):
        flags.DEFINE_integer(number, count, text, lower_bound=1, module_name="Check")
    flags.DEFINE_string("markdown", None, "file for the table", module_name="Output")


if __name__ == "__main__":
    _define_flags()
    command_line.run(main, __doc__)
