"""Whether a run may go on with another configuration."""

from __future__ import annotations

import dataclasses
from typing import Any

from mnist_lib import choices, errors
from mnist_lib.runs.config import TrainConfig

# Fields that do not change what is computed at a given step: a run may be resumed
# with other values of these.
_FREE_TO_CHANGE = frozenset(
    {
        "data_dir",
        "manual_dir",
        "download",
        "steps_per_loop",
        "checkpoint_every",
        "profile_steps",
        "summaries",
        "progress",
        "worker_timeout_seconds",
        "worker_port",
    }
)
_REPLICA_FIELDS = frozenset({"strategy", "num_replicas"})
_LENGTH_FIELDS = frozenset({"epochs", "train_steps"})
_DATA_FIELDS = frozenset({"dataset", "train_size", "validation_size"})


def computed_fields(config: TrainConfig) -> dict[str, Any]:
    """Returns the fields on which depends what is computed at a given step, or how far."""
    fields = dataclasses.asdict(config)
    return {name: value for name, value in fields.items() if name not in _FREE_TO_CHANGE}


def check_resumable(
    started: TrainConfig,
    asked: TrainConfig,
    num_examples: int,
    *,
    started_as: str = "started with",
    allow_other_replicas: bool = False,
) -> None:
    """Checks that a run may go on with another configuration.

    It may become longer, if no learning rate depends on its length.

    Args:
      started: the configuration of the run.
      asked: the one asked for.
      num_examples: images it trains on.
      started_as: what the run, or a part of it, was with `started`.
      allow_other_replicas: whether strategy and number of replicas may differ.

    Raises:
      ConfigError: names the first field that differs and may not.
    """
    free = _FREE_TO_CHANGE | (_REPLICA_FIELDS if allow_other_replicas else frozenset())
    has_own_schedule = started.optimizer == choices.OWN
    is_constant = has_own_schedule or started.lr_schedule == "constant"
    if is_constant and asked.total_steps(num_examples) >= started.total_steps(num_examples):
        free |= _LENGTH_FIELDS
    for field in dataclasses.fields(started):
        ours, theirs = getattr(started, field.name), getattr(asked, field.name)
        if ours != theirs and field.name not in free:
            remedy = "pass a new --workdir, or leave this out to go on as before"
            if field.name in _REPLICA_FIELDS:
                remedy += ", or pass --allow_other_replicas"
            if field.name in _LENGTH_FIELDS:
                why = "it can only become longer"
                if not is_constant:
                    why = f"the {started.lr_schedule} learning rate ends with it"
                remedy = f"{why}; {remedy}"
            if field.name not in _DATA_FIELDS | _REPLICA_FIELDS:
                remedy += "; --init_from=RUN begins a new one with the weights of this"
            raise errors.ConfigError(
                field.name,
                f"is {theirs}, but the run in --workdir was {started_as} {ours}; {remedy}",
            )
