"""Serves the page, after training a run for it where there is none."""

from __future__ import annotations

import contextlib
import logging
import pathlib
import socket
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from werkzeug import serving

from mnist_lib import errors
from mnist_lib.runs import experiment
from mnist_lib.runs.config import recipe
from mnist_lib.serving.demo import addresses, application
from mnist_lib.serving.demo.run_list import RunList

_RECIPE = "fast"
_logger = logging.getLogger(__name__)


class _QuietHandler(serving.WSGIRequestHandler):
    """Answers requests; tells of them only who has asked for such lines."""

    timeout = 60  # seconds that a client may say nothing

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002
        _logger.debug(message, *args)


def serve(
    listening: socket.socket,
    host: str,
    *,
    runs: pathlib.Path,
    workdir: pathlib.Path | None = None,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Serves until KeyboardInterrupt ends it, as commands raise it at a signal.

    Args:
      listening: what `addresses.listen` has returned.
      host: what it was asked for.
      runs: the folder whose runs are shown.
      workdir: a run to be shown first; without it, and without a finished one in `runs`, one is
        trained there, or goes on if it was stopped, while the page shows how far it is.
      data: fields of `TrainConfig`, of the data that it is trained on.

    Raises:
      MnistLibError: training has failed, or `workdir` is no run that can be shown.
    """
    run_list = RunList(runs, workdir)
    if workdir is not None:
        run_list.load(str(workdir))
    with _served(listening, application.DemoApplication(run_list, host)):
        _logger.info("Open %s - Ctrl+C ends it.", addresses.url_of(listening))
        if workdir is None and not any(run.get("is_finished") for run in run_list.usable()):
            _train(run_list, runs / _RECIPE, dict(data or {}))
        threading.Event().wait()


def _train(run_list: RunList, workdir: pathlib.Path, data: dict[str, Any]) -> None:
    _logger.info("There is no finished run in %s: %s is trained first.", workdir.parent, _RECIPE)
    run_list.training = workdir
    try:
        results = experiment.train_and_evaluate(recipe(_RECIPE, **data), workdir)
    except errors.RunInterruptedError as error:
        _logger.info("%s", error)
        raise KeyboardInterrupt from error
    finally:
        run_list.training = None
    _logger.info("Trained: %.4f of the test images right.", results["test"]["accuracy"])


@contextlib.contextmanager
def _served(
    listening: socket.socket, served: application.DemoApplication
) -> Iterator[serving.BaseWSGIServer]:
    """Answers requests in other threads for the length of the block."""
    address, port, *_ = listening.getsockname()
    server = serving.make_server(
        address,
        port,
        served,
        threaded=True,
        request_handler=_QuietHandler,
        fd=listening.fileno(),
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        listening.close()
