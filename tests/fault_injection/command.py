"""Injects faults for as long as it is asked to, and writes the page.

python -m tests.fault_injection --seconds=300
python -m tests.fault_injection --page=docs/faults.md     # all there are: hours
python -m tests.fault_injection --seconds=3600 --counts=counts.json   # an hour of them; again: more
"""

from __future__ import annotations

import argparse
import hashlib
import os
import pathlib
import random
import shutil
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tqdm

from tests.fault_injection import campaign, page, scenarios, tally


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
    parser.add_argument(
        "--counts", type=pathlib.Path, help="a file of what came of faults so far, added to"
    )
    arguments = parser.parse_args()
    if shutil.which("strace") is None:
        print("strace is not there: apt-get install strace", file=sys.stderr)
        return os.EX_UNAVAILABLE
    so_far = tally.Tally(arguments.counts)
    earlier, started = so_far.seconds, time.monotonic()
    num_earlier = so_far.num_left_over
    names = arguments.scenario or [one.name for one in scenarios.SCENARIOS]
    folder = arguments.keep or pathlib.Path(tempfile.mkdtemp(prefix="faults-"))
    # AutoGraph's files, should a process that is killed leave any, are seen here.
    temporary = folder / "tmp"
    temporary.mkdir(parents=True)
    tempfile.tempdir = os.environ["TMPDIR"] = str(temporary)
    tqdm.tqdm.get_lock()  # makes files, which forks are not to make
    chosen = [one for one in scenarios.SCENARIOS if one.name in names]
    weights = sum(scenario.weight for scenario in chosen)
    for scenario in chosen:
        share = arguments.seconds * scenario.weight / weights
        at_work = campaign.Campaign(scenario, folder / scenario.name, arguments.jobs)
        planned = at_work.plan(arguments.fault or [""])
        # An order by chance that another recording of the same calls has too.
        planned.sort(key=lambda one: _digest(f"{arguments.seed} {one.fault} {one.key}"))
        deadline = time.monotonic() + share
        with tqdm.tqdm(total=len(planned), desc=scenario.name, mininterval=10) as bar:
            at_work.run(planned, so_far, deadline, bar)
        if scenario.name == "run":
            chance = random.Random(f"{arguments.seed} {earlier}")
            at_work.kill_at_random(arguments.kills, chance, so_far, deadline + share)
        so_far.seconds = earlier + time.monotonic() - started
        so_far.num_left_over = num_earlier + sum(1 for _ in temporary.iterdir())
        so_far.save()
        text = page.of(so_far)
        if arguments.page:  # also of what there is, should it not come to its end
            arguments.page.write_text(text)
    lost = [line for count in so_far.counts for line in count.lost]
    print(text)
    for line in lost:
        print(line, file=sys.stderr)
    if not arguments.keep:
        shutil.rmtree(folder)
    return os.EX_SOFTWARE if lost else os.EX_OK


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
