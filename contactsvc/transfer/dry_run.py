"""A store for a dry run: it takes writes down in a temporary file, and reads as if they had happened."""

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
from contactsvc.transfer.importer import Place

T = TypeVar("T")

_TABLE = """
create table records (id text primary key, record blob, external_id text unique, slot text unique) without rowid
"""


class DryRunStore:
    """What a store would hold, had it been written to.

    Args:
        store: is read, and never written.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        # An empty name is a file of its own that goes with the connection, so that memory stays constant.
        self._written = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._written.execute(_TABLE)
        self._written.execute("begin")

    def close(self) -> None:
        """Forget everything."""
        self._written.close()

    async def find_by_ids(self, ids: Collection[str]) -> list[ContactMethod]:
        """Return the records with these ids, in any order."""
        return self._merged(self._noted("id", list(ids)), await self._store.find_by_ids(ids))

    async def find_by_external_ids(self, external_ids: Collection[str]) -> list[ContactMethod]:
        """Return the records with these external ids, in any order."""
        found = await self._store.find_by_external_ids(external_ids)
        return self._merged(self._noted("external_id", list(external_ids)), found)

    async def find_primaries(self, slots: Collection[Slot]) -> list[ContactMethod]:
        """Return the primaries of these slots."""
        return self._merged(self._noted("slot", list(map(_slot, slots))), await self._store.find_primaries(slots))

    async def find_memories(self, ids: Collection[str]) -> dict[str, tuple[IdempotencyRecord, ...]]:
        """Return nothing: what is remembered changes nothing about a row."""
        del ids
        return {}

    async def write(self, difference: ChangeSet) -> None:
        """Note a difference."""
        records = [*difference.inserted, *(after for _, after in difference.replaced)]
        # All at once give up what they had.
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

    async def atomically(self, work: Callable[[Place], Awaitable[T]], *, keys: Collection[Hashable]) -> T:
        """Run `work` on this store: nobody else writes to it."""
        del keys
        return await work(self)

    def _noted(self, column: str, wanted: Sequence[str]) -> list[ContactMethod]:
        marks = ", ".join("?" * len(wanted))
        query = f"select record from records where {column} in ({marks})"  # noqa: S608 - one of three names of ours
        with closing(self._written.execute(query, wanted)) as found:
            # From a file of its own, that nobody else can open.
            return [pickle.loads(record) for (record,) in found]  # noqa: S301

    def _merged(self, noted: list[ContactMethod], stored: list[ContactMethod]) -> list[ContactMethod]:
        """Return what is noted, and of what is stored what has not been written since."""
        if not stored:
            return noted
        marks = ", ".join("?" * len(stored))
        query = f"select id from records where id in ({marks})"  # noqa: S608 - nothing but marks
        with closing(self._written.execute(query, [record.id for record in stored])) as found:
            changed = {id_ for (id_,) in found}
        return [*noted, *(record for record in stored if record.id not in changed)]


def _slot(slot: Slot) -> str:
    client_id, type_ = slot
    return f"{type_}:{client_id}"
