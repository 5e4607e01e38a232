"""Who can be timed, on which networks, and what each needs."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Iterable, Sequence

from mnist_lib import choices, errors


@dataclasses.dataclass(frozen=True)
class Contender:
    """One way to train.

    Attributes:
      description: what it is, in a few words.
      module: the module of this package whose `start(task)` begins it.
      requires: the packages, beyond those of mnist_lib, that it imports.
      install: the command that installs them.
    """

    description: str
    module: str
    requires: tuple[str, ...] = ()
    install: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether it is the library's own loop."""
        return self.module == "ours"


CONTENDERS = {
    "mirrored": Contender("mnist_lib under MirroredStrategy, one device", "ours"),
    "default": Contender("mnist_lib without a strategy", "ours"),
    "augmented": Contender("mnist_lib under MirroredStrategy, --augmentation=full", "ours"),
    "fit": Contender("Keras fit without a strategy", "keras_fit"),
    "fit_mirrored": Contender("Keras fit under MirroredStrategy, one device", "keras_fit"),
    "orbit": Contender(
        "Orbit under MirroredStrategy, one device",
        "orbit_loop",
        ("orbit", "tf_keras"),
        # Orbit comes with the Model Garden and uses none of its 20 dependencies but tf-keras.
        "pip install --no-deps tf-models-official tf-keras",
    ),
    "pytorch": Contender("PyTorch, eager", "pytorch_loop", ("torch",), "pip install torch"),
    "pytorch_compiled": Contender(
        "PyTorch, torch.compile", "pytorch_loop", ("torch",), "pip install torch"
    ),
    "jax": Contender(
        "JAX: Flax and Optax, a jitted step",
        "jax_loop",
        ("jax", "flax", "optax"),
        "pip install jax flax optax",
    ),
}
DEFAULT_CONTENDERS = tuple(name for name in CONTENDERS if name != "augmented")

# The networks that all of them can build, and the steps of 128 images in a turn: half a
# second to a second on two cores.
NETWORKS = {"linear": 300, "mlp": 80, "lenet5": 30, "cnn": 8}
_LEAST_STEPS = 5


def steps_per_turn(model: str, batch_size: int, asked: int | None = None) -> int:
    """Checks a network and a batch size, and returns how many steps a turn takes.

    Args:
      model: a key of `NETWORKS`.
      batch_size: images per step.
      asked: that many; None for half a second to a second of them, roughly.

    Raises:
      ConfigError: not all contenders can build the network, or no images per step.
    """
    choices.check("model", model, NETWORKS)
    if batch_size < 1:
        raise errors.ConfigError("batch_size", f"{batch_size} must be at least 1")
    return asked or max(_LEAST_STEPS, NETWORKS[model] * 128 // batch_size)


def installed(names: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Divides contenders into those that can run here and the others.

    Returns:
      The names of those that can, and for each other one the reason.
    """
    reasons = {name: _reason(name) for name in names}
    present = [name for name, reason in reasons.items() if not reason]
    return present, {name: reason for name, reason in reasons.items() if reason}


def check(names: Sequence[str]) -> None:
    """Checks that contenders exist and can run here.

    Raises:
      ConfigError: there are none, one has no such name, or one is not installed.
    """
    if not names:
        raise errors.ConfigError("contenders", f"name at least one of {', '.join(CONTENDERS)}")
    for name in names:
        choices.check("contenders", name, CONTENDERS)
        if reason := _reason(name):
            raise errors.ConfigError("contenders", f"{name}: {reason}")


def _reason(name: str) -> str:
    contender = CONTENDERS[name]
    missing = [
        package for package in contender.requires if importlib.util.find_spec(package) is None
    ]
    return f"{' and '.join(missing)} not installed; {contender.install}" if missing else ""
