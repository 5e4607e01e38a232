"""Makes an ensemble of the runs of a setting, and says what any number of them would give."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from mnist_lib import errors, os_errors, runtime
from mnist_lib.datasets.loading import ImageDataset
from mnist_lib.inspection import predictions
from mnist_lib.runs import ensembles, finished_runs, run_directory, run_loop
from mnist_lib.runs.config import TrainConfig
from mnist_lib.studies import ensemble_sizes, study_results
from mnist_lib.training.metrics import EvalMetrics

# What the facts of all members must agree in, where they have it.
_ALIKE = ("class_names", "image_shape", "validation_sha256", "test_sha256")


@dataclasses.dataclass(frozen=True)
class EnsembleResult:
    """An ensemble of all runs of a setting.

    Attributes:
      setting: its name.
      test_time_shift: pixels that each image is moved, too, or 0.
      path: the folder, which is used like that of a run.
      num_examples, num_correct: on the test images.
      accuracy, loss: likewise.
      alone: what each run comes to without the others, in their order.
      sizes: what fewer runs give.
    """

    setting: str
    test_time_shift: int
    path: str
    num_examples: int
    num_correct: int
    accuracy: float
    loss: float
    alone: study_results.SeedSample
    sizes: tuple[ensemble_sizes.EnsembleSize, ...]


def folder_name(test_time_shift: int) -> str:
    """Returns the name of an ensemble's folder, which is beside those of its runs."""
    return f"ensemble-shift-{test_time_shift}" if test_time_shift else "ensemble"


def make(
    setting: str,
    runs: Sequence[pathlib.Path],
    folder: pathlib.Path,
    *,
    test_time_shift: int = 0,
    data: ImageDataset | None = None,
    **data_options: Any,
) -> EnsembleResult:
    """Makes a folder that is used like that of a run, and evaluates it on the test images.

    Args:
      setting: its name.
      runs: folders of finished runs of one data set; their last checkpoints are taken.
      folder: of the ensemble; what was made there before is replaced.
      test_time_shift: pixels, as for `ensembles.build`.
      data: what to evaluate on, instead of loading that of the first run.
      **data_options: as for `finished_runs.evaluate`.

    Raises:
      ConfigError: the runs are of different kinds or data; images cannot be moved so far.
      DataNotFoundError, CorruptDataError, CheckpointError: a run or its data cannot be used.
      OutputError, StorageError: the folder cannot be written.
    """
    runtime.check_not_forked()
    ensembles.check_shift(test_time_shift)
    first = run_directory.RunDirectory(runs[0])
    config = finished_runs.load_config(runs[0])
    data = data or finished_runs.load_data_of(first, config, data_options)
    results = [_results(path, data) for path in runs]
    _check_alike(first, runs)
    members = tuple(
        ensembles.EnsembleMember(path, one["step"]) for path, one in zip(runs, results, strict=True)
    )
    ensemble = ensembles.Ensemble(members, test_time_shift)
    probabilities = np.stack([_probabilities(path, test_time_shift, data) for path in runs])
    made = _made_folder(folder, ensemble, config, first.first_facts())
    evaluated = finished_runs.evaluate(folder, data=data)
    sizes = tuple(ensemble_sizes.accuracies_by_size(probabilities, data.test.labels))
    kind = config.model + (f", images moved by {test_time_shift}" if test_time_shift else "")
    right = probabilities.argmax(-1) == data.test.labels
    alone = study_results.sample(right.mean(-1).tolist())
    more = {"alone": dataclasses.asdict(alone), "sizes": list(map(dataclasses.asdict, sizes))}
    made.write_results(_combined(results, data, kind, evaluated) | more)
    return EnsembleResult(
        setting=setting,
        test_time_shift=test_time_shift,
        path=str(folder),
        num_examples=evaluated.num_examples,
        num_correct=evaluated.num_correct,
        accuracy=evaluated.accuracy,
        loss=evaluated.loss,
        alone=alone,
        sizes=sizes,
    )


def _probabilities(path: pathlib.Path, test_time_shift: int, data: ImageDataset) -> np.ndarray:
    """Returns what one run says of the test images, float32 `[N, C]`."""
    model = finished_runs.load_model(path)
    if test_time_shift:
        model = ensembles.build([model], test_time_shift)
    return predictions.predict_split(model, data.test, data.class_names, data.name).probabilities


def _made_folder(
    folder: pathlib.Path,
    ensemble: ensembles.Ensemble,
    config: TrainConfig,
    first_facts: dict[str, Any],
) -> run_directory.RunDirectory:
    """Makes what the folder of a run has, but for its results, which say that it is finished."""
    made = run_directory.RunDirectory(folder)
    with os_errors.writing(folder, "Pass another --workdir."):
        folder.mkdir(parents=True, exist_ok=True)
        made.discard_results()
        # What suites have found was of other runs.
        of_robustness = (run_directory.ROBUSTNESS_NAME, run_directory.ROBUSTNESS_PICTURE)
        for path in (made.provenance_path, *(folder / name for name in of_robustness)):
            path.unlink(missing_ok=True)
    ensembles.write(folder, ensemble)
    made.write_config(config)
    made.append_provenance(_facts(first_facts))
    return made


def _combined(
    results: Sequence[dict[str, Any]],
    data: ImageDataset,
    model: str,
    evaluated: EvalMetrics,
) -> dict[str, Any]:
    """Returns the results of an ensemble, from those of its runs and its own evaluation."""
    seconds = sum(one["timing"]["train_seconds"] for one in results)
    test = run_loop.eval_results(evaluated)
    return {
        "dataset": data.name,
        "class_names": list(data.class_names),
        "model": f"{len(results)} x {model}",
        **_sum_of("num_parameters", results),
        "step": results[0]["step"],
        "validation": run_loop.eval_results(None),
        "test": test | {"confusion_matrix": evaluated.confusion_matrix.tolist()},
        "timing": {"train_seconds": seconds},
    }


def _sum_of(field: str, results: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Returns a sum over runs; nothing if a run of an older version does not say."""
    values = [one.get(field) for one in results]
    known = [value for value in values if value is not None]
    return {field: sum(known)} if len(known) == len(values) else {}


def _results(path: pathlib.Path, data: ImageDataset) -> dict[str, Any]:
    run = run_directory.RunDirectory(path)
    results = run.read_results()
    if results is None:
        raise errors.DataNotFoundError(
            f"{path}: no results.json there, the run is not finished. Go on with it."
        )
    if (name := run.first_facts().get("dataset", data.name)) != data.name:
        raise errors.ConfigError("run", f"{path} is of {name}, and the others of {data.name}")
    return results


def _check_alike(first: run_directory.RunDirectory, paths: Sequence[pathlib.Path]) -> None:
    """Checks that runs tell the same classes apart, and that no run was trained on what another
    has held out or is tested on.

    Raises:
      ConfigError: names what differs.
    """
    expected = first.first_facts()
    for path in paths:
        found = run_directory.RunDirectory(path).first_facts()
        for fact in _ALIKE:
            values = expected.get(fact), found.get(fact)
            if None not in values and values[0] != values[1]:
                raise errors.ConfigError(
                    "run",
                    f"{path} has {fact} {values[1]}, and {first.path} {values[0]}; "
                    "an ensemble is of runs on the same data",
                )


def _facts(first: dict[str, Any]) -> dict[str, Any]:
    """Returns what an ensemble keeps of the data that its first run is of."""
    ofdata = ("dataset", "own_data", "stands_in_for", "class_names", "image_shape", "image_dtype")
    hashes = tuple(f"{split}_sha256" for split in ("train", "validation", "test"))
    kept = (*ofdata, *hashes, "num_train", "num_validation")
    return {name: first[name] for name in kept if name in first}
