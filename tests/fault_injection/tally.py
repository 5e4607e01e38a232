"""What came of the faults so far, kept in a file, so that all need not be injected in one go."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
import os
import pathlib

_ROOT = pathlib.Path(__file__).parents[2]


@dataclasses.dataclass
class Count:
    """What came of one fault in one scenario.

    Attributes:
      scenario, fault: their names.
      possible: at how many calls it can be.
      injected: at how many it was; a call that did not come again is not counted.
      results: how many `same`, `refused`.
      lost: a line for each that was not survived.
      tried: the keys of those whose turn has come, injected or not.
      code: of which version of the package, its SHA-256.
    """

    scenario: str
    fault: str
    possible: int = 0
    injected: int = 0
    results: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    lost: list[str] = dataclasses.field(default_factory=list)
    tried: list[str] = dataclasses.field(default_factory=list)
    code: str = ""


class Tally:
    """The counts of all scenarios.

    Attributes:
      seconds: for how long faults were injected.
      num_left_over: files that processes left in the temporary folder.
    """

    def __init__(self, path: pathlib.Path | None = None):
        """Reads what an earlier one has written.

        Args:
          path: its file, which `save` writes; None: none.
        """
        self._path, self._code = path, _code()
        self._counts: dict[tuple[str, str], Count] = {}
        self.seconds, self.num_left_over = 0.0, 0
        if path is None or not path.exists():
            return
        read = json.loads(path.read_text())
        self.seconds, self.num_left_over = read["seconds"], read["num_left_over"]
        for fields in read["counts"]:
            fields["results"] = collections.Counter(fields["results"])
            self._counts[fields["scenario"], fields["fault"]] = Count(**fields)

    def of(self, scenario: str, fault: str) -> Count:
        """Returns a count, to be added to; of another version of the package nothing counts."""
        count = self._counts.get((scenario, fault))
        if count is None or count.code != self._code:
            count = self._counts[scenario, fault] = Count(scenario, fault, code=self._code)
        return count

    @property
    def of_other_versions(self) -> list[str]:
        """The scenarios with counts of another version of the package than this one."""
        return list(dict.fromkeys(c.scenario for c in self.counts if c.code != self._code))

    @property
    def counts(self) -> list[Count]:
        """All, the scenario that was begun first at first."""
        scenarios = list(dict.fromkeys(scenario for scenario, _ in self._counts))
        return sorted(self._counts.values(), key=lambda count: scenarios.index(count.scenario))

    def save(self) -> None:
        """Writes the file, if there is one."""
        if self._path is None:
            return
        fields = {
            "seconds": self.seconds,
            "num_left_over": self.num_left_over,
            "counts": [vars(count) for count in self.counts],
        }
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(fields, indent=1))
        os.replace(new, self._path)


def _code() -> str:
    """Returns the SHA-256 of the package's source."""
    digest = hashlib.sha256()
    for path in sorted((_ROOT / "mnist_lib").rglob("*.py")):
        digest.update(path.relative_to(_ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()
