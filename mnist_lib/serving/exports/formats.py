"""The formats there are: how each is called, what writes it, and what it needs."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import types

from mnist_lib import choices, errors

# Labels that may differ from the run's, of 10,000.
MOST_DIFFERING_IN_INT8 = 20
_LITERT = ("ai_edge_litert",)
_ONNX = ("tf2onnx", "onnxruntime")


@dataclasses.dataclass(frozen=True)
class ExportFormat:
    """One format.

    Attributes:
      writer: the module of this package whose `write(served, path, calibration_images)`
        writes it.
      reader: the module whose `load(path)` returns what answers images; it imports nothing
        of this library. None: a page, which a browser opens.
      file_name: what the output is called by default.
      ending: what its name must end in; empty: it is a folder.
      packages: what must be importable beside what the library requires.
      most_differing: how many labels of 10,000 may differ from the run's.
      is_calibrated: whether writing it takes images.
    """

    writer: str
    reader: str | None
    file_name: str
    ending: str
    packages: tuple[str, ...] = ()
    most_differing: int = 0
    is_calibrated: bool = False

    def writer_module(self) -> types.ModuleType:
        """Imports what writes it."""
        return importlib.import_module(f"{__package__}.{self.writer}")

    def missing_packages(self) -> list[str]:
        """Returns which of its packages are not installed."""
        return [name for name in self.packages if importlib.util.find_spec(name) is None]


FORMATS = {
    "saved_model": ExportFormat("saved_model", "saved_model", "saved_model", ""),
    "keras": ExportFormat("keras_file", "keras_file", "model.keras", ".keras"),
    "litert": ExportFormat("litert", "litert", "model.tflite", ".tflite", _LITERT),
    "litert_int8": ExportFormat(
        "litert_int8",
        "litert",
        "model_int8.tflite",
        ".tflite",
        _LITERT,
        most_differing=MOST_DIFFERING_IN_INT8,
        is_calibrated=True,
    ),
    "onnx": ExportFormat("onnx_file", "onnx_file", "model.onnx", ".onnx", _ONNX),
    "html": ExportFormat("html_page", None, "model.html", ".html"),
}


def usable_format(name: str) -> ExportFormat:
    """Returns a format that can be written here.

    Raises:
      ConfigError: there is no such format, or packages that it needs are not installed.
    """
    choices.check("format", name, choices.NAMES["export_format"])
    chosen = FORMATS[name]
    missing = chosen.missing_packages()
    if missing:
        raise errors.ConfigError(
            "format",
            f"{name} needs {' and '.join(missing)}; pip install 'mnist_lib[export]', or choose "
            "another",
        )
    return chosen
