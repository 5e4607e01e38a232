"""The page of what was survived."""

from __future__ import annotations

import os
import pathlib
import platform
from collections.abc import Sequence

from tests.fault_injection import campaign, scenarios


def of(counts: Sequence[campaign.Count], seconds: float, left_over: Sequence[pathlib.Path]) -> str:
    """Returns the page, Markdown."""
    titles = {one.name: one.title for one in scenarios.SCENARIOS}
    injected = sum(count.injected for count in counts)
    lost = sum(len(count.lost) for count in counts)
    lines = [
        "| in | fault | possible | injected | as without it | refused, named | lost |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for count in counts:
        lines.append(
            f"| {titles[count.scenario]} | {count.fault} | {count.possible} | {count.injected} | "
            f"{count.results['same']} | {count.results['refused']} | {len(count.lost)} |"
        )
    lines += [
        f"| **all** | | {sum(count.possible for count in counts)} | {injected} | "
        f"{sum(count.results['same'] for count in counts)} | "
        f"{sum(count.results['refused'] for count in counts)} | {lost} |",
        "",
        f"{seconds / 60:.0f} minutes on {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, Linux {platform.release()}; files left in the temporary "
        f"folder by all processes together: {len(left_over)}.",
        "",
    ]
    return "\n".join(lines)
