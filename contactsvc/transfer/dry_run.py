"""A store for dry runs: it records writes in a temporary file, and reads as if they had happened."""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Awaitable, Callable, Collection, Hashable, Sequence
from contextlib import closing
from typing import TypeVar

from contactsvc.domain.change_set import ChangeSet
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.idempotency import IdempotencyRecord
from contactsvc.domain.kinds import Slot
from contactsvc.service.ports import Store
from contactsvc.transfer.importer import ImportTarget

T = TypeVar("T")

_TABLE = """
create table records (id text primary key, record blob, external_id text unique, slot text unique) without rowid
"""


class DryRunStore:
    """A store with writes laid over it.

    Args:
        store: is read, and never written.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        # An empty name is a temporary file that SQLite deletes on close, so that memory stays constant.
        self._written = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._written.execute(_TABLE)
        self._written.execute("begin")

    @property
    def transactional(self) -> bool:
        """Whether a write fails when an id, a primary slot or an external id is taken: it does not check the store."""
        return False

    def close(self) -> None:
        """Discard all writes."""
        self._written.close()

    async def find_by_ids(self, ids: Collection[str]) -> list[ContactMethod]:
        """Return the records with these ids, in any order."""
        return self._merged(self._find("id", list(ids)), await self._store.find_by_ids(ids))

    async def find_by_external_ids(self, external_ids: Collection[str]) -> list[ContactMethod]:
        """Return the records with these external ids, in any order."""
        stored = await self._store.find_by_external_ids(external_ids)
        return self._merged(self._find("external_id", list(external_ids)), stored)

    async def find_of_clients(self, client_ids: Collection[str]) -> list[ContactMethod]:
        """Return the stored records of these clients that were not written over."""
        return self._merged([], await self._store.find_of_clients(client_ids))

    async def find_primaries(self, slots: Collection[Slot]) -> list[ContactMethod]:
        """Return the primaries of these slots."""
        return self._merged(self._find("slot", list(map(_slot, slots))), await self._store.find_primaries(slots))

    async def find_idempotency_records(self, ids: Collection[str]) -> dict[str, tuple[IdempotencyRecord, ...]]:
        """Return nothing: idempotency records do not change the result of a row."""
        del ids
        return {}

    async def write(self, changes: ChangeSet) -> None:
        """Record the changes."""
        records = [*changes.inserted, *(after for _, after in changes.replaced)]
        # First all give up what they had, so that records may swap external ids and slots.
        self._written.executemany("delete from records where id = ?", [(record.id,) for record in records])
        self._written.executemany(
            "insert into records values (?, ?, ?, ?)",
            [
                (
                    record.id,
                    pickle.dumps(record),
                    record.external_id,
                    _slot(record.slot) if record.is_primary else None,
                )
                for record in records
            ],
        )

    async def atomically(self, work: Callable[[ImportTarget], Awaitable[T]], *, keys: Collection[Hashable]) -> T:
        """Run `work` on this store, which has no other writer."""
        del keys
        return await work(self)

    def _find(self, column: str, wanted: Sequence[str]) -> list[ContactMethod]:
        marks = ", ".join("?" * len(wanted))
        query = f"select record from records where {column} in ({marks})"  # noqa: S608 - a constant column name
        with closing(self._written.execute(query, wanted)) as found:
            return [pickle.loads(record) for (record,) in found]  # noqa: S301 - written above, to a private file

    def _merged(self, written: list[ContactMethod], stored: list[ContactMethod]) -> list[ContactMethod]:
        """Return the written records, and those stored ones that were not written over."""
        if not stored:
            return written
        marks = ", ".join("?" * len(stored))
        query = f"select id from records where id in ({marks})"  # noqa: S608 - placeholders only
        with closing(self._written.execute(query, [record.id for record in stored])) as found:
            changed = {id_ for (id_,) in found}
        return [*written, *(record for record in stored if record.id not in changed)]


def _slot(slot: Slot) -> str:
    client_id, type_ = slot
    return f"{type_}:{client_id}"
