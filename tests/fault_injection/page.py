"""The page of what was survived."""

from __future__ import annotations

import os
import platform

from tests.fault_injection import scenarios, tally

_ABOUT = """# What was survived

`make faults` puts one fault at each system call that changes a file (under `strace`, which kills
the process before the call takes effect, or has it fail; a disk that fills up is a real one, in
memory), does the work again without a fault, and compares: weights to the last bit, results,
history, each step of each tag of the event files, and the names of all files. After a power loss
(played from a recording: all that was not fsynced is gone, or one write of it; with and without the
names in folders that were not) event files may lack steps, nothing else. `refused` is an exit
code of the contract and a line that says what to do. `lost` is anything else: another result, a run
that starts over, a file that is half there or stays for good, exit code 70, a traceback, no end.
A call that did not come again (its number changed) is not counted as injected.
Where there was no time for all, a seed chose, of each fault as many. Each go records the work anew;
`possible` is of the last recording, whose calls are not quite those of another.
What malformed files do is in [faults_inputs.md](faults_inputs.md).

""".splitlines()


def of(so_far: tally.Tally) -> str:
    """Returns the page, Markdown."""
    counts = so_far.counts
    titles = {one.name: one.title for one in scenarios.SCENARIOS}
    injected = sum(count.injected for count in counts)
    lost = sum(len(count.lost) for count in counts)
    lines = [
        *_ABOUT,
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
        f"{so_far.seconds / 60:.0f} minutes on {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, Linux {platform.release()}; files left in the temporary "
        f"folder by all processes together: {so_far.num_left_over}.",
        "",
    ]
    if so_far.of_other_versions:
        names = ", ".join(f"*{titles[name]}*" for name in so_far.of_other_versions)
        lines += [f"Tried with an earlier version of the package than the rest: {names}.", ""]
    return "\n".join(lines)
