"""Two secrets of one key: the service during a rotation, and what it reads of other releases."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from contactsvc import store
from contactsvc.domain.api_keys import ApiKey, Permission, digest_of, new_key
from contactsvc.domain.kinds import Environment
from contactsvc.errors import Unauthenticated
from contactsvc.rpc.auth import Authenticator
from contactsvc.store.deployment import KEY_COLLECTION
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import DRIVER, OpenStores, failure_of
from tests.operations.guarded import NOW, Guarded, bearer, guarded, read_all

UNAUTHENTICATED = (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
HOUR = timedelta(hours=1)


@pytest.fixture
async def server(on_embedded: OpenStores) -> AsyncIterator[Guarded]:
    async with guarded(on_embedded) as made:
        yield made


def rotate(server: Guarded, text: str, overlap: timedelta) -> str:
    """Rotate a key in the store; return the new text."""
    key, new_text = server.keys.keys[text.split("_")[2]].rotated(server.time.now, overlap)
    server.keys.keys[key.id] = key
    return new_text


async def test_a_new_secret_works_at_once_and_the_old_one_until_the_overlap_ends(server: Guarded) -> None:
    old = server.keys.make()
    await server.gate.refresh()

    # The service has not read the keys since.
    new = rotate(server, old, HOUR)

    assert await server.verdict(bearer(new)) == "let in"
    assert await server.verdict(bearer(old)) == "let in"
    server.time.now += HOUR - timedelta(milliseconds=1)
    assert await server.verdict(bearer(old)) == "let in"
    server.time.now += timedelta(milliseconds=1)
    assert await server.verdict(bearer(old)) == UNAUTHENTICATED
    assert await server.verdict(bearer(new)) == "let in"


async def test_without_an_overlap_the_old_secrets_stop_after_the_next_read(server: Guarded) -> None:
    first = server.keys.make()
    second = rotate(server, first, HOUR)
    third = rotate(server, second, timedelta(0))
    await server.gate.refresh()

    assert await server.verdict(bearer(third)) == "let in"
    for text in (first, second):
        assert await server.verdict(bearer(text)) == UNAUTHENTICATED


async def test_a_second_rotation_stops_the_secret_before_the_last(server: Guarded) -> None:
    first = server.keys.make()
    second = rotate(server, first, HOUR)
    third = rotate(server, second, HOUR)
    await server.gate.refresh()

    assert await server.verdict(bearer(first)) == UNAUTHENTICATED
    assert await server.verdict(bearer(second)) == await server.verdict(bearer(third)) == "let in"


@pytest.mark.parametrize("end", [{"revoked_at": NOW}, {"expires_at": NOW}])
async def test_a_key_that_ends_ends_with_both_secrets(server: Guarded, end: dict[str, Any]) -> None:
    old = server.keys.make()
    new = rotate(server, old, HOUR)
    server.keys.change(old, **end)
    await server.gate.refresh()

    for text in (old, new):
        assert await server.verdict(bearer(text)) == UNAUTHENTICATED


async def test_guessed_secrets_of_a_known_key_share_reads_of_the_keys(server: Guarded) -> None:
    text = server.keys.make()
    await server.gate.refresh()
    reads = server.keys.reads
    guess = bearer("_".join([*text.split("_")[:3], "0" * 64]))

    began = time.monotonic()
    verdicts = await asyncio.gather(*(server.verdict(guess) for _ in range(200)))

    assert set(verdicts) == {UNAUTHENTICATED}
    # Guesses that arrive together share reads, which are 0.1 s apart.
    assert server.keys.reads <= reads + 1 + (time.monotonic() - began) / 0.1


async def test_a_stream_ends_with_the_secret_that_opened_it(server: Guarded) -> None:
    old = server.keys.make()
    new = rotate(server, old, HOUR)
    owner = await server.stub_of(new)
    for start in range(0, 600, 200):
        requests = [
            pb.CreateContactMethodRequest(client_id="c", type=pb.CONTACT_METHOD_TYPE_OTHER, value=f"{i}" * 100)
            for i in range(start, start + 200)
        ]
        await owner.BatchCreateContactMethods(pb.BatchCreateContactMethodsRequest(requests=requests))
    records = server.api.stores[Environment.LIVE]
    pages = records.stream_pages

    async def with_a_clock_that_moves(listing: Any) -> Any:
        async for page in pages(listing):
            yield page
            server.time.now += HOUR

    records.stream_pages = with_a_clock_that_moves  # type: ignore[method-assign]

    by_old = await failure_of(
        read_all(server.api.stub.StreamContactMethods(pb.StreamContactMethodsRequest(), metadata=(bearer(old),)))
    )
    await read_all(server.api.stub.StreamContactMethods(pb.StreamContactMethodsRequest(), metadata=(bearer(new),)))

    assert (by_old.code, by_old.reason) == UNAUTHENTICATED


@pytest.fixture
async def collection(embedded_uri: str) -> AsyncIterator[Any]:
    """Return a collection of keys."""
    deployment = await store.connect(embedded_uri, DRIVER)
    yield deployment.driver.database(f"test_{uuid.uuid4().hex[:12]}_keys")[KEY_COLLECTION]
    await deployment.close()


@pytest.fixture
def keys(collection: Any) -> store.MongoKeyStore:
    return store.MongoKeyStore(collection)


def a_key(**attributes: Any) -> ApiKey:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    return new_key(
        name="n",
        environment=Environment.LIVE,
        permissions=frozenset({Permission.READ}),
        now=now,
        expires_at=None,
        **attributes,
    )[0]


async def test_a_stored_key_keeps_its_rotation_and_its_rate(keys: store.MongoKeyStore) -> None:
    plain, rotated = a_key(), a_key(rate=2.5).rotated(NOW, HOUR)[0]
    await keys.add(plain)
    await keys.add(rotated)

    assert {key.id: key for key in await keys.all()} == {plain.id: plain, rotated.id: rotated}


async def test_of_two_rotations_at_once_one_succeeds_and_none_of_a_revoked_key(keys: store.MongoKeyStore) -> None:
    key = a_key()
    await keys.add(key)
    (one, _), (other, _) = key.rotated(NOW, HOUR), key.rotated(NOW, HOUR)

    assert await keys.rotate(key, one)
    assert not await keys.rotate(key, other)
    assert await keys.all() == [one]
    await keys.revoke(key.id, NOW)
    assert not await keys.rotate(one, other)


async def test_keys_of_release_0_1_0_are_read_and_that_release_opens_with_the_new_secret_only(
    keys: store.MongoKeyStore, collection: Any
) -> None:
    key = a_key()
    await keys.add(key)
    await collection.update_one({}, {"$unset": {"previous_digest": "", "previous_until": "", "rate": ""}})

    assert await keys.all() == [key]

    rotated, text = key.rotated(NOW, HOUR)
    await keys.rotate(key, rotated)
    document = await collection.find_one({})
    # All that release 0.1.0 reads.
    assert document["secret_digest"] == digest_of(text.split("_")[3])
    assert {"name", "environment", "permissions", "created_at", "expires_at", "revoked_at"} <= document.keys()


@pytest.mark.parametrize(
    "fields",
    [
        {"rate": "fast"},
        {"rate": -1.0},
        {"rate": float("nan")},
        {"previous_until": "tomorrow"},
        {"expires_at": "tomorrow"},
        {"environment": "staging"},
        {"permissions": None},
    ],
    ids=str,
)
async def test_a_malformed_key_grants_nothing_and_still_closes_the_service(
    keys: store.MongoKeyStore, collection: Any, fields: dict[str, Any]
) -> None:
    key, text = a_key().rotated(NOW, HOUR)
    await keys.add(key)
    await collection.update_one({}, {"$set": fields})
    gate = Authenticator(keys, monotonic=time.monotonic)

    await gate.refresh()

    assert not gate.open
    assert [found.state(NOW) for found in await keys.all()] == ["revoked"]
    for metadata in ({}, {"authorization": (f"Bearer {text}",)}):
        with pytest.raises(Unauthenticated):
            await gate.authenticate(metadata, "ListContactMethods")
