"""Has Keras know the library's layers and optimizers, whichever of the two is imported first.

A `.keras` file names its layers, and Keras finds those of others only where they have
registered themselves, which they do when their module is imported. It needs Keras. So
that `import mnist_lib` needs none, the modules are imported as soon as Keras is.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType


def register_with_keras(modules: Iterable[str]) -> None:
    """Imports modules now if Keras has been imported, else right after it is.

    Args:
      modules: full names; what is in them registers itself with Keras.
    """
    names = tuple(modules)

    def register() -> None:
        import keras

        if keras.config.backend() == "tensorflow":  # they import it
            for name in names:
                importlib.import_module(name)

    if sys.modules.get("keras") is not None:
        register()
    else:
        sys.meta_path.insert(0, _AfterKeras(register))


class _AfterKeras(importlib.abc.MetaPathFinder):
    """Finds Keras where the other finders do, and does something once it is imported."""

    def __init__(self, action: Callable[[], None]):
        self._action = action

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "keras":
            return None
        others = [finder for finder in sys.meta_path if not isinstance(finder, _AfterKeras)]
        found = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((one for one in found if one is not None), None)
        if spec is not None and spec.loader is not None:
            self._act_after(spec.loader)
        return spec

    def _act_after(self, loader: importlib.abc.Loader) -> None:
        # On the one object, which stays the loader that it is for all who ask for resources.
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            del vars(loader)["exec_module"]
            execute(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            self._action()

        vars(loader)["exec_module"] = exec_module
