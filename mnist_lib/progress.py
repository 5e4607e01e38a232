"""Progress to watch: a bar on a terminal and in a notebook, log lines elsewhere."""

from __future__ import annotations

import contextlib
import importlib
import logging
import shutil
import sys
import time
import typing
import warnings
from collections.abc import Callable, Iterator, Sequence

import tqdm

_logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 10.0
# Percentage, counts, time left and twelve cells of bar come before what is said beside it.
_BAR_COLUMNS = 46
# No rate: tqdm's would count what is done between the steps.
_BAR_FORMAT = "{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{remaining} left]{postfix}"


class Progress:
    """Shows how much of something is done, the time left, and a few values."""

    def __init__(
        self,
        total: int,
        done: int = 0,
        *,
        description: str = "",
        unit: str = "step",
        show_bar: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Starts at `done` of `total` units; a bar only if wanted and where it can be drawn."""
        self._total = total
        self._name = description or unit
        self._clock = clock
        self._last_line = clock()
        notebook = in_notebook()
        self._bar = _bar_class(notebook)(
            desc=f"{self._name}: ",
            total=total,
            initial=done,
            unit=unit,
            bar_format=_BAR_FORMAT,
            ncols=None if notebook else shutil.get_terminal_size().columns,
            disable=not (show_bar and (notebook or sys.stderr.isatty())),
        )

    def update(self, done: int, values: Sequence[str] = ()) -> None:
        """Shows what is done; of the values, the first ones that fit, or all in a line.

        Lines come at most every ten seconds.
        """
        if not self._bar.disable:
            self._bar.set_postfix_str(self._fitting(values), refresh=False)
            self._bar.update(done - self._bar.n)
        elif self._clock() - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = self._clock()
            _logger.info(
                "%s", f"{self._name} {done} of {self._total}: {', '.join(values)}".rstrip(": ")
            )

    def _fitting(self, values: Sequence[str]) -> str:
        if self._bar.ncols is None:  # a notebook wraps lines
            return ", ".join(values)
        # tqdm's own look at the width draws nothing where a terminal does not tell it.
        self._bar.ncols = shutil.get_terminal_size().columns
        return first_that_fit(values, self._bar.ncols - _BAR_COLUMNS - len(self._name))

    def message(self, text: str) -> None:
        """Shows a line that stays."""
        if self._bar.disable:
            _logger.info("%s", text)
        else:
            self._bar.write(text, file=sys.stderr)

    def close(self) -> None:
        """Leaves the bar as it is."""
        self._bar.close()


def first_that_fit(values: Sequence[str], width: int) -> str:
    """Returns as many of the values, joined by commas, as `width` columns hold."""
    text = ""
    for value in values:
        longer = f"{text}, {value}" if text else value
        if len(longer) > width:
            break
        text = longer
    return text


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, whose output is no terminal."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return hasattr(shell, "kernel")


def _bar_class(notebook: bool) -> type[tqdm.tqdm]:
    if not notebook:
        return tqdm.tqdm
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without the widgets a bar of text does as well
        return importlib.import_module("tqdm.auto").tqdm


@contextlib.contextmanager
def shown_lines() -> Iterator[None]:
    """Shows our log lines on standard error meanwhile, if nobody has set up logging.

    Logging is set up if there is a handler that would get them. A level that was chosen for
    `mnist_lib` is kept. Afterwards all is as it was.
    """
    logger, root = logging.getLogger("mnist_lib"), logging.getLogger()
    if logger.hasHandlers():
        yield
        return
    handler, level, propagates = line_handler(), logger.level, logger.propagate
    # absl gives a root without handlers one that stays, when TensorFlow saves. This one does
    # what Python does without any: it shows warnings.
    as_without = logging.StreamHandler()
    as_without.setLevel(logging.WARNING)
    logger.addHandler(handler)
    root.addHandler(as_without)
    logger.propagate = False
    if level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.propagate = propagates
        root.removeHandler(as_without)
        logger.removeHandler(handler)


def line_handler() -> logging.StreamHandler[typing.TextIO]:
    """Returns a handler that writes lines with their time to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    return handler
