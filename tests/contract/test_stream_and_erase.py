from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import grpc
import pytest
from motor.motor_asyncio import AsyncIOMotorCursor

from contactsvc.domain.kinds import Environment
from contactsvc.domain.listing import Filter, Listing, Page
from contactsvc.store import MongoStore
from contactsvc.store.listing_reader import ListingReader
from contactsvc.store.scan_slots import ScanSlots
from contactsvc.store.transactions import KeyLocks
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import Api, OpenStores, failure_of, ids, serving

OTHER = pb.CONTACT_METHOD_TYPE_OTHER


async def fill(api: Api, count: int, **fields: Any) -> list[str]:
    made: list[str] = []
    for start in range(0, count, 250):
        requests = [
            pb.CreateContactMethodRequest(**{"client_id": "client_1", "type": OTHER, "value": f"{i}", **fields})
            for i in range(start, min(start + 250, count))
        ]
        response = await api.stub.BatchCreateContactMethods(pb.BatchCreateContactMethodsRequest(requests=requests))
        made += [result.contact_method.id for result in response.results]
    return made


async def pages_of(api: Api, **fields: Any) -> list[pb.StreamContactMethodsResponse]:
    return [page async for page in api.stub.StreamContactMethods(pb.StreamContactMethodsRequest(**fields))]


async def drain(call: Any) -> None:
    async for _ in call:
        pass


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (1, [1]), (200, [200]), (201, [200, 1]), (450, [200, 200, 50])])
async def test_a_stream_has_pages_of_up_to_200_and_then_ends(embedded_api: Api, count: int, sizes: list[int]) -> None:
    made = await fill(embedded_api, count)

    pages = await pages_of(embedded_api)

    assert [len(page.contact_methods) for page in pages] == sizes
    assert [id_ for page in pages for id_ in ids(page.contact_methods)] == made
    assert [bool(page.next_page_token) for page in pages] == [True] * (len(sizes) - 1) + [False] * bool(sizes)


async def test_a_stream_goes_by_filter_and_sort(api: Api) -> None:
    records = [await api.create(f"client_{i % 2}", label=f"{i}") for i in range(6)]

    pages = await pages_of(
        api,
        filter=pb.ContactMethodFilter(client_ids=["client_1"]),
        sort=[pb.ContactMethodSort(field=pb.CONTACT_METHOD_SORT_FIELD_CREATED_AT, descending=True)],
    )

    assert [ids(page.contact_methods) for page in pages] == [[records[5].id, records[3].id, records[1].id]]


async def test_a_stream_goes_on_from_a_token_of_its_own_or_of_a_list(embedded_api: Api) -> None:
    made = await fill(embedded_api, 450)
    listed = await embedded_api.stub.ListContactMethods(pb.ListContactMethodsRequest(page_size=7))

    first = (await pages_of(embedded_api))[0]
    after_first = await pages_of(embedded_api, page_token=first.next_page_token)
    after_list = await pages_of(embedded_api, page_token=listed.next_page_token)

    assert [id_ for page in after_first for id_ in ids(page.contact_methods)] == made[200:]
    assert [id_ for page in after_list for id_ in ids(page.contact_methods)] == made[7:]


async def test_a_page_fits_into_a_message_however_much_metadata_there_is(embedded_api: Api) -> None:
    made: list[str] = []
    for _ in range(60):
        record = await embedded_api.create(metadata={f"{i:040}": "☎" * 500 for i in range(50)})
        made.append(record.id)

    pages = await pages_of(embedded_api)
    listed = await embedded_api.stub.ListContactMethods(pb.ListContactMethodsRequest(page_size=200))

    assert [id_ for page in pages for id_ in ids(page.contact_methods)] == made
    assert max(page.ByteSize() for page in pages) < 4 * 1024 * 1024
    assert 0 < len(listed.contact_methods) < 60
    assert listed.next_page_token


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"page_token": "nonsense"}, "INVALID_PAGE_TOKEN"),
        ({"filter": pb.ContactMethodFilter(ids=[""])}, "INVALID_FIELD"),
        ({"sort": [pb.ContactMethodSort()]}, "INVALID_FIELD"),
    ],
)
async def test_a_bad_stream_is_refused(embedded_api: Api, fields: dict[str, Any], reason: str) -> None:
    call = embedded_api.stub.StreamContactMethods(pb.StreamContactMethodsRequest(**fields))

    failure = await failure_of(drain(call))

    assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)


async def test_a_stream_says_its_request_id(embedded_api: Api) -> None:
    call = embedded_api.stub.StreamContactMethods(pb.StreamContactMethodsRequest(), metadata=(("x-request-id", "abc"),))
    await drain(call)

    assert dict(await call.trailing_metadata())["x-request-id"] == "abc"


class EndlessStore:
    """A store whose streams never end, and which counts what is asked of them."""

    def __init__(self, store: MongoStore, page: Page) -> None:
        self._store = store
        self._page = page
        self.asked = 0
        self.closed = asyncio.Event()

    async def stream_pages(self, listing: Listing) -> AsyncGenerator[Page]:
        try:
            while True:
                self.asked += 1
                yield self._page
        finally:
            self.closed.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def test_a_caller_that_reads_slowly_slows_the_service_down_and_can_stop_it(on_embedded: OpenStores) -> None:
    stores: Any = await on_embedded()
    async with serving(stores) as api:
        await fill(api, 200, metadata={"k": "v" * 500})
        page = await stores[Environment.LIVE].find_page(Listing(filter=Filter(), page_size=200))
    endless = stores[Environment.LIVE] = EndlessStore(stores[Environment.LIVE], page)
    async with serving(stores) as api:
        call = api.stub.StreamContactMethods(pb.StreamContactMethodsRequest())
        await call.read()
        # Far more turns of the event loop than an unhindered stream would need to run away.
        for _ in range(200):
            await api.primary_id("nobody")
        asked = endless.asked
        call.cancel()
        await endless.closed.wait()

    assert 1 <= asked < 100


async def test_a_stream_goes_on_when_the_database_has_dropped_its_cursor(embedded_api: Api) -> None:
    made = await fill(embedded_api, 1000)
    store = embedded_api.stores[Environment.LIVE]
    found: list[str] = []

    async for page in store.stream_pages(Listing(filter=Filter(), page_size=200)):
        found += [record.id for record in page.contact_methods]
        await drop_cursors(store)

    assert found == made


async def drop_cursors(store: MongoStore) -> None:
    """Drop all cursors that the store has open, as MongoDB does after ten minutes without a question."""
    open_cursors: list[Any] = [found for found in gc.get_objects() if isinstance(found, AsyncIOMotorCursor)]
    for cursor in open_cursors:
        if cursor.alive and cursor.cursor_id:
            command = {"killCursors": store._collection.name, "cursors": [cursor.cursor_id]}
            await store._collection.database.command(command)


async def test_erasing_a_client_deletes_all_of_it_and_nothing_else(api: Api) -> None:
    for type_ in (pb.CONTACT_METHOD_TYPE_EMAIL, OTHER):
        await api.create(type=type_, is_primary=True)
    theirs = await api.create("client_2")
    request = pb.EraseClientContactMethodsRequest(client_id="client_1")

    erased = await api.stub.EraseClientContactMethods(request)
    again = await api.stub.EraseClientContactMethods(request)

    assert (erased.erased_count, again.erased_count) == (2, 0)
    assert await api.total() == 1
    assert await api.get(theirs.id) == theirs


async def test_an_erased_client_leaves_no_contact_data_behind(embedded_api: Api) -> None:
    await embedded_api.create(
        "erased-client", "secret@example.com", label="secret-label", external_id="secret-ext",
        metadata={"secret-key": "secret-value"}, request_id="r-1",
    )  # fmt: skip
    sync = pb.SyncClientContactMethodsRequest(
        client_id="erased-client", items=[pb.SyncItem(type=OTHER, value="secret-handle")], request_id="r-2"
    )
    await embedded_api.stub.SyncClientContactMethods(sync)

    await embedded_api.stub.EraseClientContactMethods(
        pb.EraseClientContactMethodsRequest(client_id="erased-client", request_id="r-3")
    )

    left = await embedded_api.stores[Environment.LIVE]._collection.find({}).to_list(None)
    assert left
    assert not any(word in repr(left) for word in ("secret", "erased-client"))


async def test_erasing_needs_a_client(embedded_api: Api) -> None:
    failure = await failure_of(embedded_api.stub.EraseClientContactMethods(pb.EraseClientContactMethodsRequest()))

    assert (failure.code, failure.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["client_id"])


class HeldCursor:
    """A cursor that reads in a thread, which nobody can cancel, until it is let go."""

    def __init__(self) -> None:
        self.reading = threading.Event()
        self.go = threading.Event()
        self.closed_while_reading: bool | None = None

    def sort(self, _: Any) -> HeldCursor:
        return self

    def batch_size(self, _: int) -> HeldCursor:
        return self

    def skip(self, _: int) -> HeldCursor:
        return self

    def limit(self, _: int) -> HeldCursor:
        return self

    async def to_list(self, length: int) -> list[Any]:
        def read() -> list[Any]:
            self.reading.set()
            self.go.wait(30)
            self.reading.clear()
            return []

        return await asyncio.to_thread(read)

    async def close(self) -> None:
        self.closed_while_reading = self.reading.is_set()


class OneCursor:
    full_name = "test.contact_methods"

    def __init__(self, cursor: HeldCursor) -> None:
        self._cursor = cursor

    def find(self, _: Any, **options: Any) -> HeldCursor:
        return self._cursor


async def test_the_cursor_of_a_stream_that_is_left_is_not_closed_while_it_reads() -> None:
    cursor = HeldCursor()
    collection: Any = OneCursor(cursor)
    slots = ScanSlots(1)
    store = MongoStore(collection, None, KeyLocks(), listings=ListingReader(collection, slots=slots))

    async def stream() -> None:
        async with aclosing(store.stream_pages(Listing(filter=Filter(), page_size=10))) as pages:
            async for _ in pages:
                pass

    streaming = asyncio.create_task(stream())
    await asyncio.to_thread(cursor.reading.wait, 30)
    streaming.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    cursor.go.set()
    await asyncio.wait({streaming})
    await slots.close(timeout=30)

    assert streaming.cancelled()
    assert cursor.closed_while_reading is False
