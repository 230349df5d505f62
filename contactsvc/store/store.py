"""The store of one environment, with as few MongoDB commands per call as possible.

It avoids find_one_and_*: on SecantusDB they scan the collection if the filter has more than the id; update, replace and
delete do not.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Hashable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from datetime import datetime
from typing import TypeVar

from pymongo.errors import DuplicateKeyError

from contactsvc import deadlines, memory
from contactsvc.domain.change_set import ChangeSet
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.idempotency import IdempotencyRecord
from contactsvc.domain.kinds import Slot
from contactsvc.domain.listing import Listing, Page
from contactsvc.embedded_names import ERASURES
from contactsvc.errors import EtagMismatch
from contactsvc.service.ports import LostRace, Store
from contactsvc.store import queries
from contactsvc.store.documents import is_contact_method, metadata_pair, primary_key, to_records
from contactsvc.store.driver_errors import duplicates_translated, translated
from contactsvc.store.drivers import Collection as MongoCollection
from contactsvc.store.drivers import Document, Driver, Session
from contactsvc.store.idempotency_records import replacing_idempotency_records, to_idempotency_records
from contactsvc.store.listing_reader import ListingReader
from contactsvc.store.reading import DocumentReader
from contactsvc.store.sizes import size_of
from contactsvc.store.transaction_writes import erase_client, write_in_transaction
from contactsvc.store.transactions import KeyLocks, in_transaction, retried
from contactsvc.store.writes import DocumentWrite, Insert, Replace, writes_of

T = TypeVar("T")

COUNTS = "verification_counts"
"""The collection of counted sends of verification codes, in the database of the contact methods."""

_IDEMPOTENCY_RECORDS: Document = {"requests": 1, "schema_version": 1}


class MongoStore(DocumentReader):
    """Contact methods in one MongoDB collection.

    Args:
        collection: their collection.
        driver: opens sessions; None on a deployment without transactions.
        locks: shared by all stores of a process that write to this collection.
        session: the session whose transaction this store works in, if any.
        listings: reads lists; None to read them by queries on `collection`.
        records_erasures: whether an erasure leaves a mark in the collection ERASURES.
    """

    def __init__(
        self,
        collection: MongoCollection,
        driver: Driver | None,
        locks: KeyLocks,
        session: Session | None = None,
        *,
        listings: ListingReader | None = None,
        records_erasures: bool = False,
    ) -> None:
        self._collection = collection
        self._listings = listings or ListingReader(collection)
        self._driver = driver
        self._locks = locks
        self._session = session
        self._records_erasures = records_erasures
        # Whether the collection may contain documents of earlier layouts, as of the last check.
        self._may_have_earlier = True

    @property
    def transactional(self) -> bool:
        """Whether `atomically` is atomic."""
        return self._driver is not None

    async def find(self, id_: str) -> ContactMethod | None:
        """Return the record with this id."""
        return await self._find_one({"_id": id_})

    async def find_by_ids(self, ids: Collection[str]) -> list[ContactMethod]:
        """Return the records with these ids, in any order."""
        return await self._find_any("_id", ids)

    async def find_by_external_id(self, external_id: str) -> ContactMethod | None:
        """Return the record with this external id."""
        return await self._find_one({"external_id": external_id})

    async def find_by_external_ids(self, external_ids: Collection[str]) -> list[ContactMethod]:
        """Return the records with these external ids, in any order."""
        return await self._find_any("external_id", external_ids)

    async def find_by_metadata(self, key: str, value: str, client_id: str | None, *, limit: int) -> list[ContactMethod]:
        """Return up to `limit` records with the metadata pair."""
        pair = metadata_pair(key, value)
        if self._session is None:
            prefix = [pair] if client_id is None else [pair, client_id]
            if (found := await self._listings.first_of_each("metadata", [prefix], limit)) is not None:
                return to_records(found)
        query: Document = {"metadata": pair}
        if client_id is not None:
            query["client_id"] = client_id
        return await self._find_records(query, limit=limit)

    async def find_primary(self, slot: Slot) -> ContactMethod | None:
        """Return the primary of the slot."""
        return next(iter(await self.find_primaries([slot])), None)

    async def find_primaries(self, slots: Collection[Slot]) -> list[ContactMethod]:
        """Return the primaries of these slots.

        Primaries of layout 1 may lack primary_key, and a replica of an earlier release may write one at any time.
        Slots not found by key are therefore searched without it, unless an index shows that there are no documents of
        earlier layouts.
        """
        return await self._find_primaries(slots, self._find_by_primary_keys)

    async def _find_primaries(
        self, slots: Collection[Slot], find_by_keys: Callable[[list[str]], Awaitable[list[ContactMethod]]]
    ) -> list[ContactMethod]:
        may_have_earlier = self._may_have_earlier
        found = await find_by_keys([primary_key(slot) for slot in slots])
        # Releases of layout 1 may leave the key behind when they demote a record.
        primaries = {record.slot: record for record in found if record.is_primary}
        if not (missing := set(slots) - primaries.keys()):
            return list(primaries.values())
        # A migration that ends between the two queries could hide a primary from both. That is impossible if there was
        # nothing to migrate both before and after the first, or in a transaction, which reads one snapshot.
        self._may_have_earlier = bool(await self._find(queries.EARLIER_LAYOUTS, {"_id": 1}, limit=1))
        if self._may_have_earlier or (may_have_earlier and self._session is None):
            earlier = await self._find_records(queries.primaries_without_key(missing))
            primaries |= {record.slot: record for record in earlier if record.slot in missing}
        return list(primaries.values())

    async def _find_by_primary_keys(self, keys: list[str]) -> list[ContactMethod]:
        return await self._find_records({"primary_key": queries.any_of(keys)}, at_most=len(keys))

    async def find_in_slot(self, slot: Slot) -> list[ContactMethod]:
        """Return all records in the slot: of its client and type, primary or not."""
        client_id, type_ = slot
        return await self._find_records({"client_id": client_id, "type": type_.value})

    async def find_of_client(self, client_id: str) -> list[ContactMethod]:
        """Return all records of the client."""
        return await self._find_records({"client_id": client_id})

    async def find_of_clients(self, client_ids: Collection[str]) -> list[ContactMethod]:
        """Return all records of these clients, in any order."""
        return await self._find_records({"client_id": queries.any_of(list(client_ids))})

    async def find_page(self, listing: Listing) -> Page:
        """Return one page; raise InvalidPageToken when the token does not belong to the listing."""
        return await self._listings.page(listing)

    def stream_pages(self, listing: Listing) -> AsyncGenerator[Page]:
        """Yield all pages on demand, at most two in memory at a time; errors as in `find_page`."""
        return self._listings.pages(listing)

    async def find_idempotency_record(self, request_id: str) -> IdempotencyRecord | None:
        """Return the idempotency record of a request, expired or not."""
        found = await self._find({"request_ids": request_id}, _IDEMPOTENCY_RECORDS)
        records = (record for document in found for record in to_idempotency_records(document))
        return next((record for record in records if record.fingerprint.id == request_id), None)

    async def find_idempotency_records(self, ids: Collection[str]) -> dict[str, tuple[IdempotencyRecord, ...]]:
        """Return the idempotency records that deleted contact methods left behind, by their ids."""
        found = await self._find({"_id": queries.any_of(list(ids))}, {**_IDEMPOTENCY_RECORDS, "client_id": 1})
        return {
            document["_id"]: to_idempotency_records(document) for document in found if not is_contact_method(document)
        }

    async def remove_idempotency_record(self, request: IdempotencyRecord) -> None:
        """Remove an idempotency record, if it is still stored; not a later one of the same request."""
        for document in await self._find({"request_ids": request.fingerprint.id}, _IDEMPOTENCY_RECORDS):
            stored = to_idempotency_records(document)
            kept = tuple(
                record for record in stored if (record.fingerprint, record.at) != (request.fingerprint, request.at)
            )
            if len(kept) == len(stored):
                continue
            with self._translated():
                # Only if unchanged: a concurrent call may have removed it and stored a new one.
                await self._collection.update_one(
                    {"_id": document["_id"], "requests": document["requests"]}, replacing_idempotency_records(kept)
                )

    async def remove_expired(self, now: datetime) -> None:
        """Remove expired idempotency documents and counts."""
        with self._translated():
            await self._collection.delete_many({"forget_at": {"$lt": now}})
            await self._counts.delete_many({"forget_at": {"$lt": now}})

    async def erase_client(self, client_id: str, *, now: datetime) -> int:
        """Delete all records of the client except their unexpired idempotency records; return how many."""
        with self._translated():
            if self._records_erasures:
                await self._collection.database[ERASURES].insert_one({"at": now}, session=self._session)
            return await erase_client(self._collection, self._session, client_id, now)

    async def write(self, change_set: ChangeSet) -> None:
        """Store a change set; one of several documents only inside `atomically`."""
        writes = writes_of(change_set)
        with self._translated(), duplicates_translated():
            if self._session is not None:
                # The documents, and their BSON twice.
                await memory.hold(
                    3 * size_of([write.document for write in writes if isinstance(write, Insert | Replace)])
                )
                if not await write_in_transaction(self._collection, self._session, writes):
                    raise LostRace(EtagMismatch())
                return
            # Without a driver there are no transactions to wait for.
            async with self._driver.writers if self._driver else nullcontext():
                # Raises once the deadline has passed.
                deadlines.remaining_ms()
                await self._write_one_by_one(writes)

    async def _write_one_by_one(self, writes: Sequence[DocumentWrite]) -> None:
        """Execute writes without a transaction, and revert them if one fails.

        mongomock does not support bulk writes, which guarantee no more than this without a transaction.
        """
        done: list[DocumentWrite] = []
        try:
            for write in writes:
                if not await write.apply(self._collection):
                    raise LostRace(EtagMismatch())
                done.append(write)
        except (LostRace, DuplicateKeyError):
            for write in reversed(done):
                # A later write of another caller, to the record or in its place, stays.
                with suppress(DuplicateKeyError):
                    await write.revert(self._collection)
            raise

    async def count_within(self, keys: Sequence[str], limit: int, *, expires_at: datetime) -> bool:
        """Count one more under the first key, unless all keys have `limit` already; return whether it was counted."""
        key, *others = keys
        update = {"$inc": {"count": 1}, "$setOnInsert": {"forget_at": expires_at}}
        with translated():
            if others:
                found = await self._counts.find({"_id": queries.any_of(others)}).to_list(length=None)
                limit -= sum(document["count"] for document in found)
                if limit <= 0:
                    return False
            below = {"_id": key, "count": {"$lt": limit}}
            try:
                await self._counts.update_one(below, update, upsert=True)
            except DuplicateKeyError:
                # It exists, and is not below the limit; or another call has just inserted it.
                result = await self._counts.update_one(below, {"$inc": {"count": 1}})
                return result.matched_count == 1
        return True

    async def uncount(self, key: str) -> None:
        """Count one less under a key."""
        with translated():
            await self._counts.update_one({"_id": key}, {"$inc": {"count": -1}})

    @property
    def _counts(self) -> MongoCollection:
        return self._collection.database[COUNTS]

    async def index_counts(self) -> None:
        """Make MongoDB remove expired counts."""
        await self._counts.create_index([("forget_at", 1)], name="forget_at", expireAfterSeconds=0)

    async def remove_counts(self, keys: Collection[str]) -> None:
        """Remove the counts under these keys."""
        with translated():
            await self._counts.delete_many({"_id": queries.any_of(list(keys))})

    def exclusively(self, keys: Collection[Hashable]) -> AbstractAsyncContextManager[object]:
        """Return a block that one call of this process at a time runs, of those that share a key."""
        return self._locks.held(keys)

    async def atomically(
        self,
        work: Callable[[Store], Awaitable[T]],
        *,
        keys: Collection[Hashable],
        prepared: Callable[[Store], Awaitable[T]] | None = None,
    ) -> T:
        """Run `work` on a store whose writes take effect together; repeat it when it loses a race."""
        async with self._locks.held(keys) as waited:
            following = work if prepared is None or waited else prepared

            async def once() -> T:
                nonlocal following
                attempt, following = following, work
                if self._driver is None:
                    return await attempt(self)
                held = memory.held()
                try:
                    return await in_transaction(self._driver, lambda session: attempt(self._within(session)))
                except BaseException:
                    # The next attempt reads everything again.
                    memory.free(memory.held() - held)
                    raise

            with self._translated():
                return await retried(once)

    def _within(self, session: Session) -> MongoStore:
        return MongoStore(
            self._collection,
            self._driver,
            self._locks,
            session,
            listings=self._listings,
            records_erasures=self._records_erasures,
        )
