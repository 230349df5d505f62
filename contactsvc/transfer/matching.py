"""Which stored record a row of a list describes.

A row describes the record of its external id, else the one whose id was made from the same text, else one of its
client and type that has the same text or the same normal form. So the same list creates nothing when it is imported
again, even if the default region, the library or the spelling has changed in between. No row takes a record that has
another external id.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from operator import itemgetter
from typing import Protocol

from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.kinds import Slot
from contactsvc.domain.normalization import written_form
from contactsvc.domain.record_set import RecordSet
from contactsvc.transfer import fields
from contactsvc.transfer.sources import NumberedRow, Row

# Clients and records kept in memory; beyond that, clients are read again.
_MAX_CANDIDATES = 50_000


class StoredRecords(Protocol):
    """The reads of a Store that matching needs; each method means what it means there."""

    @property
    def transactional(self) -> bool:
        """Whether a write that finds an id, a primary slot or an external id taken has no effect at all."""
        ...

    async def find_by_ids(self, ids: Collection[str]) -> list[ContactMethod]:
        """Return the records with these ids, in any order."""
        ...

    async def find_by_external_ids(self, external_ids: Collection[str]) -> list[ContactMethod]:
        """Return the records with these external ids, in any order."""
        ...

    async def find_of_clients(self, client_ids: Collection[str]) -> list[ContactMethod]:
        """Return all records of these clients, in any order."""
        ...

    async def find_primaries(self, slots: Collection[Slot]) -> list[ContactMethod]:
        """Return the primaries of these slots."""
        ...


class Matching:
    """The matching of the rows of one import."""

    def __init__(self) -> None:
        # The first line of each record that a row of a list describes.
        self._lines: dict[str, int] = {}
        # The records that rows without external id describe, by the ids of release 0.1.0, which stand for client, type
        # and normal form.
        self._described: dict[str, str] = {}
        self._candidates = _Candidates()
        # Whether most rows of the last batch described no stored record.
        self._expects_new_records = False
        # Whether the last batch of an export that was looked up met no stored record.
        self._expects_vacancy = False
        # The records that rows of the present batch describe by id or external id.
        self._claimed: set[str] = set()

    async def present(
        self, store: StoredRecords, batch: Sequence[NumberedRow], *, thorough: bool
    ) -> dict[str, ContactMethod]:
        """Return the stored records, by id, that the rows of a batch may describe or conflict with.

        Args:
            store: the store to read.
            batch: the rows.
            thorough: whether to read also what is seldom there: records of an export that is restored into an empty
                environment, and for a list what only another writer, or a record of another client, can have put there.
                Without it a write may find an id, an external id or a primary slot taken.
        """
        rows = [numbered.row for numbered in batch if isinstance(numbered.row, Row)]
        listed = [row for row in rows if not row.is_restore]
        if self._expects_vacancy and store.transactional and not thorough:
            rows = listed
        restored = len(rows) - len(listed)
        clients = {row.record.client_id for row in listed}
        # A list of new records: one read per client settles all its rows. Otherwise most rows are found by id.
        vacant = await self._candidates.read(store, clients) if self._expects_new_records else set()
        fresh = set() if thorough else self._candidates.without_records
        ids = {
            id_
            for row in rows
            for id_ in self._ids(row)
            if row.is_restore or row.record.client_id not in fresh or id_ in self._lines
        }
        external_ids = {row.record.external_id for row in rows if row.record.external_id is not None}
        found = {
            record.id: record
            for record in (
                *(await store.find_by_ids(ids) if ids else []),
                *(await store.find_by_external_ids(external_ids) if external_ids else []),
            )
        }
        records = RecordSet(found.values())
        described = [(row, self._by_id(row, records)) for row in listed]
        self._claimed = {record.id for _, record in described if record is not None}
        if unmatched := [row.record for row, record in described if record is None]:
            await self._candidates.read(store, {record.client_id for record in unmatched})
            others = {id_ for record in unmatched for id_ in self._candidates.ids(record)} - found.keys()
            found |= {record.id: record for record in (await store.find_by_ids(others) if others else [])}
        self._expects_new_records = 2 * len(unmatched) > len(rows)
        if thorough:
            vacant = set()
        slots = {row.record.slot for row in rows if row.record.is_primary and row.record.client_id not in vacant}
        found |= {record.id: record for record in (await store.find_primaries(slots) if slots else [])}
        if restored:
            self._expects_vacancy = not found
        return found

    def match(self, row: Row, line: int, records: RecordSet) -> ContactMethod | None:
        """Return the record that a row describes, of those that `present` has found."""
        if row.is_restore:
            return records.find(row.record.id)
        stored = self._by_id(row, records)
        if stored is not None and self._is_free(row, line, stored):
            return stored
        for id_ in self._candidates.ids(row.record):
            stored = records.find(id_)
            if stored is None or id_ in self._claimed or self._lines.get(id_, line) != line:
                continue
            if _may_take(row.record, stored) and _is_same(row.record, stored):
                return stored
        return None

    def first_line(self, row: Row, line: int, stored: ContactMethod | None) -> int:
        """Return the first line of the list that describes the record of a row; this one, if there is none before it.

        Args:
            row: a row of a list.
            line: its line.
            stored: the record that it describes; None for a new one.
        """
        id_ = row.record.id if stored is None else stored.id
        if row.record.external_id is None:
            described = self._described.setdefault(fields.derived_id_0_1_0(row.record), id_)
            if stored is None and described != id_:
                # An earlier row with another spelling, which is not written yet.
                return self._lines[described]
        return self._lines.setdefault(id_, line)

    def _ids(self, row: Row) -> Iterator[str]:
        """Yield the ids that the record of a row may have, the likeliest first."""
        record = row.record
        yield record.id
        if row.is_restore:
            return
        if record.external_id is not None:
            # From before the list had external ids.
            yield _id_by_text(record)
        elif (described := self._described.get(fields.derived_id_0_1_0(record))) is not None:
            yield described

    def _by_id(self, row: Row, records: RecordSet) -> ContactMethod | None:
        if (holder := records.find_by_external_id(row.record.external_id)) is not None:
            return holder
        found = (records.find(id_) for id_ in self._ids(row))
        return next((record for record in found if record is not None and _may_take(row.record, record)), None)

    def _is_free(self, row: Row, line: int, stored: ContactMethod) -> bool:
        """Return whether a row may have the record found by id: with an external id, not that of another row."""
        by_text = row.record.external_id is not None and stored.id == _id_by_text(row.record)
        return not by_text or self._lines.get(stored.id, line) == line


class _Candidates:
    """The records that clients had when the import first met them, by what a row may share with them.

    They name records to read; those may have changed since. Keys are hashes: a collision names one record too many.

    Attributes:
        without_records: the clients that had none.
    """

    def __init__(self) -> None:
        self._clients: set[str] = set()
        self._ids: dict[int, list[tuple[bool, str]]] = defaultdict(list)
        self._size = 0
        self.without_records: set[str] = set()

    async def read(self, store: StoredRecords, client_ids: set[str]) -> set[str]:
        """Read the records of those clients that are new; return the new clients that have none."""
        if self._size > _MAX_CANDIDATES:
            for kept in (self._clients, self._ids, self.without_records):
                kept.clear()
            self._size = 0
        if not (new := client_ids - self._clients):
            return set()
        found = await store.find_of_clients(new)
        vacant = new - {record.client_id for record in found}
        self._clients |= new
        self.without_records |= vacant
        self._size += len(new) + len(found)
        for record in sorted(found, key=lambda record: (record.created_at, record.id)):
            for key in (hash(record.id), *_keys(record)):
                self._ids[key].append((record.external_id is not None, record.id))
        return vacant

    def ids(self, described: ContactMethod) -> Iterator[str]:
        """Yield the ids of the records that may be the described one.

        First that of release 0.1.0, then by text, by normal form, and by written form; each time records without
        external id first, and the oldest first.
        """
        if described.client_id in self.without_records:
            return
        for key in (hash(fields.derived_id_0_1_0(described)), *_keys(described), _written_key(described)):
            yield from (id_ for _, id_ in sorted(self._ids.get(key, ()), key=itemgetter(0)))


def _id_by_text(record: ContactMethod) -> str:
    return fields.derived_id(record.client_id, record.type, record.value.text, None)


def _keys(record: ContactMethod) -> Iterator[int]:
    yield hash((record.client_id, record.type, "text", record.value.text))
    if record.value.normalized is not None:
        yield hash((record.client_id, record.type, "normal form", record.value.normalized))
    else:
        yield _written_key(record)


def _written_key(record: ContactMethod) -> int:
    return hash((record.client_id, record.type, "written form", written_form(record.value.text)))


def _may_take(described: ContactMethod, stored: ContactMethod) -> bool:
    """Return whether a row may describe a record, as far as external ids go."""
    return described.external_id is None or stored.external_id in (None, described.external_id)


def _is_same(described: ContactMethod, stored: ContactMethod) -> bool:
    """Return whether a row describes a record, by client, type and value."""
    if (described.client_id, described.type) != (stored.client_id, stored.type):
        return False
    value, present = described.value, stored.value
    if value.text == present.text or stored.id == fields.derived_id_0_1_0(described):
        return True
    if present.normalized is None:
        return written_form(value.text) == written_form(present.text)
    return value.normalized == present.normalized
