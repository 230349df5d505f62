"""Promotions: the commands that they need, and what they do when another write is faster."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from contactsvc import store
from contactsvc.domain.kinds import Environment
from contactsvc.errors import EtagMismatch
from contactsvc.service.ports import LostRace, Store
from contactsvc.store import MongoStore
from contactsvc.store.coalescing.store import CoalescingStore
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import DRIVER, Api, serving
from tests.integration.sent_commands import SentCommands
from tests.special_stores import open_as


class InterruptedStore(CoalescingStore):
    """A store in which something happens once between what a write reads and its transaction."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def atomically(self, work: Any, **arguments: Any) -> Any:
        if (meanwhile := self.meanwhile) is not None:
            self.meanwhile = None
            await meanwhile()
        return await super().atomically(work, **arguments)


@asynccontextmanager
async def served(uri: str) -> AsyncIterator[tuple[Api, InterruptedStore, SentCommands]]:
    """Serve such a store in a fresh database."""
    prefix, commands = f"test_{uuid.uuid4().hex[:12]}", SentCommands()
    deployment = await store.connect(uri, DRIVER, commands)
    try:
        stores: dict[Environment, MongoStore] = {
            environment: await deployment.open_store(f"{prefix}_{environment}") for environment in Environment
        }
        live = await open_as(InterruptedStore, deployment, f"{prefix}_live", reports_each_write=True)
        async with serving({**stores, Environment.LIVE: live}) as api:
            yield api, live, commands
    finally:
        await deployment.close()


async def promote(api: Api, id_: str) -> pb.UpdateContactMethodResponse:
    response: pb.UpdateContactMethodResponse = await api.stub.UpdateContactMethod(
        pb.UpdateContactMethodRequest(id=id_, is_primary=True)
    )
    return response


async def primaries(api: Api) -> list[str]:
    found = await api.stub.ListClientContactMethods(pb.ListClientContactMethodsRequest(client_id="client_1"))
    return [record.id for record in found.contact_methods if record.is_primary]


async def test_a_promotion_takes_four_commands(embedded_uri: str) -> None:
    async with served(embedded_uri) as (api, _, commands):
        first = await api.create(is_primary=True)
        second = await api.create(value="second@example.com")
        commands.taken()

        promoted = await promote(api, second.id)

        assert commands.taken() == ["find", "find", "update", "commitTransaction"]
        assert list(promoted.demoted_ids) == [first.id]
        assert await primaries(api) == [second.id]


async def test_a_promotion_keeps_what_changed_between_its_reads_and_its_transaction(embedded_uri: str) -> None:
    async with served(embedded_uri) as (api, live, _):
        first = await api.create(is_primary=True)
        second = await api.create(value="second@example.com")
        third = await api.create(value="third@example.com")

        async def others() -> None:
            await api.stub.UpdateContactMethod(pb.UpdateContactMethodRequest(id=second.id, label="changed"))
            await promote(api, third.id)

        live.meanwhile = others
        promoted = await promote(api, second.id)

        assert promoted.contact_method.label == "changed"
        assert list(promoted.demoted_ids) == [third.id]
        assert await primaries(api) == [second.id]
        assert not (await api.get(first.id)).is_primary


@pytest.mark.parametrize("changed", ["promoted", "demoted"])
async def test_a_promotion_takes_back_no_change_made_between_its_reads_and_its_transaction(
    embedded_uri: str, changed: str
) -> None:
    async with served(embedded_uri) as (api, live, _):
        ids = {
            "demoted": (await api.create(is_primary=True)).id,
            "promoted": (await api.create(value="second@example.com")).id,
        }

        async def others() -> None:
            await api.stub.UpdateContactMethod(pb.UpdateContactMethodRequest(id=ids[changed], label="changed"))

        live.meanwhile = others
        await promote(api, ids["promoted"])

        assert (await api.get(ids[changed])).label == "changed"
        assert await primaries(api) == [ids["promoted"]]


async def test_what_was_prepared_is_written_only_by_a_call_that_did_not_wait(embedded_uri: str) -> None:
    async with served(embedded_uri) as (_, live, _):
        ran: list[str] = []

        async def work(_: Store) -> None:
            ran.append("work")

        async def prepared(_: Store) -> None:
            ran.append("prepared")

        async def prepared_in_vain(_: Store) -> None:
            ran.append("prepared in vain")
            raise LostRace(EtagMismatch())

        await live.atomically(work, keys={"slot"}, prepared=prepared)
        await live.atomically(work, keys={"slot"}, prepared=prepared_in_vain)
        async with live.exclusively({"slot"}):
            waiting = asyncio.create_task(live.atomically(work, keys={"slot"}, prepared=prepared))
            # It runs until it waits for the lock.
            await asyncio.sleep(0)
        await waiting

        assert ran == ["prepared", "prepared in vain", "work", "work"]
