"""A difference as writes of single documents, in an order that no unique index minds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from pymongo import DeleteOne, InsertOne, ReplaceOne, UpdateOne

from contactsvc.domain.change_set import ChangeSet
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.store.documents import to_document, to_memory
from contactsvc.store.drivers import Collection, Document


class DocumentWrite(ABC):
    """A write of one document."""

    @abstractmethod
    def bulk(self, namespace: str | None = None) -> Any:
        """Return the write as a part of a bulk write; of one that may be on several collections, on this one."""

    @abstractmethod
    async def apply(self, collection: Collection) -> bool:
        """Make the write by itself; tell whether the document was there as expected."""

    @abstractmethod
    async def revert(self, collection: Collection) -> None:
        """Revert the write, unless somebody has changed the document since."""


@dataclass(frozen=True, slots=True)
class Insert(DocumentWrite):
    """Insert a document."""

    document: Document

    def bulk(self, namespace: str | None = None) -> Any:
        """Return the write as a part of a bulk write."""
        return InsertOne(self.document, namespace=namespace)

    async def apply(self, collection: Collection) -> bool:
        """Make the write by itself."""
        await collection.insert_one(self.document)
        return True

    async def revert(self, collection: Collection) -> None:
        """Revert the write."""
        await collection.delete_one({"_id": self.document["_id"], "etag": self.document.get("etag")})


@dataclass(frozen=True, slots=True)
class Replace(DocumentWrite):
    """Replace the document of a record, if it is still as it was read."""

    before: ContactMethod
    document: Document

    def bulk(self, namespace: str | None = None) -> Any:
        """Return the write as a part of a bulk write."""
        return ReplaceOne(_as_read(self.before), self.document, namespace=namespace)

    async def apply(self, collection: Collection) -> bool:
        """Make the write by itself; tell whether the document was there as expected."""
        result = await collection.replace_one(_as_read(self.before), self.document)
        return result.matched_count == 1

    async def revert(self, collection: Collection) -> None:
        """Revert the write."""
        written = {"_id": self.before.id, "etag": self.document.get("etag")}
        await collection.replace_one(written, to_document(self.before))


@dataclass(frozen=True, slots=True)
class Release(DocumentWrite):
    """Take the primary flag and the external id from a record that is to be replaced later."""

    before: ContactMethod

    def bulk(self, namespace: str | None = None) -> Any:
        """Return the write as a part of a bulk write."""
        return UpdateOne(_as_read(self.before), _NOTHING_CLAIMED, namespace=namespace)

    async def apply(self, collection: Collection) -> bool:
        """Make the write by itself; tell whether the document was there as expected."""
        result = await collection.update_one(_as_read(self.before), _NOTHING_CLAIMED)
        return result.matched_count == 1

    async def revert(self, collection: Collection) -> None:
        """Revert the write."""
        await collection.replace_one(_as_read(self.before), to_document(self.before))


@dataclass(frozen=True, slots=True)
class Remove(DocumentWrite):
    """Remove the document of a record, if it is still as it was read."""

    before: ContactMethod

    def bulk(self, namespace: str | None = None) -> Any:
        """Return the write as a part of a bulk write."""
        return DeleteOne(_as_read(self.before), namespace=namespace)

    async def apply(self, collection: Collection) -> bool:
        """Make the write by itself; tell whether the document was there as expected."""
        result = await collection.delete_one(_as_read(self.before))
        return result.deleted_count == 1

    async def revert(self, collection: Collection) -> None:
        """Revert the write."""
        await collection.insert_one(to_document(self.before))


@dataclass(frozen=True, slots=True)
class Revive(DocumentWrite):
    """Put a record in the place of what remembers the requests of its deleted self."""

    record: ContactMethod

    def bulk(self, namespace: str | None = None) -> Any:
        """Return the write as a part of a bulk write."""
        return ReplaceOne(_deleted(self.record), to_document(self.record), namespace=namespace)

    async def apply(self, collection: Collection) -> bool:
        """Make the write by itself; tell whether the document was there as expected."""
        result = await collection.replace_one(_deleted(self.record), to_document(self.record))
        return result.matched_count == 1

    async def revert(self, collection: Collection) -> None:
        """Revert the write."""
        written = {"_id": self.record.id, "etag": self.record.etag}
        await collection.replace_one(written, to_memory(self.record.requests))


_NOTHING_CLAIMED = {"$set": {"is_primary": False}, "$unset": {"external_id": "", "primary_key": ""}}


def writes_of(difference: ChangeSet) -> list[DocumentWrite]:
    """Return the writes that store a difference.

    What gives up a primary slot or an external id comes before what takes it. A record that does both is first made to
    give up what it has.
    """
    final = [*difference.inserted, *difference.revived, *(after for _, after in difference.replaced)]
    primaries = {record.slot: record.id for record in final if record.is_primary}
    external_ids = {record.external_id: record.id for record in final if record.external_id is not None}

    def gives_up(before: ContactMethod) -> bool:
        """Tell whether another record is to have what this one has."""
        slot_goes = before.is_primary and primaries.get(before.slot, before.id) != before.id
        return slot_goes or external_ids.get(before.external_id or "", before.id) != before.id

    def takes(before: ContactMethod, after: ContactMethod) -> bool:
        takes_slot = after.is_primary and (not before.is_primary or before.slot != after.slot)
        return takes_slot or (after.external_id is not None and after.external_id != before.external_id)

    writes: list[DocumentWrite] = [
        Replace(record, to_memory(record.requests)) if record.requests else Remove(record)
        for record in difference.removed
    ]
    writes += [Release(before) for before, after in difference.replaced if takes(before, after) and gives_up(before)]
    in_order = sorted(difference.replaced, key=lambda pair: takes(*pair))
    writes += [Replace(before, to_document(after)) for before, after in in_order]
    writes += [Insert(to_document(record)) for record in difference.inserted]
    writes += [Revive(record) for record in difference.revived]
    writes += [Insert(to_memory(requests)) for requests in difference.memories]
    return writes


def _deleted(record: ContactMethod) -> Document:
    return {"_id": record.id, "client_id": {"$exists": False}}


def _as_read(before: ContactMethod) -> Document:
    return {"_id": before.id, "etag": before.etag}
