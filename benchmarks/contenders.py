"""Who can be timed, what each needs, and how one is started."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import typing

from mnist_lib import errors


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
}
# The networks that all of them can build.
NETWORKS = ("linear", "mlp", "lenet5", "cnn")
DEFAULT_CONTENDERS = tuple(name for name in CONTENDERS if name != "augmented")


@dataclasses.dataclass(frozen=True)
class Task:
    """What a contender's process is to train; goes to it as JSON.

    Attributes:
      contender: a key of `CONTENDERS`.
      model: a name in `NETWORKS`.
      batch_size: images per step.
      arrays: the file of images and labels that `arrays.export` wrote.
      seed: decides initial weights, order and dropout.
      recipe: for a contender of ours, a recipe that decides the model and all else.
      process: for a contender of ours, process settings; see `settings.apply`.
    """

    contender: str
    model: str
    batch_size: int
    arrays: str
    seed: int = 0
    recipe: str | None = None
    process: dict = dataclasses.field(default_factory=dict)


class Turn(typing.NamedTuple):
    """Some training steps: their mean loss, and the seconds they took."""

    loss: float
    seconds: float


class TrainingLoop(typing.Protocol):
    """A contender that has been started."""

    def train(self, num_steps: int) -> Turn:
        """Takes that many steps."""

    def evaluate(self) -> float:
        """Returns the accuracy on the validation images, in [0, 1]."""


def check_network(model: str) -> None:
    """Checks that all contenders can build a network.

    Raises:
      ConfigError: they cannot.
    """
    if model not in NETWORKS:
        raise errors.ConfigError("model", f"'{model}' is not one of {', '.join(NETWORKS)}")


def start(task: Task) -> TrainingLoop:
    """Starts a contender in this process."""
    module = importlib.import_module(f"benchmarks.{CONTENDERS[task.contender].module}")
    return module.start(task)


def missing_packages(name: str) -> list[str]:
    """Returns the packages that a contender needs and that are not installed."""
    return [
        package
        for package in CONTENDERS[name].requires
        if importlib.util.find_spec(package) is None
    ]


def installed(names: typing.Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Divides contenders into those that can run here and the others.

    Returns:
      The names of those that can, and for each other one the reason.
    """
    reasons = {name: _reason(name) for name in names}
    present = [name for name, reason in reasons.items() if not reason]
    return present, {name: reason for name, reason in reasons.items() if reason}


def check(names: typing.Sequence[str]) -> None:
    """Checks that contenders exist and can run here.

    Raises:
      ConfigError: there are none, one has no such name, or one is not installed.
    """
    if not names:
        raise errors.ConfigError("contenders", f"name at least one of {', '.join(CONTENDERS)}")
    for name in names:
        if name not in CONTENDERS:
            raise errors.ConfigError(
                "contenders", f"'{name}' is not one of {', '.join(CONTENDERS)}"
            )
        if reason := _reason(name):
            raise errors.ConfigError("contenders", f"{name}: {reason}")


def _reason(name: str) -> str:
    missing = missing_packages(name)
    if not missing:
        return ""
    return f"{' and '.join(missing)} not installed; {CONTENDERS[name].install}"
