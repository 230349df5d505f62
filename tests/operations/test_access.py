from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import grpc
import pytest

from contactsvc.domain.api_keys import PERMISSIONS, ApiKey
from contactsvc.domain.kinds import Environment
from contactsvc.errors import StoreUnavailable
from contactsvc.rpc.auth import check_permissions
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import OpenStores, failure_of
from tests.operations.guarded import EVERYTHING, NOW, SERVICE, Guarded, bearer, guarded, read_all

UNAUTHENTICATED = (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
DENIED = (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")


@pytest.fixture
async def server(on_embedded: OpenStores) -> AsyncIterator[Guarded]:
    async with guarded(on_embedded) as made:
        yield made


def test_every_rpc_has_its_permissions() -> None:
    check_permissions(method.name for method in SERVICE.methods)
    with pytest.raises(LookupError, match="NewRpc"):
        check_permissions([*PERMISSIONS, "NewRpc"])


async def test_without_keys_everyone_is_let_in(server: Guarded) -> None:
    assert await server.verdict() == "let in"
    assert await server.verdict(bearer("whatever")) == "let in"


@pytest.mark.parametrize("rpc", PERMISSIONS)
async def test_every_rpc_wants_a_good_key_with_its_permissions(server: Guarded, rpc: str) -> None:
    good = server.keys.make(permissions=PERMISSIONS[rpc])
    lacking = [server.keys.make(permissions=EVERYTHING - {permission}) for permission in PERMISSIONS[rpc]]
    expired = server.keys.make(expires_at=NOW)
    revoked = server.keys.make()
    of_test = server.keys.make(Environment.TEST)
    for key in server.keys.keys.values():
        if key.id in revoked:
            server.keys.keys[key.id] = replace(key, revoked_at=NOW)
    await server.gate.refresh()

    async def verdict(*headers: tuple[str, str]) -> Any:
        return await server.verdict(*headers, rpc=rpc)

    assert await verdict(bearer(good)) == "let in"
    assert await verdict(("authorization", f"bearer {good}")) == "let in"
    assert await verdict(bearer(good), ("x-environment", "live")) == "let in"
    assert await verdict(bearer(of_test), ("x-environment", "test")) == "let in"
    for text in lacking:
        assert await verdict(bearer(text)) == DENIED
    assert await verdict(bearer(good), ("x-environment", "test")) == DENIED
    assert await verdict(bearer(of_test), ("x-environment", "live")) == DENIED
    for headers in (
        [],
        [("authorization", "")],
        [("authorization", good)],
        [("authorization", f"Basic {good}")],
        [bearer("")],
        [bearer("nonsense")],
        [bearer(good.upper())],
        [bearer(good[:-1])],
        [bearer(good + "0")],
        [bearer(good), bearer(good)],
        [bearer(good), bearer(of_test)],
        [bearer(expired)],
        [bearer(revoked)],
        [bearer("_".join([*good.split("_")[:3], "0" * 64]))],
        [bearer(f"contactsvc_live_{'0' * 12}_{'0' * 64}")],
        [bearer(good.replace("_live_", "_test_"))],
        [("x-environment", "live")],
    ):
        assert await verdict(*headers) == UNAUTHENTICATED, headers


async def test_an_unreadable_environment_is_a_bad_request(server: Guarded) -> None:
    for headers in ([("x-environment", "prod")], [("x-environment", "live"), ("x-environment", "test")]):
        failure = await server.ask("ListContactMethods", *headers)

        assert failure is not None
        assert (failure.reason, failure.fields) == ("INVALID_FIELD", ["x-environment"])


async def test_a_key_selects_its_environment(server: Guarded) -> None:
    live, test = bearer(server.keys.make()), bearer(server.keys.make(Environment.TEST))
    await server.gate.refresh()
    request = pb.CreateContactMethodRequest(client_id="c", type=pb.CONTACT_METHOD_TYPE_OTHER, value="v")

    made = await server.api.stub.CreateContactMethod(request, metadata=(test,))
    wanted = pb.GetContactMethodRequest(id=made.contact_method.id)

    assert (await server.api.stub.GetContactMethod(wanted, metadata=(test,))) is not None
    assert (await failure_of(server.api.stub.GetContactMethod(wanted, metadata=(live,)))).reason == (
        "CONTACT_METHOD_NOT_FOUND"
    )


async def test_a_new_key_works_at_once_and_guessing_does_not_load_the_store(server: Guarded) -> None:
    server.keys.make()
    await server.gate.refresh()
    server.time.seconds += 2
    late = server.keys.make()
    reads = server.keys.reads

    assert await server.verdict(bearer(late)) == "let in"
    assert server.keys.reads == reads + 1
    guess = bearer(f"contactsvc_live_{'0' * 12}_{'0' * 64}")
    began = time.monotonic()
    verdicts = await asyncio.gather(*(server.verdict(guess) for _ in range(200)))

    assert set(verdicts) == {UNAUTHENTICATED}
    # Guesses that arrive together share reads, which are 0.1 s apart.
    assert server.keys.reads <= reads + 2 + (time.monotonic() - began) / 0.1


async def test_a_key_made_just_after_the_last_read_works_at_once(server: Guarded) -> None:
    server.keys.make()
    await server.gate.refresh()
    guess = bearer(f"contactsvc_live_{'0' * 12}_{'0' * 64}")
    assert await server.verdict(guess) == UNAUTHENTICATED

    late = server.keys.make()

    assert await server.verdict(bearer(late)) == "let in"


async def test_a_revoked_key_is_refused_after_the_next_look(server: Guarded) -> None:
    text = server.keys.make()
    await server.gate.refresh()
    (key,) = server.keys.keys.values()
    server.keys.keys[key.id] = replace(key, revoked_at=NOW)

    await server.gate.refresh()

    assert await server.verdict(bearer(text)) == UNAUTHENTICATED


async def test_a_key_expires_by_itself(server: Guarded) -> None:
    text = server.keys.make(expires_at=NOW + timedelta(days=1))
    await server.gate.refresh()

    assert await server.verdict(bearer(text)) == "let in"
    server.time.now += timedelta(days=1)
    assert await server.verdict(bearer(text)) == UNAUTHENTICATED


async def test_no_key_is_trusted_longer_than_half_a_minute_without_the_store(server: Guarded) -> None:
    text = server.keys.make()
    await server.gate.refresh()
    server.keys.gone = True

    server.time.seconds += 20
    assert await server.verdict(bearer(text)) == "let in"
    server.time.seconds += 10
    assert await server.verdict(bearer(text)) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")


async def test_keys_that_vanish_do_not_open_the_gate(server: Guarded) -> None:
    text = server.keys.make()
    await server.gate.refresh()
    server.keys.keys.clear()
    await server.gate.refresh()

    assert await server.verdict() == UNAUTHENTICATED
    assert await server.verdict(bearer(text)) == UNAUTHENTICATED


async def test_health_and_reflection_need_no_key(server: Guarded) -> None:
    server.keys.make()
    await server.gate.refresh()
    check: Any = server._channel.unary_unary("/grpc.health.v1.Health/Check")

    assert await check(b"") == b"\x08\x01"


async def test_twenty_callers_at_once_read_the_keys_once(server: Guarded) -> None:
    server.keys.make()
    await server.gate.refresh()
    server.time.seconds += 2
    late, reads = server.keys.make(), server.keys.reads

    verdicts = await asyncio.gather(*(server.verdict(bearer(late), rpc="GetContactMethod") for _ in range(20)))

    assert set(verdicts) == {"let in"}
    assert server.keys.reads == reads + 1


async def test_a_store_that_hangs_keeps_strangers_waiting_and_nobody_else(server: Guarded) -> None:
    good = server.keys.make()
    await server.gate.refresh()
    server.time.seconds += 2
    hung = asyncio.Event()

    async def hang() -> list[ApiKey]:
        await hung.wait()
        raise StoreUnavailable

    server.keys.all = hang  # type: ignore[method-assign]
    strangers = [asyncio.create_task(server.verdict(bearer(f"contactsvc_live_{i:012}_{'0' * 64}"))) for i in range(100)]
    for _ in range(20):
        assert await server.verdict(bearer(good)) == "let in"
    hung.set()

    assert set(await asyncio.gather(*strangers)) <= {
        (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE"),
        UNAUTHENTICATED,
    }


async def test_a_key_that_is_revoked_ends_its_streams(on_embedded: OpenStores) -> None:
    async with guarded(on_embedded) as server:
        text = server.keys.make()
        await server.gate.refresh()
        for start in range(0, 600, 200):
            requests = [
                pb.CreateContactMethodRequest(client_id="c", type=pb.CONTACT_METHOD_TYPE_OTHER, value=f"{i}" * 100)
                for i in range(start, start + 200)
            ]
            batch = pb.BatchCreateContactMethodsRequest(requests=requests)
            await server.api.stub.BatchCreateContactMethods(batch, metadata=(bearer(text),))
        store = server.api.stores[Environment.LIVE]
        pages = store.stream_pages

        async def slowly(listing: Any) -> Any:
            async for page in pages(listing):
                yield page
                (key,) = server.keys.keys.values()
                server.keys.keys[key.id] = replace(key, revoked_at=NOW)
                await server.gate.refresh()

        store.stream_pages = slowly  # type: ignore[method-assign]
        call = server.api.stub.StreamContactMethods(pb.StreamContactMethodsRequest(), metadata=(bearer(text),))

        failure = await failure_of(read_all(call))

    assert (failure.code, failure.reason) == UNAUTHENTICATED
