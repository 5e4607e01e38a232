"""A network as one HTML file, to draw on: it opens from disk, with no server and no network.

Weights are inside; the layers are plain JavaScript (`pages/layers.js`), which computes in float64
and keeps float32, whatever precision the run was trained in. Batch normalisation is a factor and
an addend for each channel. The page's content security policy names the hashes of its own scripts
and style, and allows nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import os
import pathlib
import re
from typing import Any

import numpy as np

from mnist_lib import errors, files, os_errors
from mnist_lib.serving import pages
from mnist_lib.serving.exports import browsers, page_layers

_SCRIPTS = ("layers.js", "network.js", "normalize.js", "drawing.js", "outcome.js", "export.js")
# Where `run` puts images into a copy of a page.
_PLACE_FOR_IMAGES = "<!-- images -->"
_SECONDS_TO_START = 60
_SECONDS_PER_MILLION_WEIGHTS = 0.2  # and image; ten times what has been measured


def write(served: Any, path: str | os.PathLike[str]) -> None:
    """Writes the page of a model, under its name only when it is whole.

    Args:
      served: has `model`, functional, images `[N, H, W, C]` to logits; `class_names`;
        `image_shape`, height, width and channels; `facts`, texts to show by their names.
      path: the file; its folder exists.

    Raises:
      ConfigError: the model has a layer that the page does not know.
      OutputError, StorageError: it could not be written.
    """
    path = pathlib.Path(path)
    described, weights = page_layers.describe(served.model)
    facts = {str(name): str(text) for name, text in served.facts.items()}
    about = {
        "image_shape": [int(side) for side in served.image_shape],
        "image_dtype": str(served.model.inputs[0].dtype),
        "class_names": [str(name) for name in served.class_names],
        "facts": facts,
        "layers": described,
    }
    with os_errors.writing(path, "Pass another --output."):
        files.replace_file(path, _page(about, weights).encode())


def run(path: str | os.PathLike[str], images: np.ndarray) -> tuple[np.ndarray, float]:
    """Has a page compute the probabilities of images in Chromium, by its own JavaScript.

    Chromium opens a copy of the page that has the images in it, and nothing else is changed.

    Args:
      path: what `write` has written.
      images: `[N, H, W, C]`, or `[N, H, W]` of one channel, as the model takes them.

    Returns:
      The probabilities, float32 `[N, classes]`, and the seconds that computing them took in one
      thread, without Chromium's start.

    Raises:
      DataNotFoundError: there is no Chromium (`browsers.find_chromium()` is None).
      ConfigError: the images have another shape.
      CorruptDataError: the page did not compute.
    """
    path = pathlib.Path(path)
    with os_errors.reading(path, "Export it again."):
        text = path.read_text(encoding="utf-8")
    about = _about(path, text)
    dtype = np.uint8 if about["image_dtype"] == "uint8" else np.float32
    data = np.ascontiguousarray(images, dtype)
    if data.size != len(data) * math.prod(about["image_shape"]):
        raise errors.ConfigError(
            "images", f"{list(data.shape)}; the page takes [N, H, W, C] of {about['image_shape']}"
        )
    block = (
        f'<script type="text/plain" id="images" data-type="{np.dtype(dtype).name}" '
        f'data-count="{len(data)}">{base64.b64encode(data.tobytes()).decode()}</script>'
    )
    weights = 1e-6 * sum(
        array["length"] for layer in about["layers"] for array in layer.get("weights", {}).values()
    )
    with os_errors.temporary_folder() as folder:
        copy = folder / "page.html"
        copy.write_text(text.replace(_PLACE_FOR_IMAGES, block, 1), encoding="utf-8")
        seconds = _SECONDS_TO_START + len(data) * max(weights, 1) * _SECONDS_PER_MILLION_WEIGHTS
        shown = browsers.shown_by_chromium(copy, folder / "profile", seconds)
    found = re.search(r"seconds:([\d.e+-]+) probabilities:([\w+/=]*);", shown)
    if found is None:
        raise errors.CorruptDataError(
            f"{path}: Chromium has computed nothing with it. Open it and look at its console."
        )
    probabilities = np.frombuffer(base64.b64decode(found[2]), "<f4").astype(np.float32)
    return probabilities.reshape(len(data), len(about["class_names"])), float(found[1])


def _about(path: pathlib.Path, text: str) -> dict[str, Any]:
    """Returns what a page says of its model."""
    found = re.search(r'<script type="application/json" id="model">(.*?)</script>', text, re.DOTALL)
    if found is None or text.count(_PLACE_FOR_IMAGES) != 1:
        raise errors.CorruptDataError(f"{path}: is not a page of this library. Export it again.")
    return json.loads(found[1])


def _page(about: dict[str, Any], weights: np.ndarray) -> str:
    """Returns the page: its template with everything in its place."""
    scripts = [f"\n{pages.read(name)}" for name in _SCRIPTS]
    style = f"\n{pages.read('page.css')}"
    policy = [
        "default-src 'none'",
        f"script-src {' '.join(map(_hash, scripts))}",
        f"style-src {_hash(style)}",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    parts = {
        "title": html.escape(_title(about["facts"])),
        "policy": "; ".join(policy),
        "style": style,
        "model": _in_script(json.dumps(about)),
        "weights": base64.b64encode(weights.astype("<f4").tobytes()).decode(),
        "images": _PLACE_FOR_IMAGES,
        "scripts": "\n".join(f"<script>{script}</script>" for script in scripts),
    }
    return re.sub(r"\{(\w+)\}", lambda found: parts[found[1]], pages.read("export.html"))


def _title(facts: dict[str, str]) -> str:
    """Returns what the page is called: its data set and model, as far as they are told."""
    told = [facts[name] for name in ("dataset", "model") if facts.get(name)]
    return ", ".join([*told, "a network to draw on"]) if told else "A network to draw on"


def _hash(text: str) -> str:
    """Returns a script or a style as content security policies name it."""
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _in_script(text: str) -> str:
    """Returns JSON that cannot end the element it stands in."""
    return text.replace("<", "\\u003c")
