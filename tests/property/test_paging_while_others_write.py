"""Pages and streams during concurrent writes: records that are not written are seen exactly once, in order."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import Api, OpenStores, ids, serving

Read = Callable[[Api, list[pb.ContactMethodSort], "Others"], Awaitable[list[pb.ContactMethod]]]

CREATED_AT, UPDATED_AT = pb.CONTACT_METHOD_SORT_FIELD_CREATED_AT, pb.CONTACT_METHOD_SORT_FIELD_UPDATED_AT
ORDERS = [
    pytest.param([pb.ContactMethodSort(field=CREATED_AT)], id="oldest first"),
    pytest.param([pb.ContactMethodSort(field=CREATED_AT, descending=True)], id="latest first", marks=pytest.mark.long),
    pytest.param([pb.ContactMethodSort(field=UPDATED_AT)], id="longest unchanged first", marks=pytest.mark.long),
    pytest.param([pb.ContactMethodSort(field=UPDATED_AT, descending=True)], id="last changed first"),
]
# Together, three pages of a stream.
UNTOUCHED = 360
TOUCHED = 120


class Others:
    """Concurrent callers that insert, update and delete the records given to them.

    Attributes:
        rounds: the number of completed rounds.
    """

    def __init__(self, api: Api, records: list[pb.ContactMethod]) -> None:
        self._api = api
        self._ids = ids(records)
        self.rounds = 0
        self._more = asyncio.Condition()
        self._stopped = False

    async def work(self) -> None:
        """Write until stopped."""
        while not self._stopped:
            # Some at the start of the records, so that whole pages vanish before and after the position of the reader.
            for position in (0, len(self._ids) // 2, -1):
                deletion = pb.DeleteContactMethodRequest(id=self._ids.pop(position))
                await self._api.stub.DeleteContactMethod(deletion)
                self._ids.append((await self._api.create("others")).id)
            for id_ in (self._ids[0], self._ids[len(self._ids) // 2]):
                change = pb.UpdateContactMethodRequest(id=id_, label=f"{self.rounds}")
                await self._api.stub.UpdateContactMethod(change)
            async with self._more:
                self.rounds += 1
                self._more.notify_all()

    async def do_a_round(self) -> None:
        """Wait until one more round has started and ended."""
        async with self._more:
            wanted = self.rounds + 2
            await self._more.wait_for(lambda: self.rounds >= wanted)

    def stop(self) -> None:
        self._stopped = True


@asynccontextmanager
async def writing(api: Api, records: list[pb.ContactMethod]) -> AsyncIterator[Others]:
    others = Others(api, records)
    async with asyncio.TaskGroup() as group:
        group.create_task(others.work())
        try:
            yield others
        finally:
            others.stop()


async def fill(api: Api) -> tuple[list[pb.ContactMethod], list[pb.ContactMethod]]:
    """Create records that stay unchanged and, among them, others that do not; return both."""
    turns = itertools.cycle(["stays", "stays", "others", "stays"])
    wanted = {"stays": UNTOUCHED, "others": TOUCHED}
    made: dict[str, list[pb.ContactMethod]] = {"stays": [], "others": []}
    queue = [kind for kind, _ in zip(turns, range(4 * max(wanted.values())), strict=False)]
    requests: list[pb.CreateContactMethodRequest] = []
    for kind in queue:
        if wanted[kind]:
            wanted[kind] -= 1
            value = f"{kind}{len(requests)}@example.com"
            requests.append(
                pb.CreateContactMethodRequest(client_id=kind, type=pb.CONTACT_METHOD_TYPE_EMAIL, value=value)
            )
    # Records of one batch share a millisecond, so that pages end between equal times.
    for start in range(0, len(requests), 120):
        batch = pb.BatchCreateContactMethodsRequest(requests=requests[start : start + 120])
        for result in (await api.stub.BatchCreateContactMethods(batch)).results:
            made[result.contact_method.client_id].append(result.contact_method)
    return made["stays"], made["others"]


def in_order(records: list[pb.ContactMethod], sort: list[pb.ContactMethodSort]) -> list[pb.ContactMethod]:
    ordered = sorted(records, key=lambda record: record.id, reverse=sort[-1].descending)
    for key in reversed(sort):
        name = "created_at" if key.field == CREATED_AT else "updated_at"
        ordered.sort(key=lambda record: getattr(record, name).ToNanoseconds(), reverse=key.descending)
    return ordered


async def page_by_page(api: Api, sort: list[pb.ContactMethodSort], others: Others) -> list[pb.ContactMethod]:
    found: list[pb.ContactMethod] = []
    request = pb.ListContactMethodsRequest(sort=sort, page_size=90)
    while True:
        page = await api.stub.ListContactMethods(request)
        found += page.contact_methods
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token
        await others.do_a_round()


async def as_a_stream(api: Api, sort: list[pb.ContactMethodSort], others: Others) -> list[pb.ContactMethod]:
    found: list[pb.ContactMethod] = []
    async for page in api.stub.StreamContactMethods(pb.StreamContactMethodsRequest(sort=sort)):
        found += page.contact_methods
        await others.do_a_round()
    return found


async def as_streams_that_break_off(
    api: Api, sort: list[pb.ContactMethodSort], others: Others
) -> list[pb.ContactMethod]:
    found: list[pb.ContactMethod] = []
    request = pb.StreamContactMethodsRequest(sort=sort)
    while True:
        call: Any = api.stub.StreamContactMethods(request)
        page = await call.read()
        call.cancel()
        found += page.contact_methods
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token
        await others.do_a_round()


@pytest.mark.parametrize("sort", ORDERS)
async def test_records_that_are_not_written_are_seen_once_and_in_order(
    on_embedded: OpenStores, sort: list[pb.ContactMethodSort]
) -> None:
    async with serving(await on_embedded()) as api:
        untouched, touched = await fill(api)
        async with writing(api, touched) as others:
            readers: list[Read] = [page_by_page, as_a_stream, as_streams_that_break_off]
            for read in readers:
                found = await read(api, sort, others)

                seen = [record for record in found if record.client_id == "stays"]
                assert ids(seen) == ids(in_order(untouched, sort)), f"{read.__name__} skipped, repeated or disordered"
                assert seen == in_order(untouched, sort)
