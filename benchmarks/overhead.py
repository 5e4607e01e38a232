"""What logging, validation and checkpoints add to the time of training steps."""

from __future__ import annotations

import functools
import pathlib
import tempfile
import time

import mnist_lib
from benchmarks import workers
from mnist_lib import choices, runtime

_EPOCHS = 2  # in the first the validation is traced


def measure_overhead(model: str = "cnn", data_options: dict | None = None) -> dict:
    """Trains two epochs with everything at its default, in a new process.

    Args:
      model: a key of `choices.MODEL_OPTIONS`.
      data_options: arguments of `load_dataset`.

    Returns:
      `dataset`, `model`, and `epochs`: for each epoch `train_seconds`, the time of the
      training steps; the time of `validation`, `checkpoints` and `summaries`; `other`, the
      rest of its time; and `overhead`, all but the first over the first.
    """
    return workers.ask_once("overhead", {"model": model, "data_options": data_options or {}})


def run(model: str, data_options: dict) -> dict:
    """Does what `measure_overhead` says, in this process."""
    runtime.configure_before_tensorflow()
    runtime.make_deterministic(seed=0)
    config = mnist_lib.TrainConfig(
        model=model,
        epochs=_EPOCHS,
        dataset=data_options.get("name", choices.AUTO),
        **{name: value for name, value in data_options.items() if name != "name"},
    )
    calls = timed_calls()
    with tempfile.TemporaryDirectory() as folder:
        results = mnist_lib.train_and_evaluate(config, pathlib.Path(folder, "run"))
    return {"dataset": results["dataset"], "model": model, "epochs": divide_into_epochs(calls)}


def timed_calls() -> list[tuple[str, float, float]]:
    """Has the parts of the outer loop note each call, from now on, in the list that it returns.

    Returns:
      Of each call its part, and when it began and ended, in seconds of `time.perf_counter`;
      empty at first.
    """
    from mnist_lib.inspection import summaries
    from mnist_lib.runs import checkpoints
    from mnist_lib.training import evaluator, trainer

    calls: list[tuple[str, float, float]] = []

    def time_calls(part: str, owner: type, method_name: str) -> None:
        method = getattr(owner, method_name)

        @functools.wraps(method)
        def timed(*args, **kwargs):
            begin = time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                calls.append((part, begin, time.perf_counter()))

        setattr(owner, method_name, timed)

    time_calls("train", trainer.Trainer, "train")
    time_calls("validation", evaluator.Evaluator, "evaluate")
    time_calls("checkpoints", checkpoints.CheckpointDirectory, "save")
    for method_name in ("training", "evaluation", "weights", "gradients", "flush"):
        time_calls("summaries", summaries.RunSummaries, method_name)
    return calls


def divide_into_epochs(calls: list[tuple[str, float, float]]) -> list[dict]:
    """Returns where the time of each epoch went, given the calls in their order.

    An epoch begins with the first training after a validation. The last evaluation is
    the test, and is left out with all that follows.
    """
    test = max(index for index, (part, _, _) in enumerate(calls) if part == "validation")
    begins, validated = [0], False
    for index, (part, _, _) in enumerate(calls[:test]):
        if part == "train" and validated:
            begins.append(index)
        validated = part == "validation" or (validated and part != "train")
    ends = [*begins[1:], test]
    return [
        _shares(calls[begin:end], calls[end][1] - calls[begin][1])
        for begin, end in zip(begins, ends, strict=True)
    ]


def _shares(calls: list[tuple[str, float, float]], whole: float) -> dict:
    """Returns where the time of an epoch went, which took `whole` seconds."""
    seconds = {"train": 0.0, "validation": 0.0, "checkpoints": 0.0, "summaries": 0.0}
    for part, begin, end in calls:
        seconds[part] += end - begin
    train_seconds = seconds.pop("train")
    return {
        "train_seconds": train_seconds,
        **seconds,
        "other": whole - train_seconds - sum(seconds.values()),
        "overhead": whole / train_seconds - 1,
    }
