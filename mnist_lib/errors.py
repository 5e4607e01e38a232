"""The exceptions that callers may want to catch.

Every message names the thing (a file, a flag, a value), the cause and the next
action. Each class carries the process exit code (sysexits, `os.EX_*`) that the
scripts end with.
"""

import os


class MnistLibError(Exception):
    """Base of all errors raised on purpose by mnist_lib."""

    exit_code = os.EX_SOFTWARE


class ConfigError(MnistLibError, ValueError):
    """A value, or a combination of values, that cannot be used (exit 64).

    Attributes:
      field: the name of the argument or `TrainConfig` field at fault. The
        scripts show it as the flag of the same name.
    """

    exit_code = os.EX_USAGE

    def __init__(self, field: str, message: str):
        super().__init__(f"{field}: {message}")
        self.field = field
        self._message = message

    def __reduce__(self):
        # By default the arguments of Exception, which are not ours: no process could read it.
        return type(self), (self.field, self._message)


class CorruptDataError(MnistLibError):
    """Data that is there and is wrong: checksum, format, counts (exit 65)."""

    exit_code = os.EX_DATAERR


class DataNotFoundError(MnistLibError):
    """Data that is not there and cannot be fetched (exit 66)."""

    exit_code = os.EX_NOINPUT


class DivergedError(MnistLibError):
    """The loss or the gradient stopped being finite (exit 70)."""

    exit_code = os.EX_SOFTWARE


class StudyError(MnistLibError):
    """A run of a study has failed (exit 70)."""

    exit_code = os.EX_SOFTWARE


class ExportError(MnistLibError):
    """An export gives other answers than its run, or cannot be used (exit 70)."""

    exit_code = os.EX_SOFTWARE


class CheckpointError(MnistLibError):
    """Checkpoints exist and none of them can be used (exit 65)."""

    exit_code = os.EX_DATAERR


class OutputError(MnistLibError):
    """The output cannot be created, or is in use (exit 73)."""

    exit_code = os.EX_CANTCREAT


class StorageError(MnistLibError):
    """Writing failed part way, for instance because the disk is full (exit 74)."""

    exit_code = os.EX_IOERR


class RunInterruptedError(MnistLibError):
    """A signal stopped the run after its state was saved (exit 75)."""

    exit_code = os.EX_TEMPFAIL


class WorkerLostError(MnistLibError):
    """Another worker of the run is lost or has failed (exit 75)."""

    exit_code = os.EX_TEMPFAIL
