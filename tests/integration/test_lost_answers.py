from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from contactsvc_client import AsyncContactsClient

from tests.conftest import Api
from tests.robustness.faults.proxy import proxied

CLIENT = "client_1"

# Of every kind of write: on one or two records, and how many there are afterwards.
WRITES: dict[str, tuple[Callable[[Any, str], Awaitable[Any]], int]] = {
    "create": (lambda do, _: do.create(client_id=CLIENT, type="email", value="b@example.com"), 2),
    "create primary": (
        lambda do, _: do.create(client_id=CLIENT, type="email", value="b@example.com", is_primary=True),
        2,
    ),
    "update": (lambda do, id_: do.update(id_, label="New"), 1),
    "delete": (lambda do, id_: do.delete(id_), 0),
    "create_many": (
        lambda do, _: do.create_many([{"client_id": CLIENT, "type": "other", "value": f"{i}"} for i in range(3)]),
        4,
    ),
    "delete_many": (lambda do, id_: do.delete_many([id_]), 0),
    "upsert": (lambda do, _: do.upsert_by_external_id("x", client_id=CLIENT, type="other", value="x"), 2),
    "sync": (lambda do, _: do.sync(CLIENT, [{"type": "other", "value": "x"}], replace=True), 1),
    "erase": (lambda do, _: do.erase_client(CLIENT), 0),
}


@pytest.mark.parametrize("write", WRITES)
async def test_a_write_whose_answer_was_lost_is_done_once_and_answered(embedded_api: Api, write: str) -> None:
    record = await embedded_api.create(CLIENT, is_primary=True)
    act, left = WRITES[write]
    async with proxied(embedded_api.target) as proxy, AsyncContactsClient(proxy.target) as sdk:
        proxy.drops = 2

        answer = await act(sdk.contact_methods, record.id)

        assert proxy.dropped == 2
    assert await embedded_api.total() == left
    if write == "erase":
        assert answer == 1


async def test_a_read_whose_answer_was_lost_is_repeated(embedded_api: Api) -> None:
    record = await embedded_api.create(CLIENT)
    async with proxied(embedded_api.target) as proxy, AsyncContactsClient(proxy.target) as sdk:
        proxy.drops = 2

        assert (await sdk.contact_methods.retrieve(record.id)).value == record.value

        assert proxy.dropped == 2


async def test_an_iteration_whose_stream_breaks_off_goes_on(embedded_api: Api) -> None:
    async with AsyncContactsClient(embedded_api.target) as sdk:
        for batch in range(3):
            await sdk.contact_methods.create_many(
                [{"client_id": CLIENT, "type": "other", "value": f"{batch}-{i}"} for i in range(250)]
            )
    async with proxied(embedded_api.target) as proxy, AsyncContactsClient(proxy.target) as sdk:
        found = []
        async for record in sdk.contact_methods.iterate():
            found.append(record.value)
            if len(found) == 1:
                proxy.drops = 1

        assert proxy.dropped == 1
    assert found == [f"{batch}-{i}" for batch in range(3) for i in range(250)]
