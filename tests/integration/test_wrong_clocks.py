"""Replicas whose clocks are wrong: requests are kept for 24 hours of the database's time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from contactsvc.domain.clock import now_utc
from contactsvc.domain.kinds import Environment
from contactsvc.store import Deployment
from contactsvc.store.database_clock import DatabaseClock
from tests.conftest import Api, failure_of, serving
from tests.integration.transfer_world import World


@asynccontextmanager
async def replica(deployment: Deployment, name: str, ahead: timedelta) -> AsyncIterator[Api]:
    """Start a service on a machine whose clock is wrong."""
    clock = DatabaseClock(lambda: now_utc() + ahead)
    there = replace(deployment, clock=clock)
    await there.ping()
    stores = {environment: await there.open_store(f"{name}_{environment}") for environment in Environment}
    async with serving(stores, clock=clock) as api:
        yield api


@pytest.mark.parametrize("ahead", [timedelta(hours=25), timedelta(hours=-25)], ids=["ahead", "behind"])
async def test_a_replica_with_a_wrong_clock_forgets_no_requests(deployment: Deployment, ahead: timedelta) -> None:
    name = World.new_name()
    async with replica(deployment, name, timedelta(0)) as right:
        inside = await right.create("client_1", "a@example.com", request_id="inside")
        batch = {"client_id": "client_1", "value": "b@example.com", "request_id": "reused"}
        await right.create(**batch)

        async with replica(deployment, name, ahead) as wrong:
            again = await wrong.create("client_1", "a@example.com", request_id="inside")
            reused = await failure_of(wrong.create("client_1", "c@example.com", request_id="reused"))
            theirs = await wrong.create("client_1", "d@example.com", request_id="theirs")

        assert await right.create("client_1", "d@example.com", request_id="theirs") == theirs
        assert again == inside
        assert reused.reason == "REQUEST_ID_REUSED"
        assert abs((theirs.created_at.ToDatetime() - inside.created_at.ToDatetime()).total_seconds()) < 3600
