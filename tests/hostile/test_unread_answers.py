"""Answers that their callers do not read: counted, limited, and given up after a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from contactsvc.domain.api_keys import ApiKey, Permission, new_key
from contactsvc.domain.kinds import Environment
from contactsvc.rpc.answers import AnswerLimits
from contactsvc.rpc.auth import Authenticator
from contactsvc.runtime.server import Limits
from contactsvc.telemetry.metrics import Metrics
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import Api, OpenStores, serving
from tests.hostile.answers import DEADLINE
from tests.hostile.raw_http2 import RawConnection, opened

SERVICE = "/contactsvc.v1.ContactMethodsService/"
MANY = 1 << 30


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a state of the server."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - the states of the server announce no change
            await asyncio.sleep(0.005)


class Keys:
    """A store of API keys."""

    def __init__(self, count: int) -> None:
        made = [
            new_key(
                name="test",
                environment=Environment.LIVE,
                permissions=frozenset(Permission),
                now=datetime.now(UTC),
                expires_at=None,
            )
            for _ in range(count)
        ]
        self._keys = [key for key, _ in made]
        self.headers = [(("authorization", f"Bearer {text}"),) for _, text in made]

    async def all(self) -> list[ApiKey]:
        return self._keys


class Attack:
    """A server with large records, and a request whose answer has `size` bytes."""

    def __init__(self, api: Api, metrics: Metrics, request: bytes) -> None:
        self.api = api
        self._metrics = metrics
        self.request = request

    def in_flight(self) -> float | None:
        return self._metrics.registry.get_sample_value("contactsvc_in_flight_calls", {})

    def rejected(self) -> float | None:
        return self._metrics.registry.get_sample_value("contactsvc_rejected_calls_total", {"limit": "bytes"})

    async def ask(self, connection: RawConnection, headers: tuple[tuple[str, str], ...] = ()) -> int:
        return await connection.call(f"{SERVICE}BatchGetContactMethods", self.request, headers)


class World:
    """Stores with large records on the embedded database."""

    def __init__(self, stores: Any, request: bytes, size: int) -> None:
        self._stores = stores
        self._request = request
        self.size = size

    @asynccontextmanager
    async def attacked(self, keys: Keys | None = None, **limits: Any) -> AsyncIterator[Attack]:
        metrics = Metrics()
        limits = {"timeout": DEADLINE, **limits}
        authenticator = Authenticator(keys, monotonic=time.monotonic)
        await authenticator.refresh()
        async with serving(
            self._stores,
            authenticator=authenticator,
            limits=Limits(answers=AnswerLimits(**limits)),
            metrics=metrics,
        ) as api:
            yield Attack(api, metrics, self._request)


@pytest.fixture(scope="module")
async def world(on_embedded: OpenStores) -> World:
    """Make records of 25 kB each."""
    stores = await on_embedded()
    metadata = {f"{number:040}": "x" * 500 for number in range(50)}
    async with serving(stores) as api:
        ids = [(await api.create(metadata=metadata)).id for _ in range(4)]
        request = pb.BatchGetContactMethodsRequest(ids=ids)
        answer = await api.stub.BatchGetContactMethods(request)
    return World(stores, request.SerializeToString(), len(answer.SerializeToString()))


async def test_calls_whose_answers_are_not_read_stay_in_flight_with_their_bytes_until_reset_or_closed(
    world: World,
) -> None:
    async with world.attacked() as attack:
        async with opened(attack.api.target, window=0) as connection:
            calls = [await attack.ask(connection) for _ in range(5)]
            await until(lambda: attack.api.server.answers.held == 5 * world.size)
            assert attack.in_flight() == 5

            await connection.reset(calls[0])
            await until(lambda: attack.in_flight() == 4)
            assert attack.api.server.answers.held == 4 * world.size

            await connection.allow(calls[1], MANY)
            await connection.ended(calls[1])
            await until(lambda: attack.in_flight() == 3)
            assert attack.api.server.answers.held == 3 * world.size
            # A message has a prefix of five bytes.
            assert connection.streams[calls[1]].received == world.size + 5
        await until(lambda: attack.in_flight() == 0)
        assert attack.api.server.answers.held == 0


async def test_a_connection_that_does_not_read_is_refused_further_calls_and_others_are_served(world: World) -> None:
    async with world.attacked(per_connection=3 * world.size) as attack, opened(attack.api.target, window=0) as idle:
        for _ in range(3):
            await attack.ask(idle)
        await until(lambda: attack.api.server.answers.held == 3 * world.size)

        refused = await attack.ask(idle)
        await idle.ended(refused)

        assert idle.streams[refused].received == 0
        assert attack.rejected() == 1
        async with opened(attack.api.target, window=MANY) as other:
            answered = await attack.ask(other)
            await other.allow(answered, MANY)
            await other.ended(answered)
        assert other.streams[answered].received == world.size + 5
        await until(lambda: attack.in_flight() == 3)


async def test_a_key_that_does_not_read_is_refused_on_all_connections_and_other_keys_are_served(world: World) -> None:
    keys = Keys(2)
    mine, another = keys.headers
    async with (
        world.attacked(keys, per_key=3 * world.size) as attack,
        opened(attack.api.target, window=0) as idle,
        opened(attack.api.target, window=MANY) as other,
    ):
        for _ in range(3):
            await attack.ask(idle, mine)
        await until(lambda: attack.api.server.answers.held == 3 * world.size)

        refused = await attack.ask(other, mine)
        await other.ended(refused)
        answered = await attack.ask(other, another)
        await other.allow(answered, MANY)
        await other.ended(answered)

        assert other.streams[refused].received == 0
        assert other.streams[answered].received == world.size + 5


async def test_finished_answers_wait_for_room(world: World) -> None:
    async with (
        world.attacked(per_connection=2 * world.size + 1) as attack,
        opened(attack.api.target, window=0) as connection,
    ):
        calls = [await attack.ask(connection) for _ in range(3)]
        await until(lambda: attack.api.server.answers.held == 2 * world.size)
        assert attack.in_flight() == 3

        for call in calls:
            await connection.allow(call, MANY)
        for call in calls:
            await connection.ended(call)

        assert {connection.streams[call].received for call in calls} == {world.size + 5}
        assert attack.rejected() == 0


async def test_an_answer_larger_than_the_limits_is_sent_when_there_is_no_other(world: World) -> None:
    async with world.attacked(per_connection=1, per_key=1, per_process=1) as attack:
        async with opened(attack.api.target, window=MANY) as connection:
            call = await attack.ask(connection)
            await connection.allow(call, MANY)
            await connection.ended(call)

        assert connection.streams[call].received == world.size + 5


@pytest.mark.parametrize("rpc", ["BatchGetContactMethods", "StreamContactMethods"])
async def test_an_answer_that_nobody_reads_is_given_up_and_its_connection_serves_on(world: World, rpc: str) -> None:
    async with (
        world.attacked(timeout=0.2) as attack,
        opened(attack.api.target, window=0) as connection,
    ):
        request = b"" if rpc == "StreamContactMethods" else attack.request
        call = await connection.call(SERVICE + rpc, request)

        await until(lambda: attack.api.server.answers.dropped == 1)
        await until(lambda: attack.in_flight() == 0)
        assert attack.api.server.answers.held == 0
        read = await attack.ask(connection)
        await connection.allow(read, MANY)
        await connection.ended(read)
        assert connection.streams[read].received == world.size + 5
        await connection.ended(call)
        assert connection.streams[call].received == 0
        assert not connection.closed


async def test_answers_that_nobody_reads_give_way_when_the_limit_of_the_process_is_reached(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("contactsvc.rpc.answers.PRESSED_TIMEOUT_SECONDS", 0.0)
    async with (
        world.attacked(per_process=2 * world.size) as attack,
        opened(attack.api.target, window=0) as idle,
        opened(attack.api.target, window=MANY) as other,
    ):
        for _ in range(2):
            await attack.ask(idle)
        await until(lambda: attack.api.server.answers.held == 2 * world.size)

        await other.ended(await attack.ask(other))
        await until(lambda: attack.api.server.answers.held == 0)
        answered = await attack.ask(other)
        await other.allow(answered, MANY)
        await other.ended(answered)

        assert other.streams[answered].received == world.size + 5
