"""What a study is asked for, and the file that keeps it, from which the study goes on."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shlex
from collections.abc import Sequence
from typing import Any

from mnist_lib import bounded, errors, os_errors
from mnist_lib.runs import recipes, run_directory
from mnist_lib.runs.config import TrainConfig

FILE_NAME = "plan.json"


@dataclasses.dataclass(frozen=True)
class StudyRequest:
    """What a study is asked for.

    Attributes:
      recipe_name: what all runs begin with; None: the recipe of their model.
      fields: of `TrainConfig`, what is not as in the recipe, in all runs.
      vary: fields and their values; each is tried with each.
      seeds: of each setting.
      command: what asks for it, without what is of one machine alone.
    """

    recipe_name: str | None
    fields: dict[str, Any]
    vary: dict[str, list[Any]]
    seeds: list[int]
    command: str = ""

    @property
    def recipe(self) -> str:
        """The name of the recipe, unless the model is varied: then each has its own."""
        return self.recipe_name or recipes.recipe_of_model(self.fields.get("model"))

    def with_more_seeds(self, seeds: Sequence[int]) -> StudyRequest:
        """Returns the same with seeds that are not among its own, too."""
        all_seeds = sorted({*self.seeds, *seeds})
        first, end = all_seeds[0], all_seeds[-1] + 1
        is_range = all_seeds == list(range(first, end))
        text = f"{first}:{end}" if is_range else ",".join(map(str, all_seeds))
        parts = [
            f"--seeds={text}" if part.startswith("--seeds=") else part
            for part in shlex.split(self.command)
        ]
        return dataclasses.replace(self, seeds=all_seeds, command=shlex.join(parts))


def difference(one: StudyRequest, other: StudyRequest) -> str | None:
    """Returns in what two requests are of different studies; None if they are of one.

    Of one study are other seeds, other values of what is varied, and other places. What a data
    set is called is for the runs themselves to compare: `auto` is one of its names.
    """
    if one.recipe != other.recipe:
        return f"recipe {one.recipe}"
    if set(one.vary) != set(other.vary):
        return f"vary {', '.join(one.vary) or 'nothing'}"
    for field in {**one.fields, **other.fields}:
        has_effect = field in TrainConfig().common_fields() and field != "dataset"
        missing = object()
        if has_effect and one.fields.get(field, missing) != other.fields.get(field, missing):
            return f"{field} {one.fields[field]}" if field in one.fields else f"no {field} named"
    return None


def write_request(workdir: pathlib.Path, request: StudyRequest) -> None:
    """Keeps a request in the folder of its study, which is there.

    Raises:
      OutputError, StorageError: it cannot be written.
    """
    text = json.dumps(dataclasses.asdict(request), indent=2) + "\n"
    run_directory.write_atomically(workdir / FILE_NAME, text)


def read_request(workdir: pathlib.Path) -> StudyRequest | None:
    """Returns the request that is kept in a folder; None if there is none.

    Raises:
      DataNotFoundError: the file may not be read.
      CorruptDataError: it cannot be understood.
    """
    path = workdir / FILE_NAME
    try:
        with os_errors.reading(path, "Pass a --workdir that you may read."):
            if not path.is_file():
                return None
            return _checked(StudyRequest(**bounded.checked_object(bounded.read_json(path))))
    except (TypeError, ValueError) as error:
        raise errors.CorruptDataError(
            f"{path}: cannot be used ({error}). Restore it from a copy, or name recipe and seeds."
        ) from error


def _checked(request: StudyRequest) -> StudyRequest:
    kinds = {"fields": dict, "vary": dict, "seeds": list, "command": str}
    wrong = [name for name, kind in kinds.items() if not isinstance(getattr(request, name), kind)]
    if not isinstance(request.recipe_name, str | None):
        wrong.append("recipe_name")
    if not wrong:
        wrong = [name for name, values in request.vary.items() if not isinstance(values, list)]
        if not request.seeds or any(type(seed) is not int for seed in request.seeds):
            wrong.append("seeds")
    if wrong:
        raise ValueError(f"its {wrong[0]} cannot be what a study is asked for")
    return request
