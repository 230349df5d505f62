"""What doctor is going to do about what it has found.

The plan is spooled to a temporary file (of ids and etags): people want to see it before anything is done, and it may be
long.
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
    """What can be done about a finding."""

    DEMOTE = "demote"
    RENORMALIZE = "renormalize"
    MAKE_FINDABLE = "make_findable"
    MIGRATE = "migrate"
    FORGET = "forget"
    CREATE_INDEX = "create_index"


@dataclass(frozen=True, slots=True)
class Fix:
    """A planned change.

    Attributes:
        environment: where.
        repair: what to do.
        target: the id of the contact method, or the name of the index.
        etag: of the contact method as it was examined. It is changed only if it still is that.
        keeper: when demoting, the id of the contact method that stays primary.
        keeper_etag: and its etag.
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
                return f"demote {self.target}, so that {self.keeper} is the only primary of its client and type"
            case Repair.RENORMALIZE:
                return f"write the normalized value of {self.target} anew"
            case Repair.MAKE_FINDABLE:
                return f"write anew by what {self.target} is found as a primary"
            case Repair.MIGRATE:
                return "migrate all documents of earlier layouts to the present one"
            case Repair.FORGET:
                return "remove the documents that remember only requests that are over"
            case Repair.CREATE_INDEX:
                return f"create the index {self.target}"


class Plan:
    """The planned changes, in their order, in a file."""

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
        """Plan one more change; not while iterating."""
        self._file.write(json.dumps(asdict(fix)) + "\n")
        self._size += 1


@contextmanager
def planning() -> Iterator[Plan]:
    """Yield an empty plan in a temporary file, until the end of the block."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
        yield Plan(file)
