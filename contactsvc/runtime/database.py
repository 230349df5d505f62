"""Connection of a command to the configured database, with or without a running service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from contactsvc import store
from contactsvc.config import Settings
from contactsvc.runtime import embedded


@asynccontextmanager
async def connected(settings: Settings, *, create: bool = False) -> AsyncIterator[store.Deployment]:
    """Yield a connected deployment; close it after the block.

    Args:
        settings: name the database.
        create: create a missing embedded database; otherwise that is an error.

    Raises:
        ConfigurationError: the URI is invalid.
        StartupError: there is no such database, or it does not answer.
    """
    async with _uri(settings, create=create) as uri:
        deployment = await store.connect(uri, settings.driver)
        try:
            yield deployment
        finally:
            await deployment.close()


@asynccontextmanager
async def _uri(settings: Settings, *, create: bool) -> AsyncIterator[str]:
    if settings.mongodb_uri is not None:
        yield settings.mongodb_uri
        return
    async with embedded.reached(settings.data_dir.absolute(), create=create) as uri:
        yield uri
