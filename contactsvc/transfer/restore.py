"""Writes rows into an environment, so that doing it again changes nothing.

In batches, each of which takes effect in one step where the database has transactions. What a row is to become is
decided on what is there at that moment, and worked out anew when somebody else was faster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum, auto
from itertools import islice
from typing import Protocol, TypeVar

from contactsvc.domain.contact_method import ContactMethod, Slot, changed
from contactsvc.domain.ids import new_etag
from contactsvc.domain.ledger import Difference
from contactsvc.domain.memory import Remembered
from contactsvc.errors import InvalidFields
from contactsvc.transfer.formats import Row
from contactsvc.transfer.reading import Numbered

T = TypeVar("T")

BATCH = 250
"""How many rows are written in one step: as many as a batch of the service has at most."""

# What waits for others to give up what it needs. More than this mean other data, not an order that did not fit.
_MOST_WAITING = 10_000


class Place(Protocol):
    """Where rows are written: what an import needs of a Store, with the meaning that it has there."""

    async def find_by_ids(self, ids: Collection[str]) -> list[ContactMethod]:
        """Return the records with these ids, in any order."""
        ...

    async def find_by_external_ids(self, external_ids: Collection[str]) -> list[ContactMethod]:
        """Return the records with these external ids, in any order."""
        ...

    async def find_primaries(self, slots: Collection[Slot]) -> list[ContactMethod]:
        """Return the primaries of these slots."""
        ...

    async def find_memories(self, ids: Collection[str]) -> dict[str, tuple[Remembered, ...]]:
        """Return what is remembered under the ids of deleted records, by id."""
        ...

    async def write(self, difference: Difference) -> None:
        """Store a difference."""
        ...

    async def atomically(self, work: Callable[[Place], Awaitable[T]], *, keys: Collection[Hashable]) -> T:
        """Run `work` on a store whose writes take effect together, and again when it loses a race."""
        ...


class OnConflict(StrEnum):
    """What becomes of a row whose record is there already with other content."""

    ERROR = "error"
    SKIP = "skip"
    UPDATE = "update"


@dataclass(slots=True)
class Counts:
    """What became of the rows."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0
    failed: int = 0

    def __str__(self) -> str:
        return ", ".join(f"{count} {name}" for name, count in asdict(self).items())


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a row was not written; names ids and fields, and nothing that the row says of anyone.

    Attributes:
        line: where it is.
        id: of its record; empty when that cannot be read.
        problems: field and rule of each violation.
    """

    line: int
    id: str
    problems: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        what = "; ".join(f"{name} {rule}" for name, rule in self.problems)
        return f"line {self.line}: {f'{self.id}: ' if self.id else ''}{what}"


class Stopped(Exception):
    """A row failed, and the import was to stop at the first."""


class _What(StrEnum):
    CREATED = auto()
    UPDATED = auto()
    UNCHANGED = auto()
    SKIPPED = auto()
    FAILED = auto()
    WAITS = auto()
    """Another record has what it needs, and may give it up further on."""


@dataclass(slots=True)
class _Decided:
    """What is to be done about a batch."""

    difference: Difference
    whats: list[tuple[_What, Numbered, tuple[tuple[str, str], ...]]] = field(default_factory=list)


class Restore:
    """An import.

    Args:
        place: where to write.
        on_conflict: what becomes of a record that is there already with other content.
        stops: whether to stop at the first row that fails; its batch is not written then.
        tell: told of each row that fails.
        progress: told how many bytes of the file are done.
        now: the time of records that come without one.
    """

    def __init__(
        self,
        place: Place,
        *,
        on_conflict: OnConflict,
        stops: bool,
        tell: Callable[[Failure], None],
        progress: Callable[[int], None],
        now: datetime,
    ) -> None:
        self._place = place
        self._on_conflict = on_conflict
        self._stops = stops
        self._tell = tell
        self._progress = progress
        self._now = now
        self._waiting: list[Numbered] = []
        self.counts = Counts()

    async def run(self, rows: Iterable[Numbered]) -> None:
        """Write the rows; raise Stopped."""
        source = iter(rows)
        while batch := await asyncio.to_thread(lambda: list(islice(source, BATCH))):
            await self._take(batch, last=False)
            self._progress(batch[-1].position)
        # As long as that helps: one that is written may free what another one needs.
        waiting = self._waiting
        while waiting:
            self._waiting = []
            for i in range(0, len(waiting), BATCH):
                await self._take(waiting[i : i + BATCH], last=False)
            if len(self._waiting) == len(waiting):
                break
            waiting = self._waiting
        waiting, self._waiting = self._waiting, []
        for i in range(0, len(waiting), BATCH):
            await self._take(waiting[i : i + BATCH], last=True)

    async def _take(self, batch: Sequence[Numbered], *, last: bool) -> None:
        async def work(place: Place) -> _Decided:
            decided = await self._decide(place, batch, last=last or len(self._waiting) + len(batch) > _MOST_WAITING)
            stops = self._stops and any(what is _What.FAILED for what, _, _ in decided.whats)
            if len(decided.difference) and not stops:
                await place.write(decided.difference)
            return decided

        slots = {row.row.record.slot for row in batch if isinstance(row.row, Row) and row.row.record.is_primary}
        decided = await self._place.atomically(work, keys=slots)
        failures = [
            Failure(numbered.line, numbered.row.record.id if isinstance(numbered.row, Row) else "", problems)
            for what, numbered, problems in decided.whats
            if what is _What.FAILED
        ]
        for failure in failures:
            self._tell(failure)
        self.counts.failed += len(failures)
        if failures and self._stops:
            raise Stopped
        for what, numbered, _ in decided.whats:
            match what:
                case _What.WAITS:
                    self._waiting.append(numbered)
                case _What.CREATED | _What.UPDATED | _What.UNCHANGED | _What.SKIPPED:
                    setattr(self.counts, what.value, getattr(self.counts, what.value) + 1)

    async def _decide(self, place: Place, batch: Sequence[Numbered], *, last: bool) -> _Decided:
        records = [numbered.row.record for numbered in batch if isinstance(numbered.row, Row)]
        there = _There(
            await place.find_by_ids({record.id for record in records}) if records else [],
            await place.find_by_external_ids(external_ids)
            if (external_ids := {record.external_id for record in records if record.external_id is not None})
            else [],
            await place.find_primaries(slots)
            if (slots := {record.slot for record in records if record.is_primary})
            else [],
        )
        whats = [(*self._one(numbered.row, there, last=last), numbered) for numbered in batch]
        inserted, replaced = there.inserted(), there.replaced()
        memories: dict[str, tuple[Remembered, ...]] = (
            await place.find_memories([record.id for record in inserted]) if inserted else {}
        )
        difference = Difference(
            inserted=[record for record in inserted if record.id not in memories],
            replaced=replaced,
            removed=[],
            memories=[],
            revived=[replace(record, requests=memories[record.id]) for record in inserted if record.id in memories],
        )
        return _Decided(difference, [(what, numbered, problems) for what, problems, numbered in whats])

    def _one(self, row: Row | InvalidFields, there: _There, *, last: bool) -> tuple[_What, tuple[tuple[str, str], ...]]:
        """Decide about a row, and note it as done; return what, and the problems of one that fails."""
        if isinstance(row, InvalidFields):
            return _What.FAILED, tuple((violation.field, violation.description) for violation in row.violations)
        wanted, present = row.record, there.records.get(row.record.id)
        holder = there.by_external_id.get(wanted.external_id) if wanted.external_id is not None else None
        if not row.is_exact and holder is not None:
            present = there.records[holder]
        if present is not None:
            if not row.is_exact and present.client_id != wanted.client_id:
                return _failed("external_id", f"is that of {present.id}, which is another client's")
            after = self._after(present, row)
            if after is present:
                return _What.UNCHANGED, ()
            if self._on_conflict is OnConflict.SKIP:
                return _What.SKIPPED, ()
            if self._on_conflict is OnConflict.ERROR:
                return _failed("id", f"is that of {present.id}, which has other content; --on-conflict says what to do")
        else:
            after = replace(wanted, etag=new_etag())
        blocked = _What.FAILED if last else _What.WAITS
        if holder not in {None, after.id}:
            return blocked, (("external_id", f"is that of {holder}"),)
        primary = there.primaries.get(after.slot)
        if after.is_primary and primary not in {None, after.id}:
            return blocked, (("is_primary", f"{primary} is the primary of this client and type"),)
        there.put(after)
        return (_What.CREATED if present is None else _What.UPDATED), ()

    def _after(self, present: ContactMethod, row: Row) -> ContactMethod:
        """Return what the present record becomes; itself when nothing differs."""
        wanted = row.record
        if row.is_exact:
            after = replace(wanted, etag=present.etag, requests=present.requests)
            return present if after == present else replace(after, etag=new_etag())
        names = ("type", "value", "label", "is_primary", "external_id", "metadata")
        listed = {name: getattr(wanted, name) for name in names}
        return changed(present, listed, now=self._now, etag=new_etag())


def _failed(name: str, rule: str) -> tuple[_What, tuple[tuple[str, str], ...]]:
    return _What.FAILED, ((name, rule),)


class _There:
    """The records that a batch may meet, as they are after the rows so far."""

    def __init__(self, *found: Iterable[ContactMethod]) -> None:
        self.records: dict[str, ContactMethod] = {}
        self.by_external_id: dict[str, str] = {}
        self.primaries: dict[Slot, str] = {}
        for records in found:
            for record in records:
                self.put(record)
        self._before = dict(self.records)

    def put(self, record: ContactMethod) -> None:
        """Take in a record, in the place of the one with its id."""
        present = self.records.get(record.id)
        if present is not None:
            if present.external_id is not None and self.by_external_id.get(present.external_id) == record.id:
                del self.by_external_id[present.external_id]
            if self.primaries.get(present.slot) == record.id:
                del self.primaries[present.slot]
        self.records[record.id] = record
        if record.external_id is not None:
            self.by_external_id[record.external_id] = record.id
        if record.is_primary:
            self.primaries[record.slot] = record.id

    def inserted(self) -> list[ContactMethod]:
        """Return the records that were not there before."""
        return [record for id_, record in self.records.items() if id_ not in self._before]

    def replaced(self) -> list[tuple[ContactMethod, ContactMethod]]:
        """Return the records that have changed, before and after."""
        return [(before, self.records[id_]) for id_, before in self._before.items() if self.records[id_] is not before]
