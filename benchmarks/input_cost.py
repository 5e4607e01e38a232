"""What it costs to have batches."""

from __future__ import annotations

import time

import mnist_lib
from benchmarks import load, workers
from mnist_lib import runtime


def measure_input(data_options: dict, num_batches: int = 46_876) -> dict:
    """Measures what it costs to have batches, in a new process.

    Args:
      data_options: arguments of `load_dataset`.
      num_batches: batches of indices whose mean time is taken, at least 1; by default
        one more than an epoch of 6,000,000 has.

    Returns:
      `dataset`; `load_seconds`, `load_dataset` alone; `first_batch_seconds`, from the
      call of `load_dataset` to the first batch (TensorFlow has been imported before);
      `peak_memory_mb`, the largest resident set of the process; and
      `index_batch_microseconds`, the mean time of a batch of 128 indices out of
      60,000 and of 6,000,000, the permutations of the epochs included.
    """
    return workers.ask_once("input", {"data_options": data_options, "num_batches": num_batches})


def run(data_options: dict, num_batches: int) -> dict:
    """Does what `measure_input` says, in this process."""
    runtime.configure_before_tensorflow()
    from mnist_lib.datasets import pipelines

    # The first use of a name imports TensorFlow, which is not to be timed.
    load_dataset, train_batches = mnist_lib.load_dataset, mnist_lib.train_batches
    started = time.perf_counter()
    data = load_dataset(**data_options)
    loaded = time.perf_counter()
    next(iter(train_batches(data.train, 128)))
    first_batch = time.perf_counter()
    peak_memory_mb = load.peak_memory_mb()
    microseconds = {}
    for num_examples in (60_000, 6_000_000):
        indices = iter(pipelines.index_batches(num_examples, 128, seed=0, start_step=0).prefetch(2))
        begun = time.perf_counter()
        for _ in range(num_batches):
            next(indices)
        microseconds[str(num_examples)] = 1e6 * (time.perf_counter() - begun) / num_batches
    return {
        "dataset": data.name,
        "load_seconds": loaded - started,
        "first_batch_seconds": first_batch - started,
        "peak_memory_mb": peak_memory_mb,
        "index_batch_microseconds": microseconds,
    }
