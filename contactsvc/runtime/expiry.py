"""Removal of expired documents from the embedded database, which has no index that does so."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection

from contactsvc.domain.clock import Clock
from contactsvc.errors import ContactsvcError
from contactsvc.store import MongoStore

_INTERVAL_SECONDS = 3600.0

_log = logging.getLogger(__name__)


async def remove_expired(
    stores: Collection[MongoStore], clock: Clock, *, interval_seconds: float = _INTERVAL_SECONDS
) -> None:
    """Remove expired idempotency documents, and counts of verification codes, at intervals, until cancelled."""
    while True:
        await asyncio.sleep(interval_seconds)
        for store in stores:
            try:
                await store.remove_expired(clock())
            except ContactsvcError as error:
                _log.warning("cannot remove expired documents (%s); trying again later", error.reason)
            except Exception as error:
                _log.error("cannot remove expired documents; trying again later", exc_info=error)
