"""Injects faults for as long as it is asked to, and writes the page.

python -m tests.fault_injection --seconds=300
python -m tests.fault_injection --page=docs/faults.md     # all there are: hours
"""

from __future__ import annotations

import argparse
import os
import pathlib
import random
import shutil
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tqdm

from tests.fault_injection import campaign, page, scenarios


def main() -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fault_injection", description=__doc__)
    parser.add_argument("--scenario", action="append", help="one of them; may be repeated")
    parser.add_argument("--fault", action="append", help="words of a fault; may be repeated")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="for how long")
    parser.add_argument("--kills", type=int, default=50, help="how many at random times, of a run")
    parser.add_argument("--seed", type=int, default=0, help="chooses the order")
    parser.add_argument("--jobs", type=int, default=2, help="processes at once")
    parser.add_argument("--page", type=pathlib.Path, help="the page to write")
    parser.add_argument(
        "--keep", type=pathlib.Path, help="an empty folder, kept with what was lost"
    )
    arguments = parser.parse_args()
    if shutil.which("strace") is None:
        print("strace is not there: apt-get install strace", file=sys.stderr)
        return os.EX_UNAVAILABLE
    started = time.monotonic()
    names = arguments.scenario or [one.name for one in scenarios.SCENARIOS]
    folder = arguments.keep or pathlib.Path(tempfile.mkdtemp(prefix="faults-"))
    # AutoGraph's files, should a process that is killed leave any, are seen here.
    temporary = folder / "tmp"
    temporary.mkdir(parents=True)
    tempfile.tempdir = os.environ["TMPDIR"] = str(temporary)
    tqdm.tqdm.get_lock()  # makes files, which forks are not to make
    chosen = [one for one in scenarios.SCENARIOS if one.name in names]
    weights = sum(scenario.weight for scenario in chosen)
    counts: list[campaign.Count] = []
    for scenario in chosen:
        share = arguments.seconds * scenario.weight / weights
        at_work = campaign.Campaign(scenario, folder / scenario.name, arguments.jobs)
        planned = at_work.plan(arguments.fault or [""])
        random.Random(arguments.seed).shuffle(planned)
        planned = campaign.in_turn(planned)
        deadline = time.monotonic() + share
        with tqdm.tqdm(total=len(planned), desc=scenario.name, mininterval=10) as bar:
            counts += at_work.run(planned, deadline, bar)
        if scenario.name == "run":
            chance = random.Random(arguments.seed)
            counts.append(at_work.kill_at_random(arguments.kills, chance, deadline + share))
        text = page.of(counts, time.monotonic() - started, sorted(temporary.iterdir()))
        if arguments.page:  # also of what there is, should it not come to its end
            arguments.page.write_text(text)
    lost = [line for count in counts for line in count.lost]
    print(text)
    for line in lost:
        print(line, file=sys.stderr)
    if not arguments.keep:
        shutil.rmtree(folder)
    return os.EX_SOFTWARE if lost else os.EX_OK
