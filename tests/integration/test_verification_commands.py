"""The database commands of verifications: at most two for each call, beside those of the daily limits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from contactsvc import store
from contactsvc.domain.kinds import Environment
from contactsvc.runtime.secrets import SecretRing
from tests.conftest import Api, failure_of, serving
from tests.integration.transfer_world import World
from tests.verifier import VERIFIED, Clock, Verifier, other_than

# Beside the two of a write: one for the value, one for the client.
COUNTS = ["update", "update"]


@dataclass
class Commands:
    """Receives the commands of a driver. Thread-safe."""

    names: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def command_ended(self, command: str, *, ok: bool, seconds: float) -> None:
        with self.lock:
            self.names.append(command)

    def connections_changed(self, state: str, by: int) -> None:
        """Do nothing."""

    def taken(self) -> list[str]:
        """Return the commands since the last call."""
        with self.lock:
            names, self.names = self.names, []
        return sorted(names)


@dataclass(frozen=True)
class Watched:
    """A server on a deployment whose commands are listened to."""

    calls: Verifier
    commands: Commands

    @property
    def api(self) -> Api:
        """The server."""
        return self.calls.api


@pytest.fixture(params=["motor", "pymongo"])
async def watched(request: pytest.FixtureRequest, embedded_uri: str) -> AsyncIterator[Watched]:
    commands, clock, name = Commands(), Clock(), World.new_name()
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
        assert watched.commands.taken() == sorted(["find", "update", *COUNTS])


@pytest.mark.parametrize("request_id", ["", "r"])
async def test_a_check_takes_two_commands(watched: Watched, request_id: str) -> None:
    record = await watched.api.create()
    code = (await watched.calls.start(record)).code
    watched.commands.taken()
    await watched.calls.check(record, other_than(code), request_id=request_id and "wrong")
    assert watched.commands.taken() == ["find", "update"]
    assert (await watched.calls.check(record, code, request_id=request_id and "right")).result == VERIFIED
    assert watched.commands.taken() == ["find", "update"]
    # It changes nothing, and at most its request is remembered.
    await watched.calls.check(record, code, request_id=request_id and "again")
    assert watched.commands.taken() == ["find", *(["insert"] if request_id else [])]


async def test_a_set_takes_two_commands(watched: Watched) -> None:
    record = await watched.api.create()
    watched.commands.taken()
    await watched.calls.set(record, True)
    assert watched.commands.taken() == ["find", "update"]
    await watched.calls.set(record, True)
    assert watched.commands.taken() == ["find"]


async def test_a_refused_start_and_a_refused_check_take_no_write(watched: Watched) -> None:
    record = await watched.api.create()
    await failure_of(watched.calls.check(record, "123456"))
    watched.commands.taken()
    await failure_of(watched.calls.check(record, "123456"))
    assert watched.commands.taken() == ["find"]
    for _ in range(5):
        await watched.calls.start(record)
    watched.commands.taken()
    await failure_of(watched.calls.start(record))
    assert watched.commands.taken() == ["find"]


async def test_a_create_and_a_get_take_one_command(watched: Watched) -> None:
    record = await watched.api.create()
    watched.commands.taken()
    verified = await watched.calls.check(record, (await watched.calls.start(record)).code)
    watched.commands.taken()
    await watched.api.get(verified.contact_method.id)
    assert watched.commands.taken() == ["find"]
    await watched.api.create()
    assert watched.commands.taken() == ["insert"]


async def test_checks_at_once_take_turns_and_no_command_more(watched: Watched) -> None:
    record = await watched.api.create()
    code = (await watched.calls.start(record)).code
    watched.commands.taken()
    await asyncio.gather(*(watched.calls.check(record, other_than(code)) for _ in range(5)))

    assert len(watched.commands.taken()) == 10
