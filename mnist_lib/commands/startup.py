"""Starts TensorFlow without its own lines on the screen, and says which devices are used."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import logging
import os
import pathlib
import sys
import typing
from collections.abc import Iterator

from mnist_lib import runtime
from mnist_lib.distribution import devices

if typing.TYPE_CHECKING:
    from mnist_lib.runs.config import TrainConfig

_logger = logging.getLogger(__name__)

# Levels of TF_CPP_MIN_LOG_LEVEL with which its user asks for TensorFlow's lines.
_ASKED_FOR = ("0", "1")
_WAITING = "mnist_lib.distribution.strategies"  # says that a worker waits for the others


def start_tensorflow(config: TrainConfig | None = None, *, report_devices: bool = True) -> bool:
    """Imports TensorFlow, has it look for its devices, and logs which are used.

    It writes a dozen lines of its own meanwhile, which no setting stops. They are shown
    only if it fails, or if `TF_CPP_MIN_LOG_LEVEL` asks for them. No logical device is
    made: strategies still can split the CPU or join other workers.

    Args:
      config: the run that is to follow.
      report_devices: whether they are of interest.

    Returns:
      Whether this process is to tell its results: it is alone, or the chief of its
      workers. Another one logs warnings and errors from here on, no more.
    """
    is_wanted = os.environ.get("TF_CPP_MIN_LOG_LEVEL") in _ASKED_FOR
    runtime.configure_before_tensorflow()
    said: list[str] = []
    with contextlib.nullcontext() if is_wanted else standard_error_caught(said):
        with _nothing_looked_through():
            import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
    is_chief = True
    if config is not None and config.strategy == "multi_worker_mirrored":
        from mnist_lib.distribution import clusters

        is_chief = clusters.read_cluster(config.worker_port).index == 0
    if not is_chief:
        for handler in logging.getLogger("mnist_lib").handlers:
            handler.addFilter(_is_for_all_workers)
    if report_devices:
        _report_devices(gpus, "".join(said), config)
    return is_chief


@contextlib.contextmanager
def _nothing_looked_through() -> Iterator[None]:
    """Has Python look for garbage in what the block makes once, at its end, and never again.

    TensorFlow's import makes 400,000 objects that stay. Going through those that there are, again
    and again as they become more, takes a seventh of its time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.collect()
        gc.freeze()
        if was_enabled:
            gc.enable()


def _report_devices(gpus: list, said: str, config: TrainConfig | None) -> None:
    import tensorflow as tf

    names = [tf.config.experimental.get_device_details(gpu).get("device_name") for gpu in gpus]
    line = devices.describe_devices(
        [name or "GPU" for name in names],
        len(os.sched_getaffinity(0)),
        strategy=config.strategy if config else None,
        num_replicas=config.num_replicas if config else 0,
    )
    _logger.info("Devices: %s", line)
    if not gpus:
        reason = devices.why_no_gpu(
            pathlib.Path("/"), os.environ, said, built_with_cuda=tf.test.is_built_with_cuda()
        )
        if reason is not None:
            _logger.warning("%s", reason)


def _is_for_all_workers(record: logging.LogRecord) -> bool:
    return record.levelno > logging.INFO or record.name == _WAITING


@contextlib.contextmanager
def standard_error_caught(texts: list[str]) -> Iterator[None]:
    """Keeps what is written to file descriptor 2, by whatever language, off the screen.

    Args:
      texts: gets what was written. If an exception ends the block, it is shown, too.
    """
    sys.stderr.flush()
    screen = os.dup(2)
    was_enabled = faulthandler.is_enabled()
    with open(os.memfd_create("standard error"), "w+", errors="replace") as caught:
        os.dup2(caught.fileno(), 2)
        faulthandler.enable(screen)  # a crash ends the process without an exception
        try:
            yield
        finally:
            faulthandler.disable()
            sys.stderr.flush()
            os.dup2(screen, 2)
            os.close(screen)
            if was_enabled:
                faulthandler.enable()
            caught.seek(0)
            texts.append(caught.read())
            if isinstance(sys.exception(), Exception):
                sys.stderr.write(texts[-1])
