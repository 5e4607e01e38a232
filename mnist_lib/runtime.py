"""Process-wide settings, applied by the commands and on request, never at import.

What each of them gains is measured by `scripts/benchmark.py --measure=settings`. Here, too,
is what a process must be to use TensorFlow: not a fork of one that has.
"""

from __future__ import annotations

import ctypes
import os
import pathlib
import platform
import sys
from collections.abc import Iterable

from mnist_lib import bounded, errors

_MIB = 1 << 20
# mallopt(3): each parameter's number in glibc's <malloc.h>, and the bytes it would be set to.
MALLOC_PARAMETERS = {
    "M_MMAP_THRESHOLD": (-3, 32 * _MIB),
    "M_TRIM_THRESHOLD": (-1, 512 * _MIB),
    "M_TOP_PAD": (-2, 64 * _MIB),
}
# Only defaults: what the environment says already stays.
_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "2",  # TensorFlow's own messages from warnings on
    "TF_ENABLE_ONEDNN_OPTS": "1",  # fast convolutions on processors with AVX2 alone, too
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # leaves the rest of a GPU's memory to others
}
# Variables that change numbers or speed. No others are recorded: some hold secrets.
RECORDED_VARIABLES = (
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_VISIBLE_DEVICES",
    "DNNL_DEFAULT_FPMATH_MODE",
    "KERAS_BACKEND",
    "KMP_AFFINITY",
    "KMP_BLOCKTIME",
    "MKL_NUM_THREADS",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_NUM_THREADS",
    "OMP_PROC_BIND",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
    "TF_CUDNN_DETERMINISTIC",
    "TF_CUDNN_USE_AUTOTUNE",
    "TF_DETERMINISTIC_OPS",
    "TF_DISABLE_MKL",
    "TF_ENABLE_AUTO_MIXED_PRECISION",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_FORCE_GPU_ALLOW_GROWTH",
    "TF_GPU_ALLOCATOR",
    "TF_GPU_THREAD_COUNT",
    "TF_GPU_THREAD_MODE",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_ONEDNN_ASSUME_FROZEN_WEIGHTS",
    "TF_USE_LEGACY_KERAS",
    "TF_XLA_FLAGS",
    "XLA_FLAGS",
)

_applied: dict = {"malloc": {}, "deterministic": False, "seed": None}
_fork = {"lost_tensorflow": False}


def configure_before_tensorflow(
    malloc_parameters: Iterable[str] = tuple(MALLOC_PARAMETERS),
) -> None:
    """Sets what must be set before TensorFlow is imported and uses memory.

    Args:
      malloc_parameters: keys of `MALLOC_PARAMETERS` to set.

    TensorFlow's own messages below warnings are switched off, and GPUs give memory
    as it is needed, unless the environment says otherwise.

    oneDNN's kernels are switched on unless the environment says otherwise. TensorFlow
    does so by itself only on processors with AVX-512 and the like; with AVX2 alone they
    make a step of `cnn` a fifth and one of `lenet5` two thirds shorter.

    glibc's allocator is told to keep what it has and to take more in large pieces. By
    default it may map the temporaries of each step (1 to 20 MB) anew, and the kernel
    clears their pages. Whether it does depends on the order of the first allocations:
    nothing is gained in one process, and more than a third of a step in another.
    """
    for name, value in _ENVIRONMENT.items():
        if not os.environ.get(name):  # empty is not set
            os.environ[name] = value
    set_malloc_parameters(malloc_parameters)


def set_malloc_parameters(names: Iterable[str]) -> None:
    """Sets parameters of glibc's allocator; elsewhere does nothing.

    Args:
      names: keys of `MALLOC_PARAMETERS`.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        for name in names:
            number, value = MALLOC_PARAMETERS[name]
            if mallopt(number, value):  # 1: done, 0: refused
                _applied["malloc"][name] = value


def make_deterministic(seed: int) -> None:
    """Makes every operation deterministic and seeds the global generators.

    Args:
      seed: for Python, NumPy and TensorFlow.
    """
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    _applied.update(deterministic=True, seed=seed)


def applied_settings() -> dict:
    """Returns the settings of this process that change its speed or its rounding.

    Returns:
      `malloc`, the bytes of each parameter that was set here; `deterministic` and `seed`,
      as `make_deterministic` was asked; `environment`, those of `RECORDED_VARIABLES` that
      are set. Once TensorFlow is imported, `intra_op_threads` and `inter_op_threads` (0:
      TensorFlow chooses), `tensor_float_32`, which matters on GPUs alone and is left as
      TensorFlow has it, `auto_jit` and `functions_run_eagerly`. Once Keras is, `keras` with
      its settings, wherever they come from. All of it can be written as JSON.
    """
    settings = {
        **_applied,
        "malloc": dict(_applied["malloc"]),
        "environment": {
            name: os.environ[name] for name in RECORDED_VARIABLES if name in os.environ
        },
    }
    if "tensorflow" in sys.modules:
        import tensorflow as tf

        settings |= {
            "intra_op_threads": tf.config.threading.get_intra_op_parallelism_threads(),
            "inter_op_threads": tf.config.threading.get_inter_op_parallelism_threads(),
            "tensor_float_32": tf.config.experimental.tensor_float_32_execution_enabled(),
            "auto_jit": tf.config.optimizer.get_jit(),
            "functions_run_eagerly": tf.config.functions_run_eagerly(),
        }
    if "keras" in sys.modules:
        import keras

        settings["keras"] = {
            "backend": keras.config.backend(),
            "dtype_policy": keras.config.dtype_policy().name,
            "epsilon": keras.config.epsilon(),
            "floatx": keras.config.floatx(),
            "image_data_format": keras.config.image_data_format(),
        }
    return settings


def check_floatx() -> None:
    """Checks that Keras's default dtype is float32, in which configured runs compute.

    Raises:
      ConfigError: it is another; says where it was set.
    """
    import keras

    floatx = keras.config.floatx()
    if floatx == "float32":
        return
    file = _keras_settings_file()
    try:
        in_file = bounded.checked_object(bounded.read_json(file)).get("floatx")
    except (OSError, ValueError):  # Keras goes on without it, too
        in_file = None
    where = str(file) if in_file == floatx else "keras.config.set_floatx"
    raise errors.ConfigError(
        "floatx",
        f"is {floatx}, set by {where}; what a configuration describes computes in float32 or as "
        "mixed_precision says. Set it to float32, or give a model of your own to "
        "mnist_lib.Trainer",
    )


def _keras_settings_file() -> pathlib.Path:
    """Returns where Keras looks for its settings."""
    folder = os.environ.get("KERAS_HOME")
    if folder is None:
        home = os.path.expanduser("~")
        folder = os.path.join(home if os.access(home, os.W_OK) else "/tmp", ".keras")
    return pathlib.Path(os.path.expanduser(folder), "keras.json")


def check_not_forked() -> None:
    """Checks that this process can use TensorFlow.

    Raises:
      ConfigError: it was forked from one that had used it. The first operation would wait
        for threads that only the parent has, for ever.
    """
    if _fork["lost_tensorflow"]:
        raise errors.ConfigError(
            "start_method",
            "this process was forked from one that had used TensorFlow, which cannot go on in "
            "it; start it with multiprocessing.get_context('spawn') or 'forkserver'",
        )


def _note_fork() -> None:
    """Notes, in a process that was just forked, whether its parent had used TensorFlow."""
    # Not imported: a thread of the parent may have been about to.
    config = getattr(sys.modules.get("tensorflow"), "config", None)
    if config is None:
        return
    # What is refused once TensorFlow has begun to work, and only then.
    threads = config.threading.get_inter_op_parallelism_threads()
    try:
        config.threading.set_inter_op_parallelism_threads(threads + 1)
    except RuntimeError:
        _fork["lost_tensorflow"] = True
    else:
        config.threading.set_inter_op_parallelism_threads(threads)


os.register_at_fork(after_in_child=_note_fork)
