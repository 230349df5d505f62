"""The repairs that doctor plans, spooled to a temporary file.

Users see the plan before anything is changed, and it may be long. The file holds ids and etags, and no contact values.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import IO, Final

from contactsvc.doctor.sample import Sample, named
from contactsvc.domain.kinds import Environment


class Repair(StrEnum):
    """A kind of repair; its value is in the JSON report."""

    DEMOTE = "demote"
    RENORMALIZE = "renormalize"
    MAKE_FINDABLE = "make_findable"
    MIGRATE = "migrate"
    FORGET = "forget"
    CREATE_INDEX = "create_index"
    INDEX_AS_WRITTEN = "index_as_written"
    RECORD_RULES = "record_rules"
    REMOVE_CHALLENGES = "remove_challenges"


BATCHED: Final = (Repair.RENORMALIZE, Repair.INDEX_AS_WRITTEN)
"""The repairs of which there may be one for each contact method: they are carried out and reported many at a time."""


@dataclass(frozen=True, slots=True)
class Fix:
    """A planned repair. The names of its attributes are keys of the JSON report.

    Attributes:
        environment: the environment to change.
        repair: the kind of repair.
        target: the id of the contact method, or the name of the index.
        etag: of the contact method at the checkup; a later one is not changed.
        keeper: when demoting, the id of the contact method that stays primary.
        keeper_etag: the etag of the keeper at the checkup.
    """

    environment: Environment
    repair: Repair
    target: str = ""
    etag: str = ""
    keeper: str = ""
    keeper_etag: str = ""

    def __str__(self) -> str:
        match self.repair:
            case Repair.DEMOTE:
                return f"demote {self.target}; {self.keeper} stays the only primary of its client and type"
            case Repair.RENORMALIZE | Repair.INDEX_AS_WRITTEN:
                return _batched(self.repair, self.target)
            case Repair.MAKE_FINDABLE:
                return f"correct the primary_key of {self.target}"
            case Repair.MIGRATE:
                return "migrate all documents of earlier layouts"
            case Repair.FORGET:
                return "remove the documents that hold only expired idempotency records"
            case Repair.REMOVE_CHALLENGES:
                return "remove the expired challenges of verifications"
            case Repair.CREATE_INDEX:
                return f"create index {self.target}"
            case Repair.RECORD_RULES:
                return f"record the rules of the normalized values: {self.target}"


@dataclass(frozen=True, slots=True)
class FixBatch:
    """Several repairs of one kind. The names of its attributes are keys of the JSON report.

    Attributes:
        environment: the environment.
        repair: the kind of repair, one of `BATCHED`.
        ids: the ids of the first contact methods.
        count: the number of contact methods.
    """

    environment: Environment
    repair: Repair
    ids: tuple[str, ...]
    count: int

    def __str__(self) -> str:
        return _batched(self.repair, named(self.ids, self.count))


class Plan:
    """Planned repairs in their order, in a file."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._size = 0
        self._samples: dict[tuple[Environment, Repair], Sample] = {}

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Fix]:
        self._file.seek(0)
        for line in self._file:
            fix = json.loads(line)
            yield Fix(**{**fix, "environment": Environment(fix["environment"]), "repair": Repair(fix["repair"])})

    def add(self, fix: Fix) -> None:
        """Append a repair; not during an iteration."""
        self._file.write(json.dumps(asdict(fix)) + "\n")
        self._size += 1
        if fix.repair in BATCHED:
            self._samples.setdefault((fix.environment, fix.repair), Sample()).add(fix.target)

    def summary(self) -> Iterator[Fix | FixBatch]:
        """Yield the repairs in their order; those of one kind that is carried out many at a time only once."""
        given: set[tuple[Environment, Repair]] = set()
        for fix in self:
            key = fix.environment, fix.repair
            if fix.repair not in BATCHED:
                yield fix
            elif key not in given:
                given.add(key)
                sample = self._samples[key]
                yield FixBatch(*key, sample.ids, sample.count)

    def count(self, environment: Environment, repair: Repair) -> int:
        """Return the number of repairs of a kind in `BATCHED`."""
        sample = self._samples.get((environment, repair))
        return 0 if sample is None else sample.count

    def groups(self, max_size: int) -> Iterator[list[Fix]]:
        """Yield the repairs in their order: those of a kind in `BATCHED` that follow one another as one, others alone.

        Args:
            max_size: the maximum number of repairs in a group.
        """
        group: list[Fix] = []
        for fix in self:
            joins = (
                fix.repair in BATCHED
                and len(group) < max_size
                and all((other.environment, other.repair) == (fix.environment, fix.repair) for other in group[:1])
            )
            if group and not joins:
                yield group
                group = []
            group.append(fix)
        if group:
            yield group


def _batched(repair: Repair, which: str) -> str:
    if repair is Repair.RENORMALIZE:
        return f"rewrite the normalized value of {which}"
    return f"make {which} findable by the text as written"


@contextmanager
def planning() -> Iterator[Plan]:
    """Yield an empty plan, whose file is deleted at the end of the block."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
        yield Plan(file)
