"""What `suite.measure` returned, on the terminal."""

from __future__ import annotations

import rich.console
import rich.table

from benchmarks import tables


def print_report(report: dict) -> None:
    """Prints what `suite.measure` returned to standard output, as tables."""
    for content in tables.tables(report):
        print_table(content)


def print_table(content: tables.Table) -> None:
    """Prints one table to standard output."""
    table = rich.table.Table(
        title=content.title, caption=content.note or None, padding=(0, 0, 0, 1)
    )
    for number, heading in enumerate(content.headings):
        table.add_column(heading, justify="right" if number else "left", no_wrap=number > 0)
    for row in content.rows:
        table.add_row(*row)
    rich.console.Console().print(table)
