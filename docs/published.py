"""What others have published, for the table and the picture of docs/results.md."""

from __future__ import annotations

import dataclasses
import string

MARKS = "<!-- published: docs/results.py -->\n", "<!-- end of published -->\n"


@dataclasses.dataclass(frozen=True)
class Published:
    """What others have published.

    Attributes:
      what: it is.
      accuracy: of the test images, in %.
      chosen: by the test images: what of it was; "": nothing, it is of the last step.
      seconds: of training; None: it is not said.
      machine: which trained.
      source: where it is said.
    """

    what: str
    accuracy: float
    chosen: str = ""
    seconds: float | None = None
    machine: str = ""
    source: str = ""


_FAST = "https://github.com/tuomaso/train_mnist_fast"
_KERAS = "https://gist.github.com/hgaiser/9fd938d18b20213ee306a1b66ec4a51a"
_ONE_MINUTE = "https://huggingface.co/abidlabs/mnist-from-scratch-1min"
_TWO_CORES = "https://huggingface.co/abidlabs/mnist-cnn-scratch-1min"
# 4 hours for 15 of 30 epochs, one after the other.
_FIFTEEN = "https://github.com/cdeotte/MNIST-CNN-99.75"
_UNPOOLED = "https://arxiv.org/abs/2008.10400"
PUBLISHED = (
    Published("train_mnist_fast, final", 99.04, "settings", 0.762, "GTX 1660 Ti", _FAST),
    Published("small CNN, 24 epochs, one run", 99.19, "", 56.1, "T4", _ONE_MINUTE),
    Published("small CNN, 2 epochs, one run", 98.31, "", 60, "2 CPU cores", _TWO_CORES),
    Published("PyTorch's example, two runs", 99.185, "", 172, "GTX 1660 Ti", _FAST),
    Published("Keras's example, 12 epochs", 99.25, "", 192, "GRID K520", _KERAS),
    Published("15 CNNs together, mean of 100", 99.745, "", 4 * 3600, "Tesla K80", _FIFTEEN),
    Published("each of these 1,500 CNNs", 99.641, "", 960, "Tesla K80", _FIFTEEN),
    Published("An et al. 2020, best ensemble", 99.91, "epochs and networks", source=_UNPOOLED),
    Published("the lecture's CNN", 98.99),
    Published("the lecture's Softmax network", 97.86),
)


def table() -> str:
    """Returns what others have published, in Markdown."""
    lines = [
        "| | | test, % | seconds | on | chosen by the test images |",
        "|---|---|---:|---:|---|---|",
    ]
    for letter, one in zip(string.ascii_letters, PUBLISHED, strict=False):
        name = f"[{one.what}]({one.source})" if one.source else one.what
        seconds = "" if one.seconds is None else f"{one.seconds:g}"
        cells = (letter, name, f"{one.accuracy:g}", seconds, one.machine, one.chosen or "nothing")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
