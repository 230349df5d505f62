"""Long reads beside others: how many there may be, when they end, and what they cannot hold up."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from contactsvc import store
from contactsvc.domain.api_keys import Permission, new_key
from contactsvc.domain.kinds import Environment
from contactsvc.embedded_names import READ_INDEX
from contactsvc.rpc.auth import Authenticator
from contactsvc.store import COLLECTION, Deployment, MongoStore
from contactsvc.store.listing_reader import ListingReader
from contactsvc.store.scan_slots import ScanSlots
from contactsvc.store.slices import EmbeddedSlices, Traffic
from contactsvc.store.transactions import KeyLocks
from contactsvc.telemetry.metrics import Metrics
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import DRIVER, Api, failure_of, serving
from tests.operations.test_limits import OneKey, value_of

CONTAINS = pb.ContactMethodFilter(value_contains="nowhere")
SCANS = pb.ListContactMethodsRequest(filter=CONTAINS)
STREAM = pb.StreamContactMethodsRequest(filter=CONTAINS)


class CountedCommands:
    """Telemetry of a database that counts the commands by their names."""

    def __init__(self) -> None:
        self.ended = Counter[str]()

    def command_ended(self, command: str, *, ok: bool, seconds: float) -> None:
        self.ended[command] += 1

    def connections_changed(self, state: str, by: int) -> None:
        pass


class HeldSlices(EmbeddedSlices):
    """Slices of one index entry that wait for `go`."""

    def __init__(self, collection: Any) -> None:
        super().__init__(collection, Traffic(), entries=1, entries_undisturbed=1)
        self.begun = 0
        self.changed = asyncio.Condition()
        self.go = asyncio.Event()

    async def read(self, *args: Any, **options: Any) -> Any:
        async with self.changed:
            self.begun += 1
            self.changed.notify_all()
        await self.go.wait()
        return await super().read(*args, **options)

    async def wait_for(self, count: int) -> None:
        """Wait until this many slices have begun."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.begun >= count)


class Scanned:
    """A server whose slices are held."""

    def __init__(self, deployment: Deployment, name: str) -> None:
        collection = deployment.driver.database(name)[COLLECTION]
        self.slices = HeldSlices(deployment.scans.collection(name, COLLECTION))
        self.slots = ScanSlots(1)
        listings = ListingReader(collection, slices=self.slices, slots=self.slots, counts_by_index=False)
        self.store = MongoStore(collection, deployment.driver, KeyLocks(), listings=listings)
        self.metrics = Metrics()
        self.api: Api

    async def answers_a_get(self) -> None:
        """Wait for the answer to a read of something else."""
        await self.api.primary_id("nobody")


@pytest.fixture
async def commands() -> CountedCommands:
    return CountedCommands()


@pytest.fixture
async def scanned(embedded_uri: str, commands: CountedCommands) -> AsyncIterator[Scanned]:
    """Serve three records with slices that are held."""
    deployment = await store.connect(embedded_uri, DRIVER, commands)
    try:
        name = f"test_{uuid.uuid4().hex[:12]}"
        await deployment.open_store(name)
        made = Scanned(deployment, name)
        stores = dict.fromkeys(Environment, made.store)
        async with serving(stores, metrics=made.metrics) as made.api:
            for _ in range(3):
                await made.api.create()
            yield made
            made.slices.go.set()
    finally:
        await deployment.close()


async def test_no_slice_begins_after_a_stream_has_ended_and_others_are_served_meanwhile(
    scanned: Scanned, commands: CountedCommands
) -> None:
    streams = [scanned.api.stub.StreamContactMethods(STREAM) for _ in range(8)]
    reads = [asyncio.ensure_future(stream.read()) for stream in streams]
    await scanned.slices.wait_for(1)
    for stream in streams:
        stream.cancel()
    await asyncio.gather(*reads, return_exceptions=True)
    # The server learns of the cancellations in the order of its connection.
    await scanned.answers_a_get()
    begun, before = scanned.slices.begun, commands.ended[READ_INDEX]
    scanned.slices.go.set()
    await scanned.slots.close(timeout=30)
    await scanned.answers_a_get()

    assert begun == scanned.slices.begun == 1
    assert commands.ended[READ_INDEX] == before + 1


async def test_a_slot_is_in_use_until_the_slice_of_a_caller_that_has_left_ends(scanned: Scanned) -> None:
    left = scanned.api.stub.StreamContactMethods(STREAM, timeout=0.05)
    assert (await failure_of(left.read())).code is grpc.StatusCode.DEADLINE_EXCEEDED
    await scanned.slices.wait_for(1)
    staying = asyncio.ensure_future(scanned.api.stub.ListContactMethods(SCANS))
    await scanned.answers_a_get()
    begun = scanned.slices.begun
    scanned.slices.go.set()

    assert not (await staying).contact_methods
    assert begun == 1


async def test_a_list_of_one_client_does_not_wait_for_long_reads(scanned: Scanned) -> None:
    long = asyncio.ensure_future(scanned.api.stub.ListContactMethods(SCANS))
    await scanned.slices.wait_for(1)
    short = asyncio.ensure_future(
        scanned.api.stub.ListClientContactMethods(pb.ListClientContactMethodsRequest(client_id="client_1", page_size=1))
    )
    await scanned.slices.wait_for(2)
    scanned.slices.go.set()

    assert len((await short).contact_methods) == 1
    await long


@pytest.mark.parametrize(
    "request_",
    [
        SCANS,
        pb.ListContactMethodsRequest(),
        pb.ListContactMethodsRequest(filter=pb.ContactMethodFilter(labels=["x"])),
        pb.ListContactMethodsRequest(filter=pb.ContactMethodFilter(metadata={"k": "v"})),
        pb.ListContactMethodsRequest(filter=pb.ContactMethodFilter(client_ids=["c"]), include_total_size=True),
        pb.ListContactMethodsRequest(filter=pb.ContactMethodFilter(client_ids=["c"]), offset=1),
        pb.StreamContactMethodsRequest(),
    ],
    ids=["contains", "everything", "label", "metadata", "count", "offset", "stream"],
)
async def test_a_ninth_long_read_is_refused_with_a_retry_delay(scanned: Scanned, request_: Any) -> None:
    stub = scanned.api.stub
    waiting = [asyncio.ensure_future(stub.ListContactMethods(SCANS)) for _ in range(8)]
    await scanned.slices.wait_for(1)
    await scanned.answers_a_get()

    is_stream = isinstance(request_, pb.StreamContactMethodsRequest)
    refused = stub.StreamContactMethods(request_) if is_stream else stub.ListContactMethods(request_)
    failure = await failure_of(refused.read() if is_stream else refused)
    trailing = dict(await refused.trailing_metadata())
    short = pb.ListContactMethodsRequest(filter=pb.ContactMethodFilter(ids=["contact_x"]))
    assert not (await stub.ListContactMethods(short)).contact_methods
    scanned.slices.go.set()
    await asyncio.gather(*waiting)

    assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    status, retry = status_pb2.Status.FromString(trailing["grpc-status-details-bin"]), error_details_pb2.RetryInfo()
    assert any(detail.Unpack(retry) for detail in status.details)
    assert retry.retry_delay.ToMilliseconds() == 1_000
    assert value_of(scanned.metrics, "contactsvc_rejected_calls_total", limit="scans") == 1


async def test_a_fifth_long_read_of_one_key_is_refused(scanned: Scanned) -> None:
    key, text = new_key(
        name="test",
        environment=Environment.LIVE,
        permissions=frozenset(Permission),
        now=datetime.now(UTC),
        expires_at=None,
    )
    authenticator = Authenticator(OneKey(key), monotonic=time.monotonic)
    await authenticator.refresh()
    headers = [("authorization", f"Bearer {text}")]
    async with serving(dict.fromkeys(Environment, scanned.store), authenticator=authenticator) as api:
        waiting = [asyncio.ensure_future(api.stub.ListContactMethods(SCANS, metadata=headers)) for _ in range(4)]
        await scanned.slices.wait_for(1)
        await failure_of(api.stub.GetContactMethod(pb.GetContactMethodRequest(id="nobody"), metadata=headers))

        failure = await failure_of(api.stub.ListContactMethods(SCANS, metadata=headers))
        scanned.slices.go.set()
        await asyncio.gather(*waiting)

    assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert "with this API key" in failure.message


async def test_keys_and_pings_do_not_wait_for_the_connections_of_calls(embedded_uri: str) -> None:
    name = f"test_{uuid.uuid4().hex[:12]}"
    busy = await store.connect(f"{embedded_uri}&maxPoolSize=1", DRIVER)
    other = await store.connect(embedded_uri, DRIVER)
    try:
        ours, theirs = busy.driver.database(name)["any"], other.driver.database(name)["any"]
        await theirs.insert_one({"_id": 1})
        session = await other.driver.start_session()
        await other.driver.start_transaction(session)
        await theirs.update_one({"_id": 1}, {"$set": {"by": "them"}}, session=session)
        # It waits for the transaction, with the only connection.
        waiting = asyncio.ensure_future(ours.update_one({"_id": 1}, {"$set": {"by": "us"}}))
        await busy.ping()
        keys = await busy.key_store(f"{name}_keys").all()
        assert not waiting.done()
        await session.commit_transaction()
        await waiting
        await session.end_session()
    finally:
        await busy.close()
        await other.close()

    assert keys == []
