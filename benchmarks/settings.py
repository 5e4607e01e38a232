"""The settings of a process that may change the speed of the library's loop."""

from __future__ import annotations

import os

from mnist_lib import runtime

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
