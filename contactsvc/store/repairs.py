"""Guarded repairs of stored documents, for `contactsvc doctor --fix`.

Each repair of a document is conditional on the etag that doctor has seen, so that it never overwrites a later change.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Final

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure

from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.kinds import ContactMethodType
from contactsvc.store.deployment import COLLECTION, Deployment
from contactsvc.store.documents import invalid_fields, is_contact_method, to_document, value_key
from contactsvc.store.drivers import Collection, Document
from contactsvc.store.indexes import INDEX_CONFLICTS, INDEXES, create_index
from contactsvc.store.inspection import (
    BATCH_SIZE,
    expired,
    expired_challenges,
    explained,
    readable_record,
    record_primary_key,
    record_written_key,
)
from contactsvc.store.migrations import READABLE, update_of
from contactsvc.store.queries import EARLIER_LAYOUTS

MAX_REPAIRS: Final = BATCH_SIZE
"""The maximum number of contact methods that are read or written at a time."""

_WRITE = "write the contact methods"
_WRITE_CONFLICT = 112


class Repairs:
    """Repairs in one database. Every method may raise the errors of `inspection.explained`."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    async def find(self, id_: str, etag: str) -> ContactMethod | None:
        """Return a contact method as `InspectedDocument.record`, if it is readable and still has this etag."""
        return (await self.find_all({id_: etag})).get(id_)

    async def find_all(self, etags: Mapping[str, str]) -> dict[str, ContactMethod]:
        """Return contact methods by id, as `find` does.

        Args:
            etags: their etags by id; at most `MAX_REPAIRS`.
        """
        with explained(self._collection):
            documents = await self._collection.find({"_id": {"$in": list(etags)}}).to_list(length=None)
        found = ((document, readable_record(document)) for document in documents)
        return {record.id: record for document, record in found if record and document["etag"] == etags.get(record.id)}

    async def with_normal_forms(
        self, wanted: AbstractSet[tuple[str, ContactMethodType, str]]
    ) -> AsyncGenerator[ContactMethod]:
        """Yield the contact methods, as in `find`, that have one of these clients, types and normalized values."""
        keys = sorted({value_key(type_, normalized) for _, type_, normalized in wanted})
        with explained(self._collection):
            # Without a condition on the client, with which SecantusDB would not use the index.
            async for document in self._collection.find({"value_key": {"$in": keys}}).batch_size(BATCH_SIZE):
                record = readable_record(document)
                if record and (record.client_id, record.type, record.value.normalized) in wanted:
                    yield record

    async def replace(self, before: ContactMethod, after: ContactMethod) -> bool:
        """Write what differs between two states of a contact method; return whether it was unchanged until then."""
        return bool(await self.replace_all([(before, after)]))

    async def replace_all(self, changes: Sequence[tuple[ContactMethod, ContactMethod]]) -> set[str]:
        """Write what differs between the states before and after, in one command; return the ids that were unchanged.

        primary_key and written_key are written also where the states have the same, so that a change to nothing
        corrects them. Each write is guarded by the etag of the state before.

        Args:
            changes: the states of contact methods, as in `find`; at most `MAX_REPAIRS`.
        """
        if not changes:
            return set()
        updates = [UpdateOne({"_id": old.id, "etag": old.etag}, _update(old, new)) for old, new in changes]
        etags = {new.id: new.etag for _, new in changes}
        with explained(self._collection, _WRITE):
            try:
                if (await self._collection.bulk_write(updates, ordered=False)).matched_count == len(updates):
                    return set(etags)
            except BulkWriteError as error:
                failures = error.details["writeErrors"]
                if any(failure["code"] != _WRITE_CONFLICT for failure in failures):
                    raise
                for failure in failures:
                    # Another writer was changing this record at the same time.
                    del etags[changes[failure["index"]][0].id]
            present = self._collection.find({"_id": {"$in": list(etags)}}, {"etag": 1})
            return {document["_id"] async for document in present if document.get("etag") == etags[document["_id"]]}

    async def make_findable(self, record: ContactMethod) -> bool:
        """Write the primary_key that the record should have; return whether the record was unchanged."""
        return await self.replace(record, record)

    async def migrate(self) -> int:
        """Migrate documents of earlier layouts to the present one; return their number.

        Works in batches, each document guarded against concurrent writes. A document written meanwhile is read again.
        An interrupted run keeps what it has migrated, and the next one continues.
        """
        total = 0
        while migrated := await self._migrate_once():
            total += migrated
        return total

    async def remove_expired(self, now: datetime) -> int:
        """Remove expired idempotency documents; return their number."""
        with explained(self._collection, _WRITE):
            return (await self._collection.delete_many(expired(now))).deleted_count

    async def remove_expired_challenges(self, now: datetime) -> None:
        """Remove expired challenges of verifications, in batches. Etags stay, since challenges are in no answer."""
        expired_now = expired_challenges(now)
        with explained(self._collection, _WRITE):
            cursor = self._collection.find(expired_now, {"_id": 1}).batch_size(BATCH_SIZE)
            try:
                while documents := await cursor.to_list(length=BATCH_SIZE):
                    ids = [document["_id"] for document in documents]
                    # Not those that have been started again meanwhile.
                    await self._collection.update_many(
                        {"_id": {"$in": ids}, **expired_now}, {"$unset": {"challenge": ""}}
                    )
            finally:
                await cursor.close()

    async def create_index(self, name: str) -> bool:
        """Create an index that the service needs; return False if the data or another index prevents it."""
        index = next(index for index in INDEXES if index.name == name)
        with explained(self._collection, "create indexes"):
            try:
                await create_index(self._collection, index)
            except DuplicateKeyError:
                return False
            except OperationFailure as error:
                if error.code in INDEX_CONFLICTS:
                    return False
                raise
        return True

    async def _migrate_once(self) -> int:
        """Migrate each document of an earlier layout at most once; return the number of successes."""
        migrated = 0
        with explained(self._collection, _WRITE):
            cursor = self._collection.find(EARLIER_LAYOUTS).batch_size(BATCH_SIZE)
            try:
                while documents := await cursor.to_list(length=BATCH_SIZE):
                    migrated += await self._migrate_batch(documents)
            finally:
                await cursor.close()
        return migrated

    async def _migrate_batch(self, documents: list[Document]) -> int:
        updates = [UpdateOne(*update_of(document)) for document in documents if _is_migratable(document)]
        if not updates:
            return 0
        try:
            return (await self._collection.bulk_write(updates, ordered=False)).matched_count
        except BulkWriteError as error:
            # The next run finds the documents whose update failed, for example by a concurrent write.
            return int(error.details.get("nMatched", 0))


def repairs_of(deployment: Deployment, database: str) -> Repairs:
    """Return the repairs in one database."""
    return Repairs(deployment.driver.database(database)[COLLECTION])


def _update(before: ContactMethod, after: ContactMethod) -> Document:
    """Return the update from one state to another. Label, metadata and idempotency records are in neither."""
    old, new = to_document(before), to_document(after)
    put = {name: value for name, value in new.items() if old.get(name) != value}
    derived = {"primary_key": record_primary_key(after), "written_key": record_written_key(after)}
    put |= {name: key for name, key in derived.items() if key is not None}
    remove = old.keys() - new.keys() | {name for name, key in derived.items() if key is None}
    if before.value.normalized != after.value.normalized:
        # Also a challenge that was started since the record was read, which leaves the etag as it is.
        remove.add("challenge")
    update: Document = {"$set": put, "$unset": dict.fromkeys(sorted(remove), "")}
    return {operator: fields for operator, fields in update.items() if fields}


def _is_migratable(document: Document) -> bool:
    """Return whether the document can be migrated: one with faults must be repaired by hand first."""
    if document["schema_version"] not in READABLE:
        return False
    return not is_contact_method(document) or not invalid_fields(document)
