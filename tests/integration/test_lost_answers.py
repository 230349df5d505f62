from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from contactsvc_client import AsyncContactsClient

from contactsvc import store
from contactsvc.domain.change_set import ChangeSet
from contactsvc.domain.kinds import Environment
from contactsvc.errors import EtagMismatch
from contactsvc.service.ports import LostRace
from contactsvc.store import MongoStore
from contactsvc.store.coalescing.store import CoalescingStore
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import DRIVER, Api, serving
from tests.robustness.faults.proxy import proxied
from tests.special_stores import open_as
from tests.verifier import other_than

CLIENT = "client_1"

# Every kind of write, and the number of records after it; there is one before it.
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
    "start_verification": (lambda do, id_: do.start_verification(id_), 1),
    "set_verification": (lambda do, id_: do.set_verification(id_, True), 1),
}


@pytest.mark.parametrize("write", WRITES)
async def test_a_write_whose_answer_is_lost_is_executed_once_and_answered(embedded_api: Api, write: str) -> None:
    record = await embedded_api.create(CLIENT, is_primary=True)
    act, left = WRITES[write]
    async with proxied(embedded_api.target) as proxy, AsyncContactsClient(proxy.target) as sdk:
        proxy.drops = 2

        answer = await act(sdk.contact_methods, record.id)

        assert proxy.dropped == 2
    assert await embedded_api.total() == left
    if write == "erase":
        assert answer == 1
    if write == "start_verification":
        assert answer.sends_left == 4


async def test_a_read_whose_answer_is_lost_is_repeated(embedded_api: Api) -> None:
    record = await embedded_api.create(CLIENT)
    async with proxied(embedded_api.target) as proxy, AsyncContactsClient(proxy.target) as sdk:
        proxy.drops = 2

        assert (await sdk.contact_methods.retrieve(record.id)).value == record.value

        assert proxy.dropped == 2


async def test_an_iteration_continues_after_its_stream_breaks(embedded_api: Api) -> None:
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


class Forgetful(CoalescingStore):
    """A store whose next write looks repeated: its answer is lost, and the database has forgotten the write."""

    forgets = False

    async def write(self, change_set: ChangeSet) -> None:
        await super().write(change_set)
        if self.forgets:
            self.forgets = False
            raise LostRace(EtagMismatch())


@pytest.fixture
async def forgetful_api(embedded_uri: str) -> AsyncIterator[Api]:
    prefix = f"test_{uuid.uuid4().hex[:12]}"
    deployment = await store.connect(embedded_uri, DRIVER)
    stores: dict[Environment, MongoStore] = {}
    for environment in Environment:
        stores[environment] = await open_as(Forgetful, deployment, f"{prefix}_{environment}")
    async with serving(stores) as api:
        yield api
    await deployment.close()


def forget_next(api: Api) -> None:
    live: Any = api.stores[Environment.LIVE]
    live.forgets = True


async def test_a_change_that_the_driver_repeats_does_not_conflict_with_itself(forgetful_api: Api) -> None:
    record = await forgetful_api.create(CLIENT)
    forget_next(forgetful_api)

    answer: pb.UpdateContactMethodResponse = await forgetful_api.stub.UpdateContactMethod(
        pb.UpdateContactMethodRequest(id=record.id, etag=record.etag, label="New")
    )

    assert answer.contact_method == await forgetful_api.get(record.id)
    assert answer.contact_method.label == "New"


@pytest.mark.parametrize(
    "fields", [{"external_id": "x"}, {"is_primary": True}, {}], ids=["external id", "primary", "plain"]
)
async def test_a_create_that_the_driver_repeats_does_not_conflict_with_itself(
    forgetful_api: Api, fields: dict[str, Any]
) -> None:
    forget_next(forgetful_api)

    record = await forgetful_api.create(CLIENT, **fields)

    assert await forgetful_api.get(record.id) == record
    assert await forgetful_api.total() == 1


async def test_a_start_and_a_wrong_code_that_the_driver_repeats_are_counted_once(forgetful_api: Api) -> None:
    record = await forgetful_api.create(CLIENT)
    stub = forgetful_api.stub
    start = pb.StartContactMethodVerificationRequest(id=record.id)
    forget_next(forgetful_api)
    first = await stub.StartContactMethodVerification(start)
    forget_next(forgetful_api)
    second = await stub.StartContactMethodVerification(start)
    check = pb.CheckContactMethodVerificationRequest(id=record.id, code=other_than(first.code))
    forget_next(forgetful_api)
    wrong = await stub.CheckContactMethodVerification(check)
    right = await stub.CheckContactMethodVerification(
        pb.CheckContactMethodVerificationRequest(id=record.id, code=first.code)
    )

    assert (first.code, [first.sends_left, second.sends_left]) == (second.code, [4, 3])
    assert [wrong.attempts_left, right.attempts_left] == [4, 4]
    assert right.result == pb.VERIFICATION_RESULT_VERIFIED
