"""Whether a process grows: what was sampled of it, a line through it, a table and a picture."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Sequence

from benchmarks import tables
from mnist_lib import errors

if typing.TYPE_CHECKING:
    import matplotlib.axes

# Of the run, left out of what is judged: tracing, and allocators that fill.
WARM_UP = 0.2
# Most that resident memory may grow: 100 MB in a million steps.
BYTES_PER_1000_STEPS = 100_000
_CONFIDENCE = 0.95
_NUM_ROWS = 11


@dataclasses.dataclass(frozen=True)
class Sample:
    """The process after a validation.

    Attributes:
      step, seconds: of the run, and since it began.
      resident_bytes: its resident set.
      descriptors, threads: open files and the like, and threads of the system.
      traces: how often Python has called the model, which it does to build graphs only.
    """

    step: int
    seconds: float
    resident_bytes: int
    descriptors: int
    threads: int
    traces: int


@dataclasses.dataclass(frozen=True)
class Growth:
    """What a line through the samples after the warm-up says; bytes per 1,000 steps.

    Attributes:
      slope, low, high: of the line of least squares, and the limits of its 95 % confidence
        interval, as if the samples were independent of each other.
      grown: which of `descriptors`, `threads` and `traces` were higher in both of the last two
        samples than in any of the first half of what is judged; one may be a moment's.
    """

    slope: float
    low: float
    high: float
    grown: tuple[str, ...]

    @property
    def is_within_bounds(self) -> bool:
        """Whether nothing grows, and memory no faster than `BYTES_PER_1000_STEPS`."""
        return not self.grown and self.low <= BYTES_PER_1000_STEPS


def growth(samples: Sequence[Sample]) -> Growth:
    """Fits a line to the memory of the samples after the warm-up.

    Args:
      samples: in their order; at least 5 after the warm-up.

    Raises:
      ConfigError: there are fewer.
    """
    from scipy import stats

    judged = [sample for sample in samples if sample.step > WARM_UP * samples[-1].step]
    if len(judged) < 5:
        raise errors.ConfigError("steps", "are too few: there must be 5 validations to judge by")
    fit = stats.linregress(
        [sample.step / 1000 for sample in judged], [sample.resident_bytes for sample in judged]
    )
    half_width = stats.t.ppf((1 + _CONFIDENCE) / 2, len(judged) - 2) * fit.stderr
    first_half = judged[: (len(judged) + 1) // 2]
    grown = tuple(
        name
        for name in ("descriptors", "threads", "traces")
        if min(getattr(sample, name) for sample in judged[-2:])
        > max(getattr(sample, name) for sample in first_half)
    )
    return Growth(fit.slope, fit.slope - half_width, fit.slope + half_width, grown)


def table(samples: Sequence[Sample], found: Growth) -> tables.Table:
    """Returns some of the samples, and what they come to, as a table."""
    places = {round(i * (len(samples) - 1) / (_NUM_ROWS - 1)) for i in range(_NUM_ROWS)}
    rows = [
        (
            f"{sample.step:,}",
            f"{sample.seconds:.0f}",
            f"{sample.resident_bytes / 1e6:.1f}",
            str(sample.descriptors),
            str(sample.threads),
            str(sample.traces),
        )
        for sample in (samples[place] for place in sorted(places))
    ]
    grown = f"more {' and '.join(found.grown)}" if found.grown else "nothing else grows"
    note = (
        f"{len(samples)} samples, one at each validation. After the first {WARM_UP:.0%}, resident "
        f"memory grows by {found.slope:,.0f} bytes per 1,000 steps (95 % confidence interval "
        f"{found.low:,.0f} to {found.high:,.0f}; {BYTES_PER_1000_STEPS:,} are allowed); {grown}."
    )
    headings = ("step", "seconds", "resident, MB", "descriptors", "threads", "traces")
    return tables.Table("Growth of the process", headings, rows, note)


def write_chart(samples: Sequence[Sample], found: Growth, path: str) -> None:
    """Draws memory, with the line, and counts over the steps; `path`: such as `soak.png`."""
    from matplotlib import figure

    drawing = figure.Figure(figsize=(9, 5), layout="constrained")
    memory, counts = drawing.subplots(2, sharex=True)
    steps = [sample.step for sample in samples]
    memory.plot(steps, [sample.resident_bytes / 1e6 for sample in samples], ".", markersize=3)
    _draw_line(memory, samples, found)
    memory.set_ylabel("resident memory, MB")
    memory.set_ylim(0, 1.2e-6 * max(sample.resident_bytes for sample in samples))
    memory.legend(loc="lower right")
    for name in ("descriptors", "threads", "traces"):
        counts.step(steps, [getattr(sample, name) for sample in samples], label=name)
    counts.set_ylim(0, 1.4 * max(max(sample.descriptors, sample.threads) for sample in samples))
    counts.set_xlabel("step")
    counts.legend(loc="upper right", ncols=3)
    drawing.savefig(path, dpi=120)


def _draw_line(axes: matplotlib.axes.Axes, samples: Sequence[Sample], found: Growth) -> None:
    judged = [sample for sample in samples if sample.step > WARM_UP * samples[-1].step]
    middle_step = sum(sample.step for sample in judged) / len(judged)
    middle = sum(sample.resident_bytes for sample in judged) / len(judged)
    ends = [judged[0].step, judged[-1].step]
    line = [(middle + found.slope * (step - middle_step) / 1000) / 1e6 for step in ends]
    axes.plot(ends, line, label=f"{found.slope:,.0f} bytes per 1,000 steps")
