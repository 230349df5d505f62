"""The embedded database forgets what has expired while a service runs."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

from contactsvc.runtime.expiry import remove_expired
from contactsvc.store import COLLECTION, Deployment
from tests.integration.stored import NOON, remembered_request
from tests.integration.transfer_world import World


async def test_expired_counts_and_requests_are_removed_again_and_again(deployment: Deployment) -> None:
    name = World.new_name()
    store, database, now = await deployment.open_store(name), deployment.driver.database(name), NOON

    async def present() -> set[str]:
        found = [await database[name].find({}).to_list(length=None) for name in await database.list_collection_names()]
        return {str(document["_id"]) for documents in found for document in documents}

    await store.count_within(["expiring"], 10, expires_at=now)
    await store.count_within(["later"], 10, expires_at=now + timedelta(hours=1))
    await database[COLLECTION].insert_one(remembered_request("request", now))
    before = await present()
    removal = asyncio.create_task(remove_expired([store], lambda: now, interval_seconds=0))
    now += timedelta(seconds=1)
    while {"expiring", "request"} & await present():
        pass
    left = await present()
    now += timedelta(hours=1)
    while "later" in await present():
        pass
    removal.cancel()
    with suppress(asyncio.CancelledError):
        await removal

    assert before == {"expiring", "later", "request"}
    assert left == {"later"}
