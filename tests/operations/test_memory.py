"""The memory of a worker under the load of callers who ask for much at once."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from contactsvc.v1 import contact_methods_pb2 as pb
from contactsvc.v1 import contact_methods_pb2_grpc as pb_grpc
from tests.hostile.raw_http2 import opened
from tests.hostile.test_unread_answers import SERVICE
from tests.integration.service_process import ServiceProcess, running_service

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc")

MIB = 1024 * 1024
DEADLINE = 300.0
OPTIONS = [("grpc.max_receive_message_length", -1)]
# The largest: four bytes a character.
METADATA = {f"{number:040}": "\U0001f600" * 500 for number in range(50)}


def peak_of(service: ServiceProcess) -> int:
    """Return the most memory that a process has had so far, in MiB."""
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    (kib,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return int(kib) // 1024


async def create_large(stub: Any, count: int) -> list[str]:
    """Create records of 100 kB each; return their ids."""
    ids: list[str] = []
    while len(ids) < count:
        creates = [
            pb.CreateContactMethodRequest(
                client_id="c", type=pb.CONTACT_METHOD_TYPE_OTHER, value=f"value {len(ids) + number}", metadata=METADATA
            )
            for number in range(10)
        ]
        created = await stub.BatchCreateContactMethods(
            pb.BatchCreateContactMethodsRequest(requests=creates), timeout=DEADLINE
        )
        ids += [result.contact_method.id for result in created.results]
    return ids


async def outcomes_of(calls: list[Callable[[], Awaitable[Any]]]) -> set[grpc.StatusCode]:
    """Make calls at once; return their status codes."""

    async def outcome(call: Callable[[], Awaitable[Any]]) -> grpc.StatusCode:
        try:
            await call()
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    return set(await asyncio.gather(*map(outcome, calls)))


async def attack(service: ServiceProcess, *, records: int, lists: int, streams: int, gets: int, updates: int) -> None:
    """Ask for large records in every way at once, and read only a part of the answers."""
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(service.address, options=OPTIONS))
        stub: Any = pb_grpc.ContactMethodsServiceStub(channel)  # type: ignore[no-untyped-call]
        ids = await create_large(stub, records)
        many = pb.BatchGetContactMethodsRequest(ids=ids[:250])
        # Few lists of all records are read at a time; those of one client are not limited so.
        of_client = pb.ContactMethodFilter(client_ids=["c"])
        stream = pb.StreamContactMethodsRequest(filter=of_client)
        idle = await stack.enter_async_context(opened(service.address, window=0))
        for _ in range(streams):
            await idle.call(f"{SERVICE}StreamContactMethods", stream.SerializeToString())
            await idle.call(f"{SERVICE}BatchGetContactMethods", many.SerializeToString())
        page = pb.ListContactMethodsRequest(filter=of_client, page_size=200)

        def relabel(number: int) -> Callable[[], Awaitable[Any]]:
            request = pb.BatchUpdateContactMethodsRequest(
                requests=[pb.UpdateContactMethodRequest(id=id_, label=str(number)) for id_ in ids[:250]]
            )
            return lambda: stub.BatchUpdateContactMethods(request, timeout=DEADLINE)

        codes = await outcomes_of(
            [lambda: stub.ListContactMethods(page, timeout=DEADLINE)] * lists
            + [lambda: stub.BatchGetContactMethods(many, timeout=DEADLINE)] * gets
            + [relabel(number) for number in range(updates)]
        )
        allowed = {
            grpc.StatusCode.OK,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            grpc.StatusCode.DEADLINE_EXCEEDED,
            grpc.StatusCode.ABORTED,
        }
        assert codes <= allowed, codes
        assert (await stub.GetContactMethod(pb.GetContactMethodRequest(id=ids[0]), timeout=DEADLINE)).contact_method


async def test_large_records_asked_for_in_every_way_at_once_take_bounded_memory(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await attack(service, records=40, lists=60, streams=20, gets=20, updates=2)

        # 230 to 320; 860 before memory was bounded by bytes.
        assert peak_of(service) < 400


@pytest.mark.long
async def test_the_largest_load_of_one_caller_stays_below_512_mebibytes(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await attack(service, records=250, lists=100, streams=30, gets=60, updates=4)

        assert peak_of(service) < 512
