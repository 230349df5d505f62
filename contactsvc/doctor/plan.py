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
from typing import IO

from contactsvc.domain.kinds import Environment


class Repair(StrEnum):
    """A kind of repair; its value is in the JSON report."""

    DEMOTE = "demote"
    RENORMALIZE = "renormalize"
    MAKE_FINDABLE = "make_findable"
    MIGRATE = "migrate"
    FORGET = "forget"
    CREATE_INDEX = "create_index"


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
            case Repair.RENORMALIZE:
                return f"rewrite the normalized value of {self.target}"
            case Repair.MAKE_FINDABLE:
                return f"correct the primary_key of {self.target}"
            case Repair.MIGRATE:
                return "migrate all documents of earlier layouts"
            case Repair.FORGET:
                return "remove the documents that hold only expired idempotency records"
            case Repair.CREATE_INDEX:
                return f"create index {self.target}"


class Plan:
    """Planned repairs in their order, in a file."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._size = 0

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


@contextmanager
def planning() -> Iterator[Plan]:
    """Yield an empty plan, whose file is deleted at the end of the block."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
        yield Plan(file)
