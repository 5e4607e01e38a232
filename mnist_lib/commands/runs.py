"""Lists the runs in a folder: how far they are, and how accurate.

mnist-lib runs --sort=test     # those in runs/
mnist-lib runs /shared/runs
"""

import dataclasses
import json
import logging
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags as absl_flags

from mnist_lib import choices, errors
from mnist_lib.commands import command_line

FLAGS = absl_flags.FLAGS
_FOLDER = "runs"
_SORTS: dict[str, Callable[[Any], Any]] = {
    "name": lambda run: run.path,
    "time": lambda run: -run.started,
    "validation": lambda run: -_or_least(run.validation_accuracy),
    "test": lambda run: -_or_least(run.test_accuracy),
}
_logger = logging.getLogger(__name__)


def run(arguments: Sequence[str] | None = None) -> None:
    """Runs the command; `arguments` are its flags, by default those of the process."""
    absl_flags.DEFINE_string(
        "sort",
        "name",
        f"{' | '.join(_SORTS)}; of time the latest, of accuracies the best first",
        module_name="Output",
    )
    absl_flags.DEFINE_bool("json", False, "print JSON instead of a table", module_name="Output")
    FLAGS.set_gnu_getopt(True)  # the folder may stand before the flags
    command_line.run_with_arguments(_list, __doc__, arguments)


def _list(folders: list[str]) -> None:
    choices.check("sort", FLAGS.sort, tuple(_SORTS))
    from mnist_lib.inspection import tables
    from mnist_lib.runs import overview

    if len(folders) > 1:
        raise errors.ConfigError("folder", f"{' '.join(folders)} are several; name one")
    folder = folders[0] if folders else _FOLDER
    found, num_unreadable = [], 0
    for path in overview.find_runs(folder):
        try:
            found.append(overview.look_at(path))
        except errors.MnistLibError as error:
            num_unreadable += 1
            _logger.warning("%s", error)
    if not found and not num_unreadable:
        raise errors.DataNotFoundError(f"{folder}: holds no run. Pass the folder of your runs.")
    found.sort(key=_SORTS[FLAGS.sort])
    if FLAGS.json:
        print(json.dumps([dataclasses.asdict(run) for run in found], indent=2))
        return
    top = pathlib.Path(folder).expanduser()
    tables.print_runs([_row(run, top) for run in found], title=folder)
    if num_unreadable:
        print(f"{num_unreadable} cannot be read, see above.")


def _row(run: Any, top: pathlib.Path) -> list[str]:
    path = pathlib.Path(run.path)
    name = path.relative_to(top) if path != top and path.is_relative_to(top) else path
    total = "?" if run.total_steps is None else run.total_steps
    seconds = "-" if run.train_seconds is None else f"{run.train_seconds:.1f}"
    accuracies = [
        "-" if accuracy is None else f"{accuracy:.4f}"
        for accuracy in (run.validation_accuracy, run.test_accuracy)
    ]
    steps = f"{run.step}/{total}"
    return [str(name), run.dataset, run.model, steps, run.state, *accuracies, seconds]


def _or_least(accuracy: float | None) -> float:
    return -1.0 if accuracy is None else accuracy
