"""Writes rows into an environment, so that doing it again changes nothing.

In batches, each of which takes effect in one step where the database has transactions. What a row is to become is
decided on what is there at that moment, and worked out anew when somebody else was faster.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum, auto
from itertools import islice
from typing import Protocol, TypeVar

from contactsvc.domain.change_set import ChangeSet
from contactsvc.domain.contact_method import ContactMethod, changed
from contactsvc.domain.idempotency import IdempotencyRecord
from contactsvc.domain.ids import new_etag
from contactsvc.domain.kinds import Slot
from contactsvc.domain.record_set import RecordSet
from contactsvc.errors import Aborted, InvalidFields
from contactsvc.transfer.formats import Row
from contactsvc.transfer.sources import Numbered

T = TypeVar("T")

BATCH = 250
"""How many rows are written in one step: as many as a batch of the service has at most."""

# What waits for others to give up what it needs. More than this mean other data, not an order that did not fit.
_MOST_WAITING = 10_000

# The transaction of an import that was killed keeps its documents until the database ends it: the embedded one was seen
# to take 92 seconds, MongoDB takes 60.
_PATIENCE = timedelta(seconds=120)
_PAUSE = timedelta(seconds=0.5)


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

    async def find_memories(self, ids: Collection[str]) -> dict[str, tuple[IdempotencyRecord, ...]]:
        """Return what is remembered under the ids of deleted records, by id."""
        ...

    async def write(self, difference: ChangeSet) -> None:
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


@dataclass(frozen=True, slots=True)
class _Decision:
    """What is to be done about a row; field and rule of what stands against it."""

    what: _What
    problems: tuple[tuple[str, str], ...] = ()


class Restore:
    """An import.

    Args:
        place: where to write.
        on_conflict: what becomes of a record that is there already with other content.
        stops: whether to stop at the first row that fails; its batch is not written then.
        tell: told of each row that fails, and when it waits for others, a line each.
        progress: told how many bytes of the file are done.
        now: the time of records that come without one.
        patience: how long a batch waits for the writes of others.
    """

    def __init__(
        self,
        place: Place,
        *,
        on_conflict: OnConflict,
        stops: bool,
        tell: Callable[[str], None],
        progress: Callable[[int], None],
        now: datetime,
        patience: timedelta = _PATIENCE,
    ) -> None:
        self._place = place
        self._on_conflict = on_conflict
        self._stops = stops
        self._tell = tell
        self._progress = progress
        self._now = now
        self._patience = patience
        self._waiting: list[Numbered] = []
        # Which line of a list has named a record first.
        self._named: dict[str, int] = {}
        self._count: Counter[_What] = Counter()

    @property
    def counts(self) -> Counts:
        """What has become of the rows so far."""
        return Counts(**{name: self._count[_What(name)] for name in asdict(Counts())})

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
        async def work(place: Place) -> list[_Decision]:
            last_chance = last or len(self._waiting) + len(batch) > _MOST_WAITING
            decisions, difference = await self._decide(place, batch, last=last_chance)
            stops = self._stops and any(decision.what is _What.FAILED for decision in decisions)
            if len(difference) and not stops:
                await place.write(difference)
            return decisions

        decisions = await self._written(work, batch)
        failures = [
            Failure(numbered.line, numbered.id, decision.problems)
            for numbered, decision in zip(batch, decisions, strict=True)
            if decision.what is _What.FAILED
        ]
        for failure in failures:
            self._tell(str(failure))
        if failures and self._stops:
            self._count[_What.FAILED] += len(failures)
            raise Stopped
        self._count.update(decision.what for decision in decisions)
        self._waiting += [row for row, decision in zip(batch, decisions, strict=True) if decision.what is _What.WAITS]

    async def _written(self, work: Callable[[Place], Awaitable[T]], batch: Sequence[Numbered]) -> T:
        """Do the work on a batch, and again while others hold its records, as long as patience lasts."""
        slots = {row.row.record.slot for row in batch if isinstance(row.row, Row) and row.row.record.is_primary}
        loop = asyncio.get_running_loop()
        end: float | None = None
        while True:
            try:
                return await self._place.atomically(work, keys=slots)
            except Aborted:
                if end is None:
                    end = loop.time() + self._patience.total_seconds()
                    self._tell("waiting for somebody else's write, such as that of an import that was killed")
                if loop.time() >= end:
                    raise
                await asyncio.sleep(_PAUSE.total_seconds())

    async def _decide(
        self, place: Place, batch: Sequence[Numbered], *, last: bool
    ) -> tuple[list[_Decision], ChangeSet]:
        records = [numbered.row.record for numbered in batch if isinstance(numbered.row, Row)]
        found = [
            await place.find_by_ids({record.id for record in records}) if records else [],
            await place.find_by_external_ids(external_ids)
            if (external_ids := {record.external_id for record in records if record.external_id is not None})
            else [],
            await place.find_primaries(slots)
            if (slots := {record.slot for record in records if record.is_primary})
            else [],
        ]
        before = {record.id: record for some in found for record in some}
        there = RecordSet(before.values())
        decisions = [self._one(numbered, there, last=last) for numbered in batch]
        inserted = [record for record in there if record.id not in before]
        replaced = [(before[record.id], record) for record in there if record is not before.get(record.id, record)]
        memories: dict[str, tuple[IdempotencyRecord, ...]] = (
            await place.find_memories([record.id for record in inserted]) if inserted else {}
        )
        difference = ChangeSet(
            inserted=[record for record in inserted if record.id not in memories],
            replaced=replaced,
            removed=[],
            memories=[],
            revived=[replace(record, requests=memories[record.id]) for record in inserted if record.id in memories],
        )
        return decisions, difference

    def _one(self, numbered: Numbered, there: RecordSet, *, last: bool) -> _Decision:
        """Decide about a row, and note it as done."""
        row = numbered.row
        if isinstance(row, InvalidFields):
            problems = tuple((violation.field, violation.description) for violation in row.violations)
            return _Decision(_What.FAILED, problems)
        wanted, present = row.record, there.find(row.record.id)
        holder = there.find_by_external_id(wanted.external_id)
        if not row.is_exact:
            if holder is not None:
                present = holder
            named = wanted.id if present is None else present.id
            if (first := self._named.setdefault(named, numbered.line)) != numbered.line:
                return _failed("record", f"is that of line {first} as well")
        if present is not None:
            if not row.is_exact and present.client_id != wanted.client_id:
                return _failed("external_id", f"is that of {present.id}, which is another client's")
            after = self._after(present, row)
            if after is present:
                return _Decision(_What.UNCHANGED)
            if self._on_conflict is OnConflict.SKIP:
                return _Decision(_What.SKIPPED)
            if self._on_conflict is OnConflict.ERROR:
                return _failed("id", f"is that of {present.id}, which has other content; --on-conflict says what to do")
        else:
            after = replace(wanted, etag=new_etag())
        blocked = _What.FAILED if last else _What.WAITS
        if holder is not None and holder.id != after.id:
            return _Decision(blocked, (("external_id", f"is that of {holder.id}"),))
        primary = there.find_primary(after.slot) if after.is_primary else None
        if primary is not None and primary.id != after.id:
            return _Decision(blocked, (("is_primary", f"{primary.id} is the primary of this client and type"),))
        there.put(after)
        return _Decision(_What.CREATED if present is None else _What.UPDATED)

    def _after(self, present: ContactMethod, row: Row) -> ContactMethod:
        """Return what the present record becomes; itself when nothing differs."""
        wanted = row.record
        if row.is_exact:
            after = replace(wanted, etag=present.etag, requests=present.requests)
            return present if after == present else replace(after, etag=new_etag())
        names = ("type", "value", "label", "is_primary", "external_id", "metadata")
        listed = {name: getattr(wanted, name) for name in names}
        return changed(present, listed, now=self._now, etag=new_etag())


def _failed(name: str, rule: str) -> _Decision:
    return _Decision(_What.FAILED, ((name, rule),))
