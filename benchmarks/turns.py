"""Times tasks in turn, and compares them within each round.

A round gives every task one turn, so that a machine whose speed drifts slows all of
them down, and the ratio of two times within a round means something. Rounds in which
other processes kept the machine busy are done again, up to a limit.
"""

from __future__ import annotations

import statistics

from benchmarks import load, workers
from benchmarks.tasks import Task

# Rounds are done again until enough were quiet, or there were this many times as many.
_MOST_ROUNDS_FACTOR = 2

Round = dict[str, dict]  # task to what `Worker.train` returned


def take_turns(tasks: dict[str, Task], num_rounds: int, steps_per_round: int) -> dict[str, dict]:
    """Trains each task in a process of its own, in turn.

    Args:
      tasks: name to task; the first is what the others are compared with.
      num_rounds: rounds that count, at least 1; one more before them is warm-up.
      steps_per_round: steps per turn, at least 1.

    Returns:
      For each task `milliseconds_per_step`, the median of its turns, and
      `milliseconds_range`, lowest and highest; `images_per_second`; `slower_by`, how many
      times as long as the first it takes: the median over rounds of the ratio of times
      within one round, and `slower_by_range`; `loss`, the mean training loss of its last
      turn; `first_step_seconds`, tracing included; `peak_memory_mb` of its process; and
      `others_cores`, how many cores other processes kept busy in its turns, the highest.
    """
    with workers.running(tasks) as running:
        first_steps = {name: worker.train(1) for name, worker in running.items()}
        rounds = [_round(running, steps_per_round)]
        while len(rounds) <= _MOST_ROUNDS_FACTOR * num_rounds:
            rounds.append(_round(running, steps_per_round))
            if sum(_others_cores(one) <= load.QUIET_CORES for one in rounds[1:]) == num_rounds:
                break
    chosen = quietest(rounds[1:], num_rounds)
    reference = next(iter(tasks))
    return {
        name: {
            **summary(chosen, name, reference, steps_per_round, task.batch_size),
            "loss": rounds[-1][name]["loss"],
            "first_step_seconds": first_steps[name]["seconds"],
            "peak_memory_mb": rounds[-1][name]["peak_memory_mb"],
        }
        for name, task in tasks.items()
    }


def quietest(rounds: list[Round], num_rounds: int) -> list[Round]:
    """Returns the rounds in which other processes kept the fewest cores busy."""
    return sorted(rounds, key=_others_cores)[:num_rounds]


def _round(running: dict[str, workers.Worker], num_steps: int) -> Round:
    return {name: worker.train(num_steps) for name, worker in running.items()}


def _others_cores(one: Round) -> float:
    return max(turn["others_cores"] for turn in one.values())


def summary(
    rounds: list[Round], name: str, reference: str, num_steps: int, batch_size: int
) -> dict[str, float | list[float]]:
    """Returns the times of task `name` and their ratios to those of task `reference`."""
    milliseconds = [1e3 * one[name]["seconds"] / num_steps for one in rounds]
    ratios = [one[name]["seconds"] / one[reference]["seconds"] for one in rounds]
    median = statistics.median(milliseconds)
    return {
        "milliseconds_per_step": median,
        "milliseconds_range": [min(milliseconds), max(milliseconds)],
        "images_per_second": batch_size * 1e3 / median,
        "slower_by": statistics.median(ratios),
        "slower_by_range": [min(ratios), max(ratios)],
        "others_cores": max(one[name]["others_cores"] for one in rounds),
    }
