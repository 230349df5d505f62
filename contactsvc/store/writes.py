"""A change set as writes of single documents, in an order that violates no unique index on the way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from pymongo import DeleteOne, InsertOne, ReplaceOne, UpdateOne

from contactsvc.domain.change_set import ChangeSet
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.store.documents import to_document
from contactsvc.store.drivers import Collection, Document
from contactsvc.store.idempotency_records import idempotency_document


class DocumentWrite(ABC):
    """A write of one document."""

    @abstractmethod
    def bulk(self, namespace: str | None = None) -> Any:
        """Return the write as a bulk operation.

        Args:
            namespace: the full name of its collection; needed where one command may write to several.
        """

    @abstractmethod
    async def apply(self, collection: Collection) -> bool:
        """Execute the write alone; return whether the document was in the expected state."""

    @abstractmethod
    async def revert(self, collection: Collection) -> None:
        """Undo the write, unless the document has changed since."""


@dataclass(frozen=True, slots=True)
class Insert(DocumentWrite):
    """Insert a document."""

    document: Document

    def bulk(self, namespace: str | None = None) -> Any:
        """Return the write as a bulk operation."""
        return InsertOne(self.document, namespace=namespace)

    async def apply(self, collection: Collection) -> bool:
        """Execute the write alone; always True."""
        await collection.insert_one(self.document)
        return True

    async def revert(self, collection: Collection) -> None:
        """Delete the document, unless it has changed."""
        await collection.delete_one({"_id": self.document["_id"], "etag": self.document.get("etag")})


@dataclass(frozen=True, slots=True)
class Replace(DocumentWrite):
    """Replace the document of a record, if it is unchanged since it was read."""

    before: ContactMethod
    document: Document

    def bulk(self, namespace: str | None = None) -> Any:
        """Return the write as a bulk operation."""
        return ReplaceOne(_unchanged(self.before), self.document, namespace=namespace)

    async def apply(self, collection: Collection) -> bool:
        """Execute the write alone; return whether the document was unchanged."""
        result = await collection.replace_one(_unchanged(self.before), self.document)
        return result.matched_count == 1

    async def revert(self, collection: Collection) -> None:
        """Restore the document, unless it has changed; sends and wrong codes counted since stay counted."""
        before = to_document(self.before)
        written = {"_id": self.before.id, "etag": self.document.get("etag")}
        if before.get("challenge") != self.document.get("challenge"):
            # It was voided, and another one may have been started since.
            await collection.replace_one({**written, "challenge.etag": None}, before)
            return
        restored = {name: value for name, value in before.items() if name not in {"_id", "challenge"}}
        added = dict.fromkeys(sorted(self.document.keys() - before.keys()), "")
        await collection.update_one(written, {"$set": restored, **({"$unset": added} if added else {})})


@dataclass(frozen=True, slots=True)
class Release(DocumentWrite):
    """Clear the primary flag and the external id of a record that is replaced later in the same change set."""

    before: ContactMethod

    def bulk(self, namespace: str | None = None) -> Any:
        """Return the write as a bulk operation."""
        return UpdateOne(_unchanged(self.before), _RELEASED, namespace=namespace)

    async def apply(self, collection: Collection) -> bool:
        """Execute the write alone; return whether the document was unchanged."""
        result = await collection.update_one(_unchanged(self.before), _RELEASED)
        return result.matched_count == 1

    async def revert(self, collection: Collection) -> None:
        """Restore flag and external id, unless the document has changed."""
        before = to_document(self.before)
        released = {name: before[name] for name in _RELEASED_FIELDS if name in before}
        await collection.update_one({"_id": self.before.id, "etag": self.before.etag}, {"$set": released})


@dataclass(frozen=True, slots=True)
class Remove(DocumentWrite):
    """Delete the document of a record, if it is unchanged since it was read."""

    before: ContactMethod

    def bulk(self, namespace: str | None = None) -> Any:
        """Return the write as a bulk operation."""
        return DeleteOne(_unchanged(self.before), namespace=namespace)

    async def apply(self, collection: Collection) -> bool:
        """Execute the write alone; return whether the document was unchanged."""
        result = await collection.delete_one(_unchanged(self.before))
        return result.deleted_count == 1

    async def revert(self, collection: Collection) -> None:
        """Insert the document again."""
        await collection.insert_one(to_document(self.before))


@dataclass(frozen=True, slots=True)
class Revive(DocumentWrite):
    """Replace the idempotency document that a deleted record left behind by the record itself."""

    record: ContactMethod

    def bulk(self, namespace: str | None = None) -> Any:
        """Return the write as a bulk operation."""
        return ReplaceOne(_idempotency_document_of(self.record), to_document(self.record), namespace=namespace)

    async def apply(self, collection: Collection) -> bool:
        """Execute the write alone; return whether the idempotency document was there."""
        result = await collection.replace_one(_idempotency_document_of(self.record), to_document(self.record))
        return result.matched_count == 1

    async def revert(self, collection: Collection) -> None:
        """Restore the idempotency document, unless the record has changed."""
        written = {"_id": self.record.id, "etag": self.record.etag}
        await collection.replace_one(written, idempotency_document(self.record.requests))


_RELEASED_FIELDS: Final = ("is_primary", "external_id", "primary_key")
_RELEASED: Final = {"$set": {"is_primary": False}, "$unset": {"external_id": "", "primary_key": ""}}


def writes_of(change_set: ChangeSet) -> list[DocumentWrite]:
    """Return the writes that store a change set.

    A write that gives up a primary slot or an external id precedes the one that takes it. A record that does both is
    released first.
    """
    # Writes of one kind after the other: a transaction executes them by common commands.
    writes: list[DocumentWrite] = [Remove(record) for record in change_set.removed if not record.requests]
    writes += [
        Replace(record, idempotency_document(record.requests)) for record in change_set.removed if record.requests
    ]
    if len(change_set) == 1:
        # The most frequent case by far, which has no order.
        writes += [Replace(before, to_document(after)) for before, after in change_set.replaced]
    else:
        writes += _ordered(change_set)
    writes += [Insert(to_document(record)) for record in change_set.inserted]
    writes += [Revive(record) for record in change_set.revived]
    writes += [Insert(idempotency_document(records)) for records in change_set.idempotency_records]
    return writes


def _ordered(change_set: ChangeSet) -> Iterator[DocumentWrite]:
    """Yield the replacements of a change set in their order, each record's release before all of them."""
    final = [*change_set.inserted, *change_set.revived, *(after for _, after in change_set.replaced)]
    primaries = {record.slot: record.id for record in final if record.is_primary}
    external_ids = {record.external_id: record.id for record in final if record.external_id is not None}

    def gives_up(before: ContactMethod) -> bool:
        """Return whether another record takes the slot or the external id of this one."""
        gives_up_slot = before.is_primary and primaries.get(before.slot, before.id) != before.id
        return gives_up_slot or external_ids.get(before.external_id or "", before.id) != before.id

    def takes(before: ContactMethod, after: ContactMethod) -> bool:
        """Return whether the record takes a slot or an external id that it did not have."""
        takes_slot = after.is_primary and (not before.is_primary or before.slot != after.slot)
        return takes_slot or (after.external_id is not None and after.external_id != before.external_id)

    yield from (Release(before) for before, after in change_set.replaced if takes(before, after) and gives_up(before))
    ordered = sorted(change_set.replaced, key=lambda pair: takes(*pair))
    yield from (Replace(before, to_document(after)) for before, after in ordered)


def _idempotency_document_of(record: ContactMethod) -> Document:
    return {"_id": record.id, "client_id": {"$exists": False}}


def _unchanged(before: ContactMethod) -> Document:
    # A send or a wrong code of a verification changes only the etag of the challenge. Null matches an absent field.
    challenge_etag = None if before.challenge is None else before.challenge.etag
    return {"_id": before.id, "etag": before.etag, "challenge.etag": challenge_etag}
