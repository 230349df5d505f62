"""Two services on one database."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from contactsvc import store
from contactsvc.domain.kinds import Environment
from contactsvc.store import MongoStore
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import DRIVER, Api, serving


@asynccontextmanager
async def connected(uri: str, prefix: str) -> AsyncIterator[dict[Environment, MongoStore]]:
    deployment = await store.connect(uri, DRIVER)
    try:
        yield {environment: await deployment.open_store(f"{prefix}_{environment}") for environment in Environment}
    finally:
        await deployment.close()


async def test_two_services_on_one_database_leave_one_primary_and_never_none(embedded_uri: str) -> None:
    prefix = f"test_{uuid.uuid4().hex[:12]}"

    async def promote(api: Api, id_: str) -> grpc.StatusCode:
        try:
            await api.stub.UpdateContactMethod(pb.UpdateContactMethodRequest(id=id_, is_primary=True))
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    async def watch(api: Api, finished: asyncio.Event) -> int:
        looks = 0
        while not finished.is_set():
            assert await api.primary_id("client_1") is not None
            looks += 1
        return looks

    # Separate connections, stores and locks, as on two machines.
    async with (
        connected(embedded_uri, prefix) as first_stores,
        connected(embedded_uri, prefix) as second_stores,
        serving(first_stores) as first,
        serving(second_stores) as second,
    ):
        records = [await first.create(is_primary=i == 0) for i in range(8)]
        finished = asyncio.Event()
        watcher = asyncio.create_task(watch(second, finished))
        codes = await asyncio.gather(*(promote(api, records[i % 8].id) for i in range(20) for api in (first, second)))
        finished.set()
        assert await watcher > 0
        listed = await first.stub.ListContactMethods(
            pb.ListContactMethodsRequest(filter=pb.ContactMethodFilter(is_primary=True))
        )

    assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.ABORTED}
    assert grpc.StatusCode.OK in codes
    assert len(listed.contact_methods) == 1
