"""Contact methods in memory, found by what only one of them may have: id, external id, primary slot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.kinds import Slot


class RecordSet:
    """Contact methods, each under its id.

    Records that were read one after the other while others wrote may seem to share an external id or a primary slot;
    then the one that was put last has it.
    """

    def __init__(self, records: Iterable[ContactMethod] = ()) -> None:
        self._records: dict[str, ContactMethod] = {}
        self._by_external_id: dict[str, str] = {}
        self._primaries: dict[Slot, str] = {}
        for record in records:
            self.put(record)

    def __iter__(self) -> Iterator[ContactMethod]:
        return iter(self._records.values())

    def __contains__(self, id_: str) -> bool:
        return id_ in self._records

    def find(self, id_: str) -> ContactMethod | None:
        """Return the record with this id."""
        return self._records.get(id_)

    def find_by_external_id(self, external_id: str | None) -> ContactMethod | None:
        """Return the record with this external id; None has none."""
        id_ = None if external_id is None else self._by_external_id.get(external_id)
        return None if id_ is None else self._records[id_]

    def find_primary(self, slot: Slot) -> ContactMethod | None:
        """Return the primary of this slot."""
        id_ = self._primaries.get(slot)
        return None if id_ is None else self._records[id_]

    def put(self, record: ContactMethod) -> None:
        """Take in a record, in the place of the one with its id."""
        if (present := self._records.get(record.id)) is not None:
            self.remove(present)
        self._records[record.id] = record
        if record.external_id is not None:
            self._by_external_id[record.external_id] = record.id
        if record.is_primary:
            self._primaries[record.slot] = record.id

    def remove(self, record: ContactMethod) -> None:
        """Take out a record, as it was put."""
        del self._records[record.id]
        if record.external_id is not None and self._by_external_id.get(record.external_id) == record.id:
            del self._by_external_id[record.external_id]
        if self._primaries.get(record.slot) == record.id:
            del self._primaries[record.slot]
