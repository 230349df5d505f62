"""API keys as operators handle them: made, listed and revoked, also beside a running service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from contactsvc.config import Settings
from contactsvc.domain.api_keys import ApiKey, Permission, new_key
from contactsvc.domain.clock import now_utc
from contactsvc.domain.kinds import Environment
from contactsvc.errors import StartupError
from contactsvc.runtime.database import connected
from contactsvc.store import MongoKeyStore


async def create_key(
    settings: Settings,
    *,
    name: str,
    environment: Environment,
    permissions: frozenset[Permission],
    lifetime: timedelta | None,
) -> tuple[ApiKey, str]:
    """Make a key and return it with the text that callers send, which nobody can show again."""
    now = now_utc()
    key, text = new_key(
        name=name,
        environment=environment,
        permissions=permissions,
        now=now,
        expires_at=None if lifetime is None else now + lifetime,
    )
    async with _key_store(settings, create=True) as keys:
        await keys.add(key)
    return key, text


async def list_keys(settings: Settings) -> list[tuple[ApiKey, str]]:
    """Return all keys, the oldest first, with their states."""
    async with _key_store(settings, create=False) as keys:
        return [(key, key.state(now_utc())) for key in await keys.all()]


async def revoke_key(settings: Settings, id_: str) -> None:
    """Revoke a key; services notice within 30 s.

    Raises:
        StartupError: there is no such key.
    """
    async with _key_store(settings, create=False) as keys:
        if not await keys.revoke(id_, now_utc()):
            raise StartupError(f"there is no key {id_}; `contactsvc keys list` shows them all")


@asynccontextmanager
async def _key_store(settings: Settings, *, create: bool) -> AsyncIterator[MongoKeyStore]:
    """Yield the keys of the database that the settings name, also while a service runs on it."""
    async with connected(settings, create=create) as deployment:
        yield deployment.key_store(f"{settings.database}_keys")
