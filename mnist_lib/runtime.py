"""Process-wide settings, applied by the scripts and on request, never at import."""

from __future__ import annotations

import ctypes
import os
import platform

# mallopt(3) parameters, from glibc's <malloc.h>.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_MIB = 1 << 20
_MALLOC_SETTINGS = (
    (_M_MMAP_THRESHOLD, 32 * _MIB),
    (_M_TRIM_THRESHOLD, 512 * _MIB),
    (_M_TOP_PAD, 64 * _MIB),
)


def configure_before_tensorflow() -> None:
    """Sets what must be set before TensorFlow is imported and uses memory.

    TensorFlow's own messages below warnings are switched off unless the
    environment says otherwise.

    glibc's allocator is told to keep large blocks. By default it maps the
    temporaries of each step (1 to 20 MB) anew, and the kernel clears their pages:
    more than half of the time of a training step of the `mlp` on a CPU.

    oneDNN's kernels are switched on unless the environment says otherwise. TensorFlow
    does so by itself only on processors with AVX-512 and the like; with AVX2 alone they
    halve the time of a step with convolutions.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    keep_large_blocks()


def keep_large_blocks() -> None:
    """Tells glibc's allocator not to return large blocks; elsewhere does nothing."""
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in _MALLOC_SETTINGS:
            mallopt(parameter, value)


def make_deterministic(seed: int) -> None:
    """Makes every operation deterministic and seeds the global generators.

    Args:
      seed: for Python, NumPy and TensorFlow.
    """
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
