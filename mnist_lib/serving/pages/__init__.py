"""The pages to draw on, as files of HTML, CSS and JavaScript, and how they are read."""

from __future__ import annotations

import functools
import importlib.resources


@functools.cache
def read(name: str) -> str:
    """Returns the text of a file of this folder, such as `"page.css"`."""
    return (importlib.resources.files(__name__) / name).read_text(encoding="utf-8")
