"""Pages of which a part, between two marks, is written by a script."""

from __future__ import annotations

import pathlib

DOCS = pathlib.Path(__file__).parent


def replace_part(name: str, begin: str, end: str, part: str) -> None:
    """Writes a page again, with another part between its marks; see `with_part`."""
    page = DOCS / name
    page.write_text(with_part(page.read_text(), begin, end, part))


def with_part(page: str, begin: str, end: str, part: str) -> str:
    """Returns a page with another part between its marks.

    Args:
      page: its text.
      begin, end: the marks, each a line.
      part: what is to stand between them.

    Raises:
      ValueError: the page does not have both of them.
    """
    before, begins, rest = page.partition(begin)
    _, ends, after = rest.partition(end)
    if not begins or not ends:
        raise ValueError(f"the page does not have {begin.strip()} and {end.strip()}")
    return f"{before}{begin}\n{part}\n{end}{after}"
