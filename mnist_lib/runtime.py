"""Process-wide settings, applied by the commands and on request, never at import.

What each of them gains is measured by `scripts/benchmark.py --measure=settings`.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Iterable

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
        os.environ.setdefault(name, value)
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
      are set; and, once TensorFlow is imported, `intra_op_threads` and
      `inter_op_threads` (0: TensorFlow chooses) and `tensor_float_32`, which matters on
      GPUs alone and is left as TensorFlow has it. All of it can be written as JSON.
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
        }
    return settings
