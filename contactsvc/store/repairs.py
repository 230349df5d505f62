"""Guarded repairs of stored documents, for `contactsvc doctor --fix`.

Each repair of a document is conditional on the etag that doctor has seen, so that it never overwrites a later change.
"""

from __future__ import annotations

from datetime import datetime

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure

from contactsvc.domain.contact_method import ContactMethod
from contactsvc.store.deployment import COLLECTION, Deployment
from contactsvc.store.documents import invalid_fields, is_contact_method, value_key
from contactsvc.store.drivers import Collection, Document
from contactsvc.store.indexes import INDEX_CONFLICTS, INDEXES, create_index
from contactsvc.store.inspection import BATCH_SIZE, expired, explained, readable_record, record_primary_key
from contactsvc.store.migrations import READABLE, update_of
from contactsvc.store.queries import EARLIER_LAYOUTS

_WRITE = "write the contact methods"


class Repairs:
    """Repairs in one database. Every method may raise the errors of `inspection.explained`."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    async def find(self, id_: str, etag: str) -> ContactMethod | None:
        """Return a contact method as `InspectedDocument.record`, if it is readable and still has this etag."""
        with explained(self._collection):
            document = await self._collection.find_one({"_id": id_})
        return None if document is None or document.get("etag") != etag else readable_record(document)

    async def replace(self, before: ContactMethod, after: ContactMethod) -> bool:
        """Write flag, normalized value and verification of a contact method; return whether it was unchanged."""
        put: Document = {"is_primary": after.is_primary, "updated_at": after.updated_at, "etag": after.etag}
        remove: Document = {}
        if after.value.normalized is None:
            remove["value_key"] = ""
        elif after.value.normalized != before.value.normalized:
            put["value_key"] = value_key(after.type, after.value.normalized)
        if after.verified_at is None:
            remove["verified_at"] = ""
        if (key := record_primary_key(after)) is None:
            remove["primary_key"] = ""
        else:
            put["primary_key"] = key
        return await self._update(before, {"$set": put, "$unset": remove} if remove else {"$set": put})

    async def make_findable(self, record: ContactMethod) -> bool:
        """Write the primary_key that the record should have; return whether the record was unchanged."""
        key = record_primary_key(record)
        return await self._update(
            record, {"$unset": {"primary_key": ""}} if key is None else {"$set": {"primary_key": key}}
        )

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

    async def _update(self, before: ContactMethod, update: Document) -> bool:
        with explained(self._collection, _WRITE):
            result = await self._collection.update_one({"_id": before.id, "etag": before.etag}, update)
        return result.matched_count == 1

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


def _is_migratable(document: Document) -> bool:
    """Return whether the document can be migrated: one with faults must be repaired by hand first."""
    if document["schema_version"] not in READABLE:
        return False
    return not is_contact_method(document) or not invalid_fields(document)
