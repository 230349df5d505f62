"""The database commands of verifications: at most two for each call, beside those of the daily limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from contactsvc import store
from contactsvc.domain.kinds import Environment
from contactsvc.runtime.secrets import SecretRing
from tests.conftest import Api, failure_of, serving
from tests.integration.sent_commands import SentCommands
from tests.integration.transfer_world import World
from tests.verifier import VERIFIED, Clock, Verifier, other_than

# Beside the two of a write: one for the value, one for the client.
COUNTS = ["update", "update"]


@dataclass(frozen=True)
class Watched:
    """A server on a deployment whose commands are listened to."""

    calls: Verifier
    commands: SentCommands

    @property
    def api(self) -> Api:
        """The server."""
        return self.calls.api


@pytest.fixture(params=["motor", "pymongo"])
async def watched(request: pytest.FixtureRequest, embedded_uri: str) -> AsyncIterator[Watched]:
    commands, clock, name = SentCommands(), Clock(), World.new_name()
    deployment = await store.connect(embedded_uri, request.param, commands)
    try:
        ring = SecretRing(deployment.secret_store(f"{name}_keys"), None, clock=clock)
        await ring.read()
        stores = {environment: await deployment.open_store(f"{name}_{environment}") for environment in Environment}
        secrets = {environment: ring.of(environment) for environment in Environment}
        async with serving(stores, clock=clock, secrets=secrets) as api:
            yield Watched(Verifier(api, clock), commands)
    finally:
        await deployment.close()


@pytest.mark.parametrize("request_id", ["", "r"])
async def test_a_start_takes_two_commands_and_those_of_the_limits(watched: Watched, request_id: str) -> None:
    record = await watched.api.create()
    watched.commands.taken()
    for number in range(2):
        await watched.calls.start(record, request_id=request_id and f"{request_id}{number}")
        assert sorted(watched.commands.taken()) == sorted(["find", "update", *COUNTS])


@pytest.mark.parametrize("request_id", ["", "r"])
async def test_a_check_takes_two_commands(watched: Watched, request_id: str) -> None:
    record = await watched.api.create()
    code = (await watched.calls.start(record)).code
    watched.commands.taken()
    await watched.calls.check(record, other_than(code), request_id=request_id and "wrong")
    assert sorted(watched.commands.taken()) == ["find", "update"]
    assert (await watched.calls.check(record, code, request_id=request_id and "right")).result == VERIFIED
    assert sorted(watched.commands.taken()) == ["find", "update"]
    # It changes nothing, and at most its request is remembered.
    await watched.calls.check(record, code, request_id=request_id and "again")
    assert sorted(watched.commands.taken()) == ["find", *(["insert"] if request_id else [])]


async def test_a_set_takes_two_commands(watched: Watched) -> None:
    record = await watched.api.create()
    watched.commands.taken()
    await watched.calls.set(record, True)
    assert sorted(watched.commands.taken()) == ["find", "update"]
    await watched.calls.set(record, True)
    assert sorted(watched.commands.taken()) == ["find"]


async def test_a_refused_start_and_a_refused_check_take_no_write(watched: Watched) -> None:
    record = await watched.api.create()
    await failure_of(watched.calls.check(record, "123456"))
    watched.commands.taken()
    await failure_of(watched.calls.check(record, "123456"))
    assert sorted(watched.commands.taken()) == ["find"]
    for _ in range(5):
        await watched.calls.start(record)
    watched.commands.taken()
    await failure_of(watched.calls.start(record))
    assert sorted(watched.commands.taken()) == ["find"]


async def test_a_create_and_a_get_take_one_command(watched: Watched) -> None:
    record = await watched.api.create()
    watched.commands.taken()
    verified = await watched.calls.check(record, (await watched.calls.start(record)).code)
    watched.commands.taken()
    await watched.api.get(verified.contact_method.id)
    assert sorted(watched.commands.taken()) == ["find"]
    await watched.api.create()
    assert sorted(watched.commands.taken()) == ["insert"]


async def test_checks_at_once_take_turns_and_no_command_more(watched: Watched) -> None:
    record = await watched.api.create()
    code = (await watched.calls.start(record)).code
    watched.commands.taken()
    await asyncio.gather(*(watched.calls.check(record, other_than(code)) for _ in range(5)))

    assert len(watched.commands.taken()) == 10
