"""What the settings of a process do to the speed of the library's loop."""

from __future__ import annotations

from benchmarks import arrays, contenders, settings, turns
from benchmarks.tasks import Task


def measure_settings(
    *,
    model: str = "mlp",
    batch_size: int = 128,
    num_rounds: int = 5,
    steps_per_round: int | None = None,
    data_options: dict | None = None,
) -> dict:
    """Times the library's loop in processes with different settings, in turn.

    Args:
      model, batch_size, num_rounds, steps_per_round, data_options: as for `comparison.compare`.

    Returns:
      `settings`, and `results`: for each of `settings.VARIANTS` what `turns.take_turns` returns;
      `slower_by` is relative to the scripts' own settings.

    Raises:
      ConfigError: not all contenders can build the network, or no images per step.
    """
    steps = contenders.steps_per_turn(model, batch_size, steps_per_round)
    with arrays.exported(data_options or {}) as (path, data):
        tasks = {
            name: Task(
                "mirrored", model, batch_size, path, process={"deterministic": True} | process
            )
            for name, process in settings.VARIANTS.items()
        }
        results = turns.take_turns(tasks, num_rounds, steps)
    measured = {
        "dataset": data["dataset"],
        "model": model,
        "batch_size": batch_size,
        "num_rounds": num_rounds,
        "steps_per_round": steps,
    }
    return {"settings": measured, "results": results}
