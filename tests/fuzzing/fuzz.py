"""Tries each reader with thousands of damaged inputs, in a process of its own; counts what it says.

    python tests/fuzzing/fuzz.py --examples=600 --markdown=docs/faults_inputs.md

A reader fails by another exception than one of ours, a wrong answer, a hang, an end of the process,
a file outside of its folder, or a gigabyte of memory beyond what it takes for good input.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback

HERE = pathlib.Path(__file__).resolve().parent
CORPUS = HERE / "corpus"
sys.path.insert(0, str(HERE))

_SECONDS_EACH = 60
_MOST_MEGABYTES = 1000


@dataclasses.dataclass
class Outcome:
    """What became of the inputs of a reader."""

    reader: str
    tried: int = 0
    accepted: int = 0
    refused: int = 0
    failed: int = 0
    megabytes: int = 0
    failures: dict[str, str] = dataclasses.field(default_factory=dict)


class Hang(BaseException):
    """An input that took too long; no reader catches it."""


def _ring(*_) -> None:
    raise Hang


def run_in_process(names: list[str], options: list[str], work: pathlib.Path) -> list[Outcome]:
    """Tries readers in one process; an end of it is a failure of the one that was at work."""
    for name in names:
        (work / f"{name}.json").unlink(missing_ok=True)
    command = [sys.executable, str(HERE / "fuzz.py"), *names, *options, f"--work={work}", "--child"]
    log_path = work / f"{names[0]}.log"
    with log_path.open("w") as log:
        done = subprocess.run(command, stdout=log, stderr=log, check=False)
    outcomes = []
    for name in names:
        report = work / f"{name}.json"
        if report.exists():
            outcomes.append(Outcome(**json.loads(report.read_text())))
            continue
        last = work / name / "current"
        kept = _keep(work, name, last.read_bytes() if last.exists() else b"")
        tail = log_path.read_text(errors="replace")[-2000:]
        problem = f"the process ended with {done.returncode}: {tail}"
        return [*outcomes, Outcome(name, failed=1, failures={kept: problem})]
    return outcomes


def _keep(work: pathlib.Path, name: str, content: bytes) -> str:
    folder = work / "failed"
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{hashlib.sha256(content).hexdigest()[:12]}"
    path.write_bytes(content)
    return path.name


class Trial:
    """One reader, the folder that it may write to, and what has become of its inputs."""

    def __init__(self, name: str, work: pathlib.Path):
        """Makes the reader, gives it what is good, and notes the memory that this takes."""
        self.outcome = Outcome(name)
        self._work = work
        self._top = work / name
        shutil.rmtree(self._top, ignore_errors=True)
        for folder in ("home", "tmp", "here"):
            (self._top / folder).mkdir(parents=True)
        os.environ |= {
            "HOME": str(self._top / "home"),
            "TMPDIR": str(self._top / "tmp"),
            "HYPOTHESIS_STORAGE_DIRECTORY": str(work / "hypothesis"),
        }
        os.chdir(self._top / "here")
        tempfile.tempdir = None
        import readers

        self.reader = readers.make(name)
        for content in self.reader.good():
            self._read(content)
        self._before = self._listing()
        self._least = _peak_megabytes()

    def attempt(self, content: bytes) -> str | None:
        """Gives the reader an input; returns what is wrong with what it does, or None."""
        from mnist_lib import errors

        self.outcome.tried += 1
        (self._top / "current").write_bytes(content)
        problem = None
        signal.signal(signal.SIGALRM, _ring)
        signal.alarm(_SECONDS_EACH)
        try:
            self._read(content)
            self.outcome.accepted += 1
        except errors.MnistLibError:
            self.outcome.refused += 1
        except Hang:
            problem = f"no answer in {_SECONDS_EACH} s: {traceback.format_exc()}"
        except (Exception, SystemExit):
            problem = traceback.format_exc()
        finally:
            signal.alarm(0)
        if problem is None and (listing := self._listing()) != self._before:
            problem = f"files outside of its folder: {sorted(listing ^ self._before)}"
            self._before = listing
        grown = _peak_megabytes() - self._least
        if problem is None and grown > max(_MOST_MEGABYTES, self.outcome.megabytes):
            problem = f"{grown} MB of memory"
        self.outcome.megabytes = grown
        if problem is not None:
            self.outcome.failed += 1
            self.outcome.failures[_keep(self._work, self.outcome.reader, content)] = problem
        return problem

    def _read(self, content: bytes) -> None:
        folder = self._top / "case"
        folder.mkdir()
        try:
            self.reader.read(content, folder)
        finally:
            shutil.rmtree(folder)

    def _listing(self) -> set[str]:
        """Returns all that is beside the folder that the reader is given."""
        return {
            str(path.relative_to(self._top))
            for path in self._top.rglob("*")
            if path.name != "current"
        }


def _peak_megabytes() -> int:
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def _limit_memory() -> None:
    """Has what asks for a terabyte fail, rather than get it and not use it."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 8 * 2**30
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def _child(name: str, options: argparse.Namespace, work: pathlib.Path) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    trial = Trial(name, work)
    _limit_memory()
    if options.replay:
        for path in sorted(CORPUS.glob(f"{name}-*")):
            trial.attempt(path.read_bytes())
    else:
        _generate(trial, options.examples, options.seed)
    (work / f"{name}.json").write_text(json.dumps(dataclasses.asdict(trial.outcome)))


def _generate(trial: Trial, num_examples: int, seed: int) -> None:
    import hypothesis

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=num_examples,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(trial.reader.inputs())
    def try_one(content: bytes) -> None:
        trial.attempt(content)

    try_one()


def page(outcomes: list[Outcome], command: str) -> str:
    """Returns the page that says what was tried."""
    sums = [sum(getattr(one, field) for one in outcomes) for field in _COUNTS]
    rows = [
        f"| {one.reader} | "
        + " | ".join(f"{getattr(one, field):,}" for field in _COUNTS)
        + f" | {one.megabytes} |"
        for one in outcomes
    ]
    return "\n".join(
        [
            "# What readers answer to damaged input",
            "",
            f"`{command}` gave each reader",
            "damaged, spliced and rewritten forms of good files, with their checksums made right",
            "where there are any, and bytes of no kind. An input is accepted if it still means",
            "something, and refused by a documented error or exit code. It fails by any other",
            f"exception, a wrong answer, {_SECONDS_EACH} s without one, the end of the process, a",
            "file outside of the folder that it was given, or 1,000 MB beyond what good input",
            "takes; the last column is the most that a reader took beyond that, in MB.",
            "",
            "| reader | tried | accepted | refused | failed | memory |",
            "|---|---|---|---|---|---|",
            *rows,
            "| all | " + " | ".join(f"{number:,}" for number in sums) + " | |",
            "",
            "What once failed is in `tests/fuzzing/corpus` and is tried by every run of the tests.",
            "",
        ]
    )


_COUNTS = ("tried", "accepted", "refused", "failed")


def main() -> None:
    """Runs all readers, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("readers", nargs="*", help="their names; default: all")
    parser.add_argument("--examples", type=int, default=600, help="inputs of each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--markdown", help="the page to write")
    parser.add_argument("--work", help="a folder for what fails; default: a temporary one")
    parser.add_argument("--replay", action="store_true", help="what once failed, and no more")
    parser.add_argument("--together", action="store_true", help="all readers in one process")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    work = pathlib.Path(options.work or tempfile.mkdtemp(prefix="fuzzing-")).absolute()
    if options.child:
        for name in options.readers:
            _child(name, options, work)
        return
    work.mkdir(parents=True, exist_ok=True)
    import readers

    names = options.readers or list(readers.NAMES)
    passed_on = [f"--examples={options.examples}", f"--seed={options.seed}"]
    passed_on += ["--replay"] * options.replay
    outcomes = []
    for several in [names] if options.together else [[name] for name in names]:
        for outcome in run_in_process(several, passed_on, work):
            outcomes.append(outcome)
            print(*(f"{field}={getattr(outcome, field)}" for field in ("reader", *_COUNTS)))
            for kept, problem in outcome.failures.items():
                print(f"  {work / 'failed' / kept}: {problem.strip().splitlines()[-1][:300]}")
    if options.markdown and not options.readers:  # of some the page would say too little
        command = f"make fuzz ARGS='--examples={options.examples} --seed={options.seed}'"
        pathlib.Path(options.markdown).write_text(page(outcomes, command))
    sys.exit(any(one.failed for one in outcomes))


if __name__ == "__main__":
    main()
