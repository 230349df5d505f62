"""The database that the settings name, for commands that work beside a running service as well as without one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from contactsvc import store
from contactsvc.config import Settings
from contactsvc.runtime import embedded


@asynccontextmanager
async def connected(settings: Settings, *, create: bool = False) -> AsyncIterator[store.Deployment]:
    """Yield the deployment, until the end of the block.

    Args:
        settings: which one.
        create: make an embedded database that is not there; otherwise that is an error.

    Raises:
        ConfigurationError: the URI is none.
        StartupError: there is nothing to reach, or it does not answer.
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
