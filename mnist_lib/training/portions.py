"""Long work in portions, so that signals are heard between them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

_FIRST_STEPS = 10
_SECONDS = 0.5


def portions(num_steps: int, clock: Callable[[], float] = time.monotonic) -> Iterator[int]:
    """Yields numbers of steps that add up to `num_steps`, each of about half a second.

    Python sees a signal, Ctrl-C for one, only when TensorFlow returns to it.

    Args:
      num_steps: at least 0.
      clock: seconds; each portion is over when the next is asked for.
    """
    size = _FIRST_STEPS
    while num_steps > 0:
        portion = min(size, num_steps)
        started = clock()
        yield portion
        seconds = max(clock() - started, 1e-6)
        num_steps -= portion
        size = max(1, min(4 * portion, int(portion * _SECONDS / seconds)))
