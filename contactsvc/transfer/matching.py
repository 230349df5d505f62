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

# Clients and records to keep in mind; beyond that, clients are read again.
_MAX_CANDIDATES = 50_000


class StoredRecords(Protocol):
    """The reads of a Store that matching needs; each method means what it means there."""

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
        # The records that rows of the present batch describe by id or external id.
        self._claimed: set[str] = set()

    async def present(self, store: StoredRecords, batch: Sequence[NumberedRow]) -> dict[str, ContactMethod]:
        """Return the stored records, by id, that the rows of a batch may describe or conflict with."""
        rows = [numbered.row for numbered in batch if isinstance(numbered.row, Row)]
        ids = {id_ for row in rows for id_ in self._ids(row)}
        external_ids = {row.record.external_id for row in rows if row.record.external_id is not None}
        found = {
            record.id: record
            for record in (
                *(await store.find_by_ids(ids) if ids else []),
                *(await store.find_by_external_ids(external_ids) if external_ids else []),
            )
        }
        records = RecordSet(found.values())
        described = [(row, self._by_id(row, records)) for row in rows if not row.is_restore]
        self._claimed = {record.id for _, record in described if record is not None}
        if unmatched := [row.record for row, record in described if record is None]:
            await self._candidates.read(store, {record.client_id for record in unmatched})
            others = {id_ for record in unmatched for id_ in self._candidates.ids(record)} - found.keys()
            found |= {record.id: record for record in (await store.find_by_ids(others) if others else [])}
        slots = {row.record.slot for row in rows if row.record.is_primary}
        found |= {record.id: record for record in (await store.find_primaries(slots) if slots else [])}
        return found

    def match(self, row: Row, line: int, records: RecordSet) -> ContactMethod | None:
        """Return the record that a row describes, of those that `present` has found."""
        if row.is_restore:
            return records.find(row.record.id)
        if (present := self._by_id(row, records)) is not None:
            return present
        for id_ in self._candidates.ids(row.record):
            is_free = self._lines.get(id_, line) == line and id_ not in self._claimed
            stored = records.find(id_) if is_free else None
            if stored is not None and _may_take(row.record, stored) and _is_same(row.record, stored):
                return stored
        return None

    def first_line(self, row: Row, line: int, described: ContactMethod) -> int:
        """Return the first line of the list that describes this record; from now on this one, if there is none yet."""
        first = self._lines.setdefault(described.id, line)
        if row.record.external_id is None:
            self._described.setdefault(fields.derived_id_0_1_0(row.record), described.id)
        return first

    def _ids(self, row: Row) -> Iterator[str]:
        """Yield the ids that the record of a row may have, the likeliest first."""
        record = row.record
        yield record.id
        if row.is_restore:
            return
        if record.external_id is not None:
            # From before the list had external ids.
            yield fields.derived_id(record.client_id, record.type, record.value.text, None)
        elif (described := self._described.get(fields.derived_id_0_1_0(record))) is not None:
            yield described

    def _by_id(self, row: Row, records: RecordSet) -> ContactMethod | None:
        if (holder := records.find_by_external_id(row.record.external_id)) is not None:
            return holder
        found = (records.find(id_) for id_ in self._ids(row))
        return next((record for record in found if record is not None and _may_take(row.record, record)), None)


class _Candidates:
    """The records that clients had when the import first met them, by what a row may share with them.

    They name records to read; those may have changed since. Keys are hashes: a collision names one record too many.
    """

    def __init__(self) -> None:
        self._clients: set[str] = set()
        self._ids: dict[int, list[tuple[bool, str]]] = defaultdict(list)
        self._size = 0

    async def read(self, store: StoredRecords, client_ids: set[str]) -> None:
        """Read the records of those clients that are new."""
        if self._size > _MAX_CANDIDATES:
            self._clients.clear()
            self._ids.clear()
            self._size = 0
        if not (new := client_ids - self._clients):
            return
        found = await store.find_of_clients(new)
        self._clients |= new
        self._size += len(new) + len(found)
        for record in sorted(found, key=lambda record: (record.created_at, record.id)):
            for key in (hash(record.id), *_keys(record)):
                self._ids[key].append((record.external_id is not None, record.id))

    def ids(self, described: ContactMethod) -> Iterator[str]:
        """Yield the ids of the records that may be the described one.

        First that of release 0.1.0, then by text, by normal form, and by written form; each time records without
        external id first, and the oldest first.
        """
        for key in (hash(fields.derived_id_0_1_0(described)), *_keys(described), _written_key(described)):
            yield from (id_ for _, id_ in sorted(self._ids.get(key, ()), key=itemgetter(0)))


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
