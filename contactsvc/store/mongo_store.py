"""The store of one environment: what the use cases need, as few MongoDB commands as it takes.

No find_one_and_*: on SecantusDB they scan the collection when the filter has more than the id; update, replace and
delete do not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TypeVar

from contactsvc.domain.contact_method import ContactMethod, ContactMethodType, Slot
from contactsvc.domain.listing import Listing, Page
from contactsvc.service import Store
from contactsvc.store import page_tokens, queries
from contactsvc.store.documents import from_document, metadata_pair, to_document
from contactsvc.store.driver_errors import duplicates_translated, translated
from contactsvc.store.drivers import Collection as MongoCollection
from contactsvc.store.drivers import Document, Driver, Session
from contactsvc.store.transactions import SlotLocks, in_transaction, retried

T = TypeVar("T")


class MongoStore:
    """Contact methods in one MongoDB collection.

    Args:
        collection: where they are.
        driver: opens sessions; None on a deployment without transactions.
        locks: shared by all stores of a process that write to this collection.
        session: the transaction that this store works in, if any.
    """

    def __init__(
        self,
        collection: MongoCollection,
        driver: Driver | None,
        locks: SlotLocks,
        session: Session | None = None,
    ) -> None:
        self._collection = collection
        self._driver = driver
        self._locks = locks
        self._session = session

    @property
    def transactional(self) -> bool:
        """Whether `atomically` is atomic."""
        return self._driver is not None

    async def find(self, id_: str) -> ContactMethod | None:
        """Return the record with this id."""
        return await self._find_one({"_id": id_})

    async def find_by_external_id(self, external_id: str) -> ContactMethod | None:
        """Return the record with this external id."""
        return await self._find_one({"external_id": external_id})

    async def find_holders(self, external_ids: Collection[str]) -> dict[str, str]:
        """Return which of the external ids are taken, with the ids of the records that have them."""
        query = {"external_id": queries.any_of(list(external_ids))}
        return {document["external_id"]: document["_id"] for document in await self._find(query, {"external_id": 1})}

    async def find_by_metadata(self, key: str, value: str, client_id: str | None, *, limit: int) -> list[ContactMethod]:
        """Return up to `limit` records that carry the pair."""
        query: Document = {"metadata": metadata_pair(key, value)}
        if client_id is not None:
            query["client_id"] = client_id
        return [from_document(document) for document in await self._find(query, limit=limit)]

    async def find_primary(self, slot: Slot) -> ContactMethod | None:
        """Return the primary of the slot."""
        client_id, type_ = slot
        return await self._find_one({"client_id": client_id, "type": type_.value, "is_primary": True})

    async def find_primary_ids(self, slots: Collection[Slot]) -> dict[Slot, str]:
        """Return the ids of the primaries of those slots that have one."""
        wanted = set(slots)
        # Every combination of the clients and types rather than an $or of slots: at most three records too many per
        # client, and MongoDB answers it from the index of the primary rule (SecantusDB only for a single slot).
        query = {
            "client_id": queries.any_of(sorted({client_id for client_id, _ in wanted})),
            "type": queries.any_of(sorted({type_.value for _, type_ in wanted})),
            "is_primary": True,
        }
        found = {
            (document["client_id"], ContactMethodType(document["type"])): document["_id"]
            for document in await self._find(query, {"client_id": 1, "type": 1})
        }
        return {slot: id_ for slot, id_ in found.items() if slot in wanted}

    async def find_in_slot(self, slot: Slot) -> list[ContactMethod]:
        """Return all records of the client and type."""
        client_id, type_ = slot
        return [from_document(d) for d in await self._find({"client_id": client_id, "type": type_.value})]

    async def find_page(self, listing: Listing) -> Page:
        """Return one page; raise InvalidPageToken when the token does not belong to the listing."""
        query = queries.filter_query(listing.filter)
        keys = queries.order(listing.sort)
        mark = page_tokens.fingerprint(self._collection.full_name, query, keys)
        parts: Iterator[Document] = iter([query])
        if listing.page_token:
            parts = queries.continuations(query, keys, page_tokens.decode(mark, keys, listing.page_token))
        # One more than asked for tells whether there is a next page.
        wanted = listing.page_size + 1
        found: list[Document] = []
        for part in parts:
            found += await self._find(part, sort=keys, skip=listing.offset, limit=wanted - len(found))
            if len(found) == wanted:
                break
        page = found[: listing.page_size]
        more = len(found) > listing.page_size
        return Page(
            contact_methods=[from_document(document) for document in page],
            next_page_token=page_tokens.encode(mark, keys, page[-1]) if more else "",
            total_size=await self._count(query) if listing.include_total_size else None,
        )

    async def insert(self, records: Sequence[ContactMethod]) -> None:
        """Insert records; several only inside `atomically`."""
        documents = [to_document(record) for record in records]
        with self._translated(), duplicates_translated():
            if len(documents) == 1:
                await self._collection.insert_one(documents[0], session=self._session)
            else:
                await self._collection.insert_many(documents, session=self._session)

    async def replace(self, before: ContactMethod, after: ContactMethod) -> bool:
        """Write `after` if the stored record still has the etag of `before`; tell whether it had."""
        with self._translated(), duplicates_translated():
            result = await self._collection.replace_one(
                {"_id": before.id, "etag": before.etag}, to_document(after), session=self._session
            )
        return result.matched_count == 1

    async def demote(self, ids: Collection[str], *, at: datetime, etag: str) -> None:
        """Take the primary flag from those of the records that have it."""
        with self._translated():
            await self._collection.update_many(
                {"_id": queries.any_of(list(ids)), "is_primary": True},
                # $max: a record never becomes older, even when the clock steps back.
                {"$set": {"is_primary": False, "etag": etag}, "$max": {"updated_at": at}},
                session=self._session,
            )

    async def remove(self, id_: str, *, unless_primary: bool = False) -> bool:
        """Remove the record; tell whether there was one to remove."""
        query: Document = {"_id": id_}
        if unless_primary:
            query["is_primary"] = False
        with self._translated():
            result = await self._collection.delete_one(query, session=self._session)
        return result.deleted_count == 1

    async def atomically(self, work: Callable[[Store], Awaitable[T]], *, slots: Collection[Slot]) -> T:
        """Run `work` on a store whose writes take effect together, and again when it loses a race."""

        async def once() -> T:
            if self._driver is None:
                return await work(self)
            return await in_transaction(self._driver, lambda session: work(self._within(session)))

        async with self._locks.held(slots):
            with self._translated():
                return await retried(once)

    def _within(self, session: Session) -> MongoStore:
        return MongoStore(self._collection, self._driver, self._locks, session)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Translate driver errors; in a transaction leave that to its end, which retries by what the driver says."""
        if self._session is not None:
            yield
        else:
            with translated():
                yield

    async def _find_one(self, query: Document) -> ContactMethod | None:
        with self._translated():
            document = await self._collection.find_one(query, session=self._session)
        return None if document is None else from_document(document)

    async def _find(
        self,
        query: Document,
        projection: Document | None = None,
        *,
        sort: Sequence[tuple[str, int]] = (),
        skip: int = 0,
        limit: int = 0,
    ) -> list[Document]:
        with self._translated():
            cursor = self._collection.find(query, projection, session=self._session).skip(skip).limit(limit)
            if sort:
                cursor = cursor.sort(list(sort))
            return await cursor.to_list(length=None)

    async def _count(self, query: Document) -> int:
        with self._translated():
            return await self._collection.count_documents(query, session=self._session)
