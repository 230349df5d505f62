"""Writes the rows of a file into an environment, so that repeating an import changes nothing.

Rows are written in batches, each atomically where the database has transactions. A row is decided against the records
present at that moment, and decided again when another writer gets in between. matching.py finds the record that a row
of a list describes.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum, auto
from typing import Protocol, TypeVar

from contactsvc.domain.change_set import ChangeSet
from contactsvc.domain.contact_method import ContactMethod, changed
from contactsvc.domain.idempotency import IdempotencyRecord
from contactsvc.domain.ids import new_etag
from contactsvc.domain.normalization import written_form
from contactsvc.domain.record_set import RecordSet
from contactsvc.errors import Aborted, FieldViolation, InvalidFields
from contactsvc.transfer import fields
from contactsvc.transfer.batches import batches_of, read_ahead
from contactsvc.transfer.matching import Matching, StoredRecords
from contactsvc.transfer.sources import NumberedRow, Row

T = TypeVar("T")

# Rows that wait for another row to give up a primary slot or an external id. More indicate conflicting data rather than
# an unlucky order.
_MAX_DEFERRED = 10_000

# The transaction of a killed import locks its documents until the database ends it: after 60 seconds on MongoDB, and
# after up to 92 on the embedded database.
_BUSY_TIMEOUT_SECONDS = 120.0
_RETRY_INTERVAL_SECONDS = 0.5


class ImportTarget(StoredRecords, Protocol):
    """The part of a Store that an import needs; each method means what it means there."""

    async def find_idempotency_records(self, ids: Collection[str]) -> dict[str, tuple[IdempotencyRecord, ...]]:
        """Return the idempotency records kept under the ids of deleted records, by id."""
        ...

    async def write(self, changes: ChangeSet) -> None:
        """Store the changes."""
        ...

    async def atomically(self, work: Callable[[ImportTarget], Awaitable[T]], *, keys: Collection[Hashable]) -> T:
        """Run `work` on a store whose writes take effect together, and again when it loses a race."""
        ...


class OnConflict(StrEnum):
    """What to do with an existing record whose content differs from its row."""

    ERROR = "error"
    SKIP = "skip"
    UPDATE = "update"


@dataclass(slots=True)
class Counts:
    """The number of rows by result."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0
    failed: int = 0

    def __str__(self) -> str:
        return ", ".join(f"{count} {name}" for name, count in asdict(self).items())


@dataclass(frozen=True, slots=True)
class FailedRow:
    """A row that was not written. Its text names ids, fields and rules, and quotes no value.

    Attributes:
        line: the line number.
        id: of the record; empty when it is not known.
        violations: the rules that the row breaks.
    """

    line: int
    id: str
    violations: Sequence[FieldViolation]

    def __str__(self) -> str:
        what = "; ".join(f"{violation.field} {violation.description}" for violation in self.violations)
        return f"line {self.line}: {f'{self.id}: ' if self.id else ''}{what}"


class Stopped(Exception):
    """The import stopped at its first failed row."""


class _Result(StrEnum):
    CREATED = auto()
    UPDATED = auto()
    RENEWED = auto()
    """Updated in the normal form alone."""
    UNCHANGED = auto()
    SKIPPED = auto()
    FAILED = auto()
    DEFERRED = auto()
    """Another record holds what the row needs, and a later row may release it."""


@dataclass(frozen=True, slots=True)
class _Decision:
    """The result of a row, and the violations because of which it failed or is deferred.

    Attributes:
        result: the result.
        id: of the record of a row that failed; empty when it is not known.
        violations: the rules that it breaks.
    """

    result: _Result
    id: str = ""
    violations: Sequence[FieldViolation] = ()


class Importer:
    """An import.

    Args:
        target: where to write.
        on_conflict: what to do with an existing record whose content differs.
        stop_on_error: whether to stop at the first row that fails, without writing its batch.
        on_message: called with each failed row, and when the import waits for another writer, a line each.
        on_progress: called with the number of bytes read.
        now: the time of changes to records that come without times.
        busy_timeout_seconds: how long a batch waits for other writers.
    """

    def __init__(
        self,
        target: ImportTarget,
        *,
        on_conflict: OnConflict,
        stop_on_error: bool,
        on_message: Callable[[str], None],
        on_progress: Callable[[int], None],
        now: datetime,
        busy_timeout_seconds: float = _BUSY_TIMEOUT_SECONDS,
    ) -> None:
        self._target = target
        self._on_conflict = on_conflict
        self._stop_on_error = stop_on_error
        self._on_message = on_message
        self._on_progress = on_progress
        self._now = now
        self._busy_timeout_seconds = busy_timeout_seconds
        self._deferred: list[NumberedRow] = []
        self._matching = Matching()
        self._results: Counter[_Result] = Counter()

    @property
    def counts(self) -> Counts:
        """The number of rows by result so far."""
        counts = Counts(**{name: self._results[_Result(name)] for name in asdict(Counts())})
        counts.updated += self.renewed
        return counts

    @property
    def renewed(self) -> int:
        """The number of rows that changed nothing but the normal form of their record, among the updated ones."""
        return self._results[_Result.RENEWED]

    async def run(self, rows: Iterable[NumberedRow]) -> None:
        """Write the rows; raise Stopped."""
        async with aclosing(read_ahead(iter(rows))) as batches:
            async for batch in batches:
                await self._write_batch(batch, last=False)
                self._on_progress(batch[-1].position)
        # Each round may release what a deferred row needs; the last one fails those that remain.
        remaining = None
        while len(self._deferred) != remaining:
            remaining = len(self._deferred)
            await self._retry_deferred(last=False)
        await self._retry_deferred(last=True)

    async def _retry_deferred(self, *, last: bool) -> None:
        deferred, self._deferred = self._deferred, []
        for batch in batches_of(deferred):
            await self._write_batch(batch, last=last)

    async def _write_batch(self, batch: Sequence[NumberedRow], *, last: bool) -> None:
        attempts = 0

        async def work(target: ImportTarget) -> list[_Decision]:
            nonlocal attempts
            attempts += 1
            is_full = len(self._deferred) + len(batch) > _MAX_DEFERRED
            # The first attempt may lose a race, which is cheaper than to read every time what is seldom there.
            for thorough in (attempts > 1, True):
                decisions, changes = await self._decide(target, batch, last=last or is_full, thorough=thorough)
                stops = self._stop_on_error and any(decision.result is _Result.FAILED for decision in decisions)
                # Without a write that could lose the race, the other failed rows would go unnoticed.
                if thorough or not stops:
                    break
            if len(changes) and not stops:
                await target.write(changes)
            return decisions

        decisions = await self._atomically(work)
        failed = [
            FailedRow(numbered.line, decision.id, decision.violations)
            for numbered, decision in zip(batch, decisions, strict=True)
            if decision.result is _Result.FAILED
        ]
        for row in failed:
            self._on_message(str(row))
        if failed and self._stop_on_error:
            self._results[_Result.FAILED] += len(failed)
            raise Stopped
        self._results.update(decision.result for decision in decisions)
        self._deferred += [
            row for row, decision in zip(batch, decisions, strict=True) if decision.result is _Result.DEFERRED
        ]

    async def _atomically(self, work: Callable[[ImportTarget], Awaitable[T]]) -> T:
        """Run the work on a batch, and again while other writers hold its records, until the timeout."""
        loop = asyncio.get_running_loop()
        end: float | None = None
        while True:
            try:
                # No keys to take turns by: an import is the only writer of its process.
                return await self._target.atomically(work, keys=())
            except Aborted:
                if end is None:
                    end = loop.time() + self._busy_timeout_seconds
                    self._on_message("waiting for another writer, such as the transaction of a killed import")
                if loop.time() >= end:
                    raise
                await asyncio.sleep(_RETRY_INTERVAL_SECONDS)

    async def _decide(
        self, target: ImportTarget, batch: Sequence[NumberedRow], *, last: bool, thorough: bool
    ) -> tuple[list[_Decision], ChangeSet]:
        """Decide about each row of a batch; return the decisions, and the changes that they make."""
        before = await self._matching.present(target, batch, thorough=thorough)
        records = RecordSet(before.values())
        decisions = [self._decide_row(numbered, records, last=last) for numbered in batch]
        inserted = [record for record in records if record.id not in before]
        replaced = [(before[record.id], record) for record in records if record is not before.get(record.id, record)]
        kept: dict[str, tuple[IdempotencyRecord, ...]] = (
            await target.find_idempotency_records([record.id for record in inserted]) if inserted and thorough else {}
        )
        changes = ChangeSet(
            inserted=[record for record in inserted if record.id not in kept],
            replaced=replaced,
            removed=[],
            idempotency_records=[],
            revived=[replace(record, requests=kept[record.id]) for record in inserted if record.id in kept],
        )
        return decisions, changes

    def _decide_row(self, numbered: NumberedRow, records: RecordSet, *, last: bool) -> _Decision:
        """Decide about a row, and apply it to the records."""
        row = numbered.row
        if isinstance(row, InvalidFields):
            return _failed(numbered.id, *row.violations)
        present = self._matching.match(row, numbered.line, records)
        id_ = row.record.id if present is None else present.id
        if present is None and row.refusal is not None:
            return _failed("", row.refusal)
        if not row.is_restore:
            first = self._matching.first_line(row, numbered.line, present)
            if (problem := _contradiction(row, present, records)) is not None:
                return _failed(id_, problem)
            # The same again does no harm, and lists often have it.
            if first != numbered.line and (present is None or self._updated(present, row) is not present):
                # The first one may still be deferred.
                is_final = last or present is not None
                repeats = FieldViolation("record", f"repeats line {first}")
                return _Decision(_Result.FAILED if is_final else _Result.DEFERRED, id_, [repeats])
        result = _Result.CREATED if present is None else _Result.UPDATED
        if present is None:
            after = replace(row.record, etag=new_etag())
        else:
            after = self._updated(present, row)
            if after is present:
                return _Decision(_Result.UNCHANGED)
            if self._on_conflict is OnConflict.SKIP:
                return _Decision(_Result.SKIPPED)
            if not row.is_restore and _is_renewal(present, after):
                result = _Result.RENEWED
            elif self._on_conflict is OnConflict.ERROR:
                rule = f"belongs to {present.id}, whose content differs; choose with --on-conflict skip or update"
                return _failed(id_, FieldViolation("id", rule))
        if (obstacle := _obstacle(after, records)) is not None:
            return _Decision(_Result.FAILED if last else _Result.DEFERRED, id_, [obstacle])
        records.put(after)
        return _Decision(result)

    def _updated(self, present: ContactMethod, row: Row) -> ContactMethod:
        """Return the record after the row is applied; the present one itself when nothing differs."""
        if row.is_restore:
            after = replace(row.record, etag=present.etag, requests=present.requests)
            # A running challenge is no content of a file. A record that the file changes loses it.
            content = present if present.challenge is None else replace(present, challenge=None)
            return present if after == content else replace(after, etag=new_etag())
        given = {field.name: getattr(row.record, field.name) for field in fields.GIVEN}
        if row.record.external_id is None:
            # Another system may have set it.
            del given["external_id"]
        if row.record.value.normalized is None and _is_same_text(row, present):
            # What these rules cannot read, others have read.
            given["value"] = present.value
        return changed(present, given, now=self._now, etag=new_etag())


def _contradiction(row: Row, present: ContactMethod | None, records: RecordSet) -> FieldViolation | None:
    """Return why a row of a list can neither be applied to its record nor become a new one."""
    if present is None:
        if (other := records.find(row.record.id)) is not None:
            return FieldViolation("external_id", f"was that of {other.id}, which has another one now")
        return None
    if present.client_id != row.record.client_id:
        return FieldViolation("external_id", f"belongs to {present.id}, a record of another client")
    return None if row.refusal is None or _is_same_text(row, present) else row.refusal


def _is_same_text(row: Row, present: ContactMethod) -> bool:
    """Return whether a value is written as the record has it; the written form of a refused value is enough."""
    text, stored = row.record.value.text, present.value.text
    return text == stored or (row.refusal is not None and written_form(text) == written_form(stored))


def _is_renewal(before: ContactMethod, after: ContactMethod) -> bool:
    """Return whether a change only brings the normal form of the same text up to date."""
    return before.value.text == after.value.text and after == replace(
        before,
        value=after.value,
        # They go with the normal form that they belong to.
        verified_at=after.verified_at,
        verification_method=after.verification_method,
        challenge=after.challenge,
        updated_at=after.updated_at,
        etag=after.etag,
    )


def _obstacle(after: ContactMethod, records: RecordSet) -> FieldViolation | None:
    """Return why a record cannot be written: another one holds its external id, or its primary slot."""
    holder = records.find_by_external_id(after.external_id)
    if holder is not None and holder.id != after.id:
        return FieldViolation("external_id", f"belongs to {holder.id}")
    primary = records.find_primary(after.slot) if after.is_primary else None
    if primary is not None and primary.id != after.id:
        return FieldViolation("is_primary", f"conflicts with {primary.id}, the primary of this client and type")
    return None


def _failed(id_: str, *violations: FieldViolation) -> _Decision:
    return _Decision(_Result.FAILED, id_, violations)
