"""What the settings of a process do to the speed of the library's loop."""

from __future__ import annotations

import os

from benchmarks import arrays, comparison, contenders, turns
from mnist_lib import errors, runtime

# `apply` says what the keys mean; what is not given is as the scripts have it.
_EACH_MALLOC_PARAMETER = {
    f"malloc: {name} alone": {"malloc": [name]} for name in runtime.MALLOC_PARAMETERS
}
VARIANTS: dict[str, dict] = {
    "as the scripts set it": {},
    "operations need not be deterministic": {"deterministic": False},
    "malloc as it comes": {"malloc": []},
    **_EACH_MALLOC_PARAMETER,
    "TF_ENABLE_ONEDNN_OPTS=0": {"environment": {"TF_ENABLE_ONEDNN_OPTS": "0"}},
    "one thread within operations": {"intra_op_threads": 1},
    "one thread between operations": {"inter_op_threads": 1},
}


def apply(process: dict) -> None:
    """Sets up this process as a value of `VARIANTS` says; before TensorFlow is used.

    Args:
      process: any of `environment`, variables to set; `malloc`, the keys of
        `runtime.MALLOC_PARAMETERS` to set in place of the usual; `deterministic`;
        `intra_op_threads` and `inter_op_threads`. Without any of them the process is set
        up as by `runtime.configure_before_tensorflow` alone.
    """
    os.environ.update(process.get("environment", {}))
    if "malloc" in process:
        runtime.configure_before_tensorflow(process["malloc"])
    else:
        runtime.configure_before_tensorflow()
    if process.get("deterministic"):
        runtime.make_deterministic(seed=0)
    if process.keys() & {"intra_op_threads", "inter_op_threads"}:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(process.get("intra_op_threads", 0))
        tf.config.threading.set_inter_op_parallelism_threads(process.get("inter_op_threads", 0))


def measure_settings(
    *,
    model: str = "mlp",
    batch_size: int = 128,
    num_rounds: int = 5,
    steps_per_round: int | None = None,
    data_options: dict | None = None,
) -> dict:
    """Times the library's loop in processes with different settings, in turn.

    Args:
      model, batch_size, num_rounds, steps_per_round, data_options: as for `compare`.

    Returns:
      `settings`, and `results`: for each of `VARIANTS` what `turns.take_turns` returns;
      `slower_by` is relative to the scripts' own settings.

    Raises:
      ConfigError: there is no such model.
    """
    contenders.check_network(model)
    if batch_size < 1:
        raise errors.ConfigError("batch_size", f"{batch_size} must be at least 1")
    steps = steps_per_round or comparison.default_steps(model, batch_size)
    with arrays.exported(data_options or {}) as (path, data):
        tasks = {
            name: contenders.Task(
                "mirrored", model, batch_size, path, process={"deterministic": True} | process
            )
            for name, process in VARIANTS.items()
        }
        results = turns.take_turns(tasks, num_rounds, steps)
    settings = {
        "dataset": data["dataset"],
        "model": model,
        "batch_size": batch_size,
        "num_rounds": num_rounds,
        "steps_per_round": steps,
    }
    return {"settings": settings, "results": results}
