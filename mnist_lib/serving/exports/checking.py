"""Whether an export gives a run's answers: it is loaded elsewhere and asked all test images."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
import typing

import numpy as np

from mnist_lib import errors, os_errors
from mnist_lib.serving.exports import child
from mnist_lib.serving.exports.formats import ExportFormat

if typing.TYPE_CHECKING:
    from mnist_lib.inspection.predictions import Predictions
    from mnist_lib.serving.exports.served import ServedModel

# Rounding in another order moves a float32 probability by less than a hundredth of this.
MOST_PROBABILITY_DIFFERENCE = 1e-3
_NOTHING_LEFT = "Nothing is left of it."


def compare(
    chosen: ExportFormat, artefact: pathlib.Path, served: ServedModel, reference: Predictions
) -> dict:
    """Has an export answer the images of a reference, and compares.

    Args:
      chosen: its format.
      artefact: the file or folder.
      served: what it was written from.
      reference: what the run says of the images, N of them.

    Returns:
      `num_images`, `num_labels_that_differ`, `greatest_probability_difference` in [0, 1],
      `num_correct`, `accuracy`, `run_num_correct`, `images_per_second` of processor time, on
      one thread; of a page of time.

    Raises:
      ExportError: it cannot be loaded or run, or says something else.
    """
    images = np.ascontiguousarray(reference.split.images).reshape(-1, *served.signature_shape)
    probabilities, labels, seconds = _answers(chosen, artefact, images)
    expected = reference.probabilities
    if probabilities.shape != expected.shape or labels.shape != reference.predicted.shape:
        raise errors.ExportError(
            f"the export answers {list(images.shape)} images with probabilities "
            f"{list(probabilities.shape)} and labels {list(labels.shape)}, not "
            f"{list(expected.shape)}. {_NOTHING_LEFT}"
        )
    num_images = len(images)
    found = {
        "num_images": num_images,
        "num_labels_that_differ": int((labels != reference.predicted).sum()),
        "greatest_probability_difference": float(np.abs(probabilities - expected).max()),
        "num_correct": int((labels == reference.split.labels).sum()),
        "accuracy": float((labels == reference.split.labels).mean()),
        "run_num_correct": int(reference.is_correct.sum()),
        "images_per_second": num_images / seconds,
    }
    _check_same(chosen, served.precision, found)
    return found


def most_differing(chosen: ExportFormat, num_images: int) -> int:
    """Returns how many labels of `num_images` may differ from the run's."""
    return -(-chosen.most_differing * num_images // 10_000)


def _check_same(chosen: ExportFormat, precision: str, found: dict) -> None:
    allowed = most_differing(chosen, found["num_images"])
    difference = found["greatest_probability_difference"]
    is_float32 = precision == "float32" and not chosen.most_differing
    most = MOST_PROBABILITY_DIFFERENCE if is_float32 else 1.0
    # What is not a number is not small.
    if found["num_labels_that_differ"] <= allowed and difference <= most:
        return
    advice = "Choose another format."
    if precision != "float32":
        advice = (
            f"The run computes in {precision}, as saved_model and keras do; choose one of them."
        )
    raise errors.ExportError(
        f"the export and the run differ on the labels of {found['num_labels_that_differ']} of "
        f"{found['num_images']} test images (at most {allowed} may) and by up to "
        f"{difference:.2g} in a probability. {_NOTHING_LEFT} {advice}"
    )


def _answers(
    chosen: ExportFormat, artefact: pathlib.Path, images: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns float32 probabilities `[N, C]`, labels `[N]` and the seconds that it took."""
    if chosen.reader is None:
        probabilities, seconds = chosen.writer_module().run(artefact, images)
        return probabilities, probabilities.argmax(-1), float(seconds)
    with os_errors.temporary_folder() as folder:
        asked, answered = folder / "images.npy", folder / "answers.npz"
        with os_errors.writing(folder, "Set TMPDIR to a folder with space."):
            np.save(asked, images)
        here = pathlib.Path(child.__file__)
        reader = here.with_name(f"{chosen.reader}.py")
        # In the folder of the artefact, whose path TensorFlow may take for a pattern.
        done = subprocess.run(
            [sys.executable, "-P", str(here), str(reader), artefact.name, asked, answered],
            cwd=artefact.parent,
            env=os.environ
            | {
                "PYTHONPATH": os.pathsep.join(map(os.path.abspath, filter(None, sys.path))),
                "TF_CPP_MIN_LOG_LEVEL": "2",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode:
            raise errors.ExportError(
                "the export cannot be used in a fresh process "
                f"({_last_error(done.stderr) or done.returncode}). {_NOTHING_LEFT}"
            )
        with np.load(answered, allow_pickle=False) as answers:
            return answers["probabilities"], answers["labels"], float(answers["seconds"])


def _last_error(said: str) -> str:
    """Returns the first line of the last exception that a process has told of."""
    lines = re.findall(r"(?m)^[A-Za-z_][\w.]*: .*", said)
    return lines[-1] if lines else ""
