"""Coalescing stores of special kinds, as the service opens its own."""

from __future__ import annotations

from typing import Any, TypeVar

from contactsvc.store import COLLECTION, Deployment
from contactsvc.store.coalescing.store import CoalescingStore
from contactsvc.store.point_reads import PointReads
from contactsvc.store.transactions import KeyLocks

S = TypeVar("S", bound=CoalescingStore)


async def open_as(kind: type[S], deployment: Deployment, database: str, **options: Any) -> S:
    """Open the store of a kind in a database, with locks of its own; creates the indexes."""
    await deployment.open_store(database)
    return kind(
        deployment.driver.database(database)[COLLECTION],
        deployment.driver,
        KeyLocks(),
        PointReads(deployment.driver.reads(database), COLLECTION),
        **options,
    )
