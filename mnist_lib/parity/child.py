"""Answers a question of parity in a process of its own, which has as many devices as it needs."""

from __future__ import annotations

import os
import pathlib
import pickle
import subprocess
import sys
import traceback

import cloudpickle
import keras

from mnist_lib import errors, os_errors
from mnist_lib.distribution import strategies
from mnist_lib.parity import parcel, report
from mnist_lib.training import own_errors


def answer(question: report.Question) -> report.ParityReport:
    """Returns the report, or raises what the user's functions raised there.

    Keras computes there as it does here: its floatx, dtype policy, image data format and
    epsilon are those of this process.

    Raises:
      MnistLibError: the process ended by itself, or raised what cannot be sent.
    """
    with os_errors.temporary_folder() as folder:
        asked, answered = folder / "question", folder / "answer"
        # In two layers: what is inside needs what is outside to be in force.
        outside = (_settings(), question.num_replicas, parcel.pack(question))
        asked.write_bytes(cloudpickle.dumps(outside))
        command = [sys.executable, "-m", "mnist_lib.parity.child", str(asked), str(answered)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        environment.pop("TF_CONFIG", None)
        done = subprocess.run(command, env=environment, check=False)
        if done.returncode:
            raise errors.MnistLibError(
                f"check_replica_parity: its process ended with exit code {done.returncode}; "
                "see its messages above"
            )
        kind, content = cloudpickle.loads(answered.read_bytes())
    if kind == "error":
        raise _error(*content)
    return content


def _settings() -> dict:
    return {
        "set_floatx": keras.config.floatx(),
        "set_dtype_policy": keras.config.dtype_policy().name,
        "set_image_data_format": keras.config.image_data_format(),
        "set_epsilon": keras.config.epsilon(),
    }


def _error(pickled: bytes | None, name: str, message: str, trace: str) -> Exception:
    """Returns the error that was raised there, with its traceback as a note."""
    error: Exception = errors.MnistLibError(f"check_replica_parity: {name}: {message}")
    if pickled is not None:
        error = cloudpickle.loads(pickled)
    error.add_note(f"Raised in the process that compares:\n{trace}")
    return error


def _sendable(error: Exception) -> bytes | None:
    """Returns an error as bytes; None if it cannot be made again from them."""
    try:
        pickled = cloudpickle.dumps(error)
        again = cloudpickle.loads(pickled)
    except (TypeError, AttributeError, ValueError, pickle.PickleError):
        return None  # its name and message are sent
    return pickled if str(again) == str(error) else None


def _main() -> None:
    asked, answered = map(pathlib.Path, sys.argv[1:])
    settings, num_replicas, packed = cloudpickle.loads(asked.read_bytes())
    for name, value in settings.items():
        getattr(keras.config, name)(value)
    strategies.can_split_cpu(num_replicas)
    try:
        content: tuple = ("report", report.answer(parcel.unpack(packed)))
    except Exception as error:  # passed on, whatever it is
        own = own_errors.own_error(error)
        trace = "".join(traceback.format_exception(own))
        content = ("error", (_sendable(own), type(own).__name__, str(own), trace))
    answered.write_bytes(cloudpickle.dumps(content))


if __name__ == "__main__":
    _main()
