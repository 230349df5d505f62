"""A store that coalesces concurrent point reads and writes of single documents. Otherwise it equals MongoStore."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pymongo.errors import BulkWriteError, OperationFailure

from contactsvc import deadlines, memory
from contactsvc.domain.change_set import ChangeSet
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.kinds import ContactMethodType, Slot
from contactsvc.domain.listing import Filter, Listing, Page
from contactsvc.errors import EtagMismatch, StoreUnavailable
from contactsvc.service.ports import LostRace
from contactsvc.store import queries
from contactsvc.store.coalescing.batcher import Batcher
from contactsvc.store.coalescing.group_commit import GroupCommit
from contactsvc.store.documents import metadata_pair, to_records
from contactsvc.store.driver_errors import NO_SUCH_COMMAND_CODES, duplicates_translated, translated, write_failure
from contactsvc.store.drivers import Collection as MongoCollection
from contactsvc.store.drivers import Document, Driver
from contactsvc.store.listing_reader import ListingReader
from contactsvc.store.paging import Paging
from contactsvc.store.point_reads import PointReads
from contactsvc.store.sizes import size_of
from contactsvc.store.store import MongoStore
from contactsvc.store.transactions import KeyLocks
from contactsvc.store.writes import DocumentWrite, Insert, Remove, Replace, writes_of

# Lookups by metadata pair only ask whether there is exactly one record, so a pair of thousands must not make all calls
# of a command wait.
_MAX_RECORDS_PER_PAIR = 4
# Larger first pages are read alone, in batches, for they may need much memory.
_MAX_PAGE_SIZE = 40
# First pages are not counted as memory of their calls: one answer of the database bounds what a command finds, 16 MB
# and about as much again in Python. What takes more than that, or this, is read again, counted.
_MAX_FIRST_PAGES_PER_COMMAND = 16
_MAX_FIRST_PAGE_COMMANDS = 2
_MAX_FIRST_PAGE_BYTES = 64 * 1024


class CoalescingStore(MongoStore):
    """Contact methods in one MongoDB collection, for many concurrent callers; see MongoStore.

    Args:
        collection: their collection.
        driver: opens sessions; None on a deployment without transactions.
        locks: shared by all stores of a process that write to this collection.
        reads: of the collection.
        listings: see MongoStore.
        reports_each_write: whether the deployment reports the outcome of each write of a command (MongoDB 8.0 and
            later). Otherwise replacements and deletions are executed one by one.
        records_erasures: see MongoStore.
    """

    def __init__(
        self,
        collection: MongoCollection,
        driver: Driver | None,
        locks: KeyLocks,
        reads: PointReads,
        *,
        listings: ListingReader | None = None,
        reports_each_write: bool = False,
        records_erasures: bool = False,
    ) -> None:
        super().__init__(collection, driver, locks, listings=listings, records_erasures=records_erasures)
        self._reads = reads
        self._by_id = Batcher[str, ContactMethod](self._read_ids)
        self._by_external_id = Batcher[str, ContactMethod](self._read_external_ids)
        self._primaries = Batcher[Slot, ContactMethod](self._read_primaries)
        self._by_pair = Batcher[str, list[ContactMethod]](self._read_pairs)
        self._first_pages = Batcher[_FirstPage, Page](
            self._read_first_pages, max_items=_MAX_FIRST_PAGES_PER_COMMAND, max_commands=_MAX_FIRST_PAGE_COMMANDS
        )
        self._insert = GroupCommit[Insert](self._insert_all)
        self._change = GroupCommit[Replace | Remove](self._change_all)
        self._reports_each_write = reports_each_write

    async def find(self, id_: str) -> ContactMethod | None:
        """Return the record with this id."""
        return await self._by_id(id_)

    async def find_by_ids(self, ids: Collection[str]) -> list[ContactMethod]:
        """Return the records with these ids, in any order."""
        if len(ids) > 1:
            return await super().find_by_ids(ids)
        return [record for id_ in ids if (record := await self._by_id(id_)) is not None]

    async def find_by_external_id(self, external_id: str) -> ContactMethod | None:
        """Return the record with this external id."""
        return await self._by_external_id(external_id)

    async def find_by_external_ids(self, external_ids: Collection[str]) -> list[ContactMethod]:
        """Return the records with these external ids, in any order."""
        if len(external_ids) > 1:
            return await super().find_by_external_ids(external_ids)
        return [record for id_ in external_ids if (record := await self._by_external_id(id_)) is not None]

    async def find_primary(self, slot: Slot) -> ContactMethod | None:
        """Return the primary of the slot."""
        return await self._primaries(slot)

    async def find_primaries(self, slots: Collection[Slot]) -> list[ContactMethod]:
        """Return the primaries of these slots."""
        if len(slots) > 1:
            return await super().find_primaries(slots)
        return [record for slot in slots if (record := await self._primaries(slot)) is not None]

    async def find_by_metadata(self, key: str, value: str, client_id: str | None, *, limit: int) -> list[ContactMethod]:
        """Return up to `limit` records with the metadata pair."""
        if client_id is not None or limit >= _MAX_RECORDS_PER_PAIR:
            return await super().find_by_metadata(key, value, client_id, limit=limit)
        return (await self._by_pair(metadata_pair(key, value)) or [])[:limit]

    async def find_page(self, listing: Listing) -> Page:
        """Return one page; raise InvalidPageToken when the token does not belong to the listing."""
        first = _FirstPage.of(listing)
        page = None if first is None else await self._first_pages(first)
        return await super().find_page(listing) if page is None else page

    async def write(self, change_set: ChangeSet) -> None:
        """Store a change set; one of several documents only inside `atomically`."""
        match writes_of(change_set):
            case [Insert() as write]:
                await self._insert(write)
            case [Replace() | Remove() as write] if self._reports_each_write and self._driver is not None:
                await self._change(write)
            case _:
                await super().write(change_set)

    async def _read_ids(self, ids: Collection[str]) -> Mapping[str, ContactMethod]:
        found = await self._reads.find({"_id": queries.any_of(list(ids))}, len(ids))
        return {record.id: record for record in to_records(found)}

    async def _read_external_ids(self, external_ids: Collection[str]) -> Mapping[str, ContactMethod]:
        found = await self._reads.find({"external_id": queries.any_of(list(external_ids))}, len(external_ids))
        return {record.external_id: record for record in to_records(found) if record.external_id is not None}

    async def _read_primaries(self, slots: Collection[Slot]) -> Mapping[Slot, ContactMethod]:
        with memory.uncounted():
            return {record.slot: record for record in await self._find_primaries(slots, self._read_primary_keys)}

    async def _read_primary_keys(self, keys: list[str]) -> list[ContactMethod]:
        return to_records(await self._reads.find({"primary_key": queries.any_of(keys)}, len(keys)))

    async def _read_pairs(self, pairs: Collection[str]) -> Mapping[str, list[ContactMethod]]:
        limit = _MAX_RECORDS_PER_PAIR * len(pairs)
        found: dict[str, list[ContactMethod]] = {pair: [] for pair in pairs}
        of_each = await self._listings.first_of_each("metadata", [[pair] for pair in pairs], _MAX_RECORDS_PER_PAIR)
        if of_each is None:
            documents = await self._reads.find({"metadata": queries.any_of(list(pairs))}, limit)
        else:
            # A document may have several of the pairs.
            documents = list({document["_id"]: document for document in of_each}.values())
        for document, record in zip(documents, to_records(documents), strict=True):
            for pair in document["metadata"]:
                if pair in found:
                    found[pair].append(record)
        if of_each is None and len(documents) == limit and len(pairs) > 1:
            # A frequent pair may have crowded out another one.
            for pair, records in found.items():
                if len(records) < _MAX_RECORDS_PER_PAIR:
                    found[pair] = await self._find_records({"metadata": pair}, limit=_MAX_RECORDS_PER_PAIR)
        return found

    async def _read_first_pages(self, firsts: Collection[_FirstPage]) -> Mapping[_FirstPage, Page]:
        """Return the pages of clients with few and small records. The others are omitted, and read alone."""
        if len(firsts) == 1:
            (first,) = firsts
            of_client = {first.client_id: await self._find_first(first)}
        else:
            of_client = await self._find_of_clients(firsts)
        return {
            first: await first.page(of_client[first.client_id], self._collection.full_name)
            for first in firsts
            if first.client_id in of_client and size_of(of_client[first.client_id]) <= _MAX_FIRST_PAGE_BYTES
        }

    async def _find_first(self, first: _FirstPage) -> list[Document]:
        """Return the documents of a first page, and one more if there is one."""
        limit = first.page_size + 1
        index = "client" if first.type is None else "client_type"
        prefix = [first.client_id] if first.type is None else [first.client_id, first.type.value]
        if (found := await self._listings.first_of_each(index, [prefix], limit)) is not None:
            return found
        paging = Paging(first.listing, self._collection.full_name)
        return await self._reads.find(paging.query, limit, sort=paging.keys)

    async def _find_of_clients(self, firsts: Collection[_FirstPage]) -> dict[str, list[Document]]:
        """Return the first documents of the clients in the order of a first page, or all; omit those with too many."""
        of_client: dict[str, list[Document]] = {first.client_id: [] for first in firsts}
        of_each = 1 + max(first.page_size for first in firsts)
        prefixes = [[client_id] for client_id in of_client]
        documents = await self._listings.first_of_each("client", prefixes, of_each)
        if documents is None:
            limit = sum(first.page_size + 1 for first in firsts)
            documents = await self._reads.find_in_one_answer({"client_id": queries.any_of(list(of_client))}, limit)
            if documents is None or len(documents) == limit:
                return {}
            documents.sort(key=lambda document: (document["created_at"], document["_id"]))
            of_each = limit
        for document in documents:
            of_client[document["client_id"]].append(document)
        for first in firsts:
            # There may be more records of the type after those.
            if first.type is not None and len(of_client.get(first.client_id, ())) >= of_each:
                del of_client[first.client_id]
        return of_client

    async def _insert_all(self, writes: Sequence[Insert]) -> Sequence[Exception | None]:
        outcomes: list[Exception | None] = [None] * len(writes)
        with translated():
            if len(writes) == 1:
                with duplicates_translated():
                    await self._collection.insert_one(writes[0].document)
                return outcomes
            try:
                await self._collection.insert_many([write.document for write in writes], ordered=False)
            except BulkWriteError as error:
                if error.details["writeConcernErrors"]:
                    raise StoreUnavailable from error
                for failure in error.details["writeErrors"]:
                    outcomes[failure["index"]] = write_failure(failure)
        return outcomes

    async def _change_all(self, writes: Sequence[Replace | Remove]) -> Sequence[Exception | None]:
        assert self._driver is not None  # noqa: S101 - `write` has checked it
        async with self._driver.writers:
            # Raises once the deadline has passed.
            deadlines.remaining_ms()
            if len(writes) > 1 and self._reports_each_write:
                operations = [write.bulk(self._collection.full_name) for write in writes]
                try:
                    with translated():
                        return [_error_in(result) for result in await self._driver.write_each(operations)]
                except OperationFailure as error:
                    if error.code not in NO_SUCH_COMMAND_CODES:
                        raise
                    # MongoDB 8.0 has the command only if its feature compatibility version is 8.0, too. Nothing was
                    # written.
                    self._reports_each_write = False
            return [await self._change_one(write) for write in writes]

    async def _change_one(self, write: DocumentWrite) -> Exception | None:
        """Execute a write alone; return its error."""
        try:
            with translated(), duplicates_translated():
                return None if await write.apply(self._collection) else LostRace(EtagMismatch())
        except Exception as error:
            return error


def _error_in(result: int | Mapping[str, Any]) -> Exception | None:
    """Return the error in a result of `Driver.write_each`."""
    if isinstance(result, int):
        return None if result else LostRace(EtagMismatch())
    return write_failure(result)


@dataclass(frozen=True, slots=True)
class _FirstPage:
    """A request for the first page of a client's records, of one type if given, in the default order.

    `listing` is the same request as a listing.
    """

    client_id: str
    type: ContactMethodType | None
    page_size: int
    listing: Listing = field(compare=False)

    @classmethod
    def of(cls, listing: Listing) -> _FirstPage | None:
        """Return the request that equals a listing; None if there is none."""
        asked = listing.filter
        if len(asked.client_ids) != 1 or len(asked.types) > 1 or listing.page_size > _MAX_PAGE_SIZE:
            return None
        plain = Listing(filter=Filter(client_ids=asked.client_ids, types=asked.types), page_size=listing.page_size)
        if listing != plain:
            return None
        return cls(asked.client_ids[0], asked.types[0] if asked.types else None, listing.page_size, plain)

    async def page(self, documents: list[Document], environment: str) -> Page:
        """Return the page, from the first documents of the client, or all of them, in the order of the listing."""
        own = [document for document in documents if self.type in {None, document["type"]}]
        paging = Paging(self.listing, environment)
        count = paging.fitting(own)
        return await paging.page(own[:count], more=len(own) > count)
