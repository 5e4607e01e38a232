"""Progress to watch: a bar on a terminal, log lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable

import tqdm

_logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Shows step, loss, accuracy, images per second and the time left."""

    def __init__(
        self,
        total_steps: int,
        step: int,
        *,
        show_bar: bool,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Starts at `step` of `total_steps`; a bar only if wanted and on a terminal."""
        self._total_steps = total_steps
        self._clock = clock
        self._last_line = clock()
        self._bar = tqdm.tqdm(
            total=total_steps,
            initial=step,
            unit="step",
            dynamic_ncols=True,
            disable=not (show_bar and sys.stderr.isatty()),
        )

    def update(self, step: int, loss: float, accuracy: float, images_per_second: float) -> None:
        """Shows the latest values; lines at most every ten seconds."""
        values = f"loss {loss:.4f}, accuracy {accuracy:.4f}, {images_per_second:,.0f} images/s"
        if not self._bar.disable:
            self._bar.set_postfix_str(values, refresh=False)
            self._bar.update(step - self._bar.n)
        elif self._clock() - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = self._clock()
            _logger.info("step %d of %d: %s", step, self._total_steps, values)

    def message(self, text: str) -> None:
        """Shows a line that stays."""
        if self._bar.disable:
            _logger.info("%s", text)
        else:
            self._bar.write(text, file=sys.stderr)

    def close(self) -> None:
        """Leaves the bar as it is."""
        self._bar.close()
