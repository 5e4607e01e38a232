"""Progress to watch: a bar on a terminal, log lines elsewhere."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections.abc import Callable, Sequence

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
        """Starts at `done` of `total` units; a bar only if wanted and on a terminal."""
        self._total = total
        self._name = description or unit
        self._clock = clock
        self._last_line = clock()
        self._bar = tqdm.tqdm(
            desc=f"{self._name}: ",
            total=total,
            initial=done,
            unit=unit,
            bar_format=_BAR_FORMAT,
            ncols=shutil.get_terminal_size().columns,
            disable=not (show_bar and sys.stderr.isatty()),
        )

    def update(self, done: int, values: Sequence[str] = ()) -> None:
        """Shows what is done; of the values, the first ones that fit, or all in a line.

        Lines come at most every ten seconds.
        """
        if not self._bar.disable:
            # tqdm's own look at the width draws nothing where a terminal does not tell it.
            self._bar.ncols = shutil.get_terminal_size().columns
            fitting = first_that_fit(values, self._bar.ncols - _BAR_COLUMNS - len(self._name))
            self._bar.set_postfix_str(fitting, refresh=False)
            self._bar.update(done - self._bar.n)
        elif self._clock() - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = self._clock()
            _logger.info(
                "%s", f"{self._name} {done} of {self._total}: {', '.join(values)}".rstrip(": ")
            )

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
