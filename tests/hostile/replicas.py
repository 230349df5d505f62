"""Several services on one database: each with connections, stores and locks of its own, as on several machines."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from contactsvc import store
from contactsvc.domain.change_set import ChangeSet
from contactsvc.domain.kinds import Environment
from contactsvc.domain.verification import VerificationSecrets, new_secret
from contactsvc.store import MongoStore
from contactsvc.store.coalescing.store import CoalescingStore
from tests.conftest import DRIVER, serving
from tests.special_stores import open_as
from tests.verifier import Clock, Verifier


class HoldingStore(CoalescingStore):
    """A store that can hold its next write until it is released.

    Attributes:
        reached: set once a held write is about to begin.
        released: set to let it go on; None when nothing is held.
    """

    reached: asyncio.Event
    released: asyncio.Event | None = None

    def hold_next(self) -> None:
        """Hold the next write."""
        self.reached, self.released = asyncio.Event(), asyncio.Event()

    async def write(self, change_set: ChangeSet) -> None:
        """Store a change set, once released."""
        if self.released is not None and not self.reached.is_set():
            self.reached.set()
            await self.released.wait()
        await super().write(change_set)


async def holding_stores(deployment: store.Deployment, prefix: str) -> dict[Environment, MongoStore]:
    """Open the stores of a service."""
    stores: dict[Environment, MongoStore] = {}
    for environment in Environment:
        stores[environment] = await open_as(HoldingStore, deployment, f"{prefix}_{environment}")
    return stores


@asynccontextmanager
async def replicas(uri: str, count: int = 2) -> AsyncIterator[list[Verifier]]:
    """Run services on one fresh database, with the same clock and secrets; yield callers of each."""
    prefix, clock = f"test_{uuid.uuid4().hex[:12]}", Clock()
    secrets = VerificationSecrets.of(new_secret())
    async with AsyncExitStack() as stack:
        callers = []
        for _ in range(count):
            deployment = await store.connect(uri, DRIVER)
            stack.push_async_callback(deployment.close)
            stores = await holding_stores(deployment, prefix)
            api = await stack.enter_async_context(
                serving(stores, clock=clock, secrets=dict.fromkeys(Environment, lambda: secrets))
            )
            callers.append(Verifier(api, clock))
        yield callers


def store_of(verifier: Verifier) -> HoldingStore:
    """Return the live store of a service."""
    live = verifier.api.stores[Environment.LIVE]
    assert isinstance(live, HoldingStore)
    return live
