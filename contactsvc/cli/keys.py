"""`contactsvc keys`: create, list and revoke API keys in the database, whether or not a service runs on it."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from contactsvc import config
from contactsvc.cli import exits, options, stdio
from contactsvc.domain.api_keys import ApiKey, Permission, new_key
from contactsvc.domain.clock import now_utc
from contactsvc.domain.kinds import Environment
from contactsvc.errors import ConfigurationError, ContactsvcError, StartupError

if TYPE_CHECKING:
    from contactsvc.store import MongoKeyStore

_MAX_NAME_LENGTH = 100


@click.group()
def keys() -> None:
    """Create, list and revoke API keys."""


@keys.command()
@click.option("--name", required=True, help="Name for people, such as that of the service that will use the key.")
@options.environment("Environment that the key gives access to.")
@click.option(
    "--allow", required=True, metavar="LIST", help=f"Permissions, separated by commas: {', '.join(Permission)}."
)
@click.option("--expires-in", metavar="TIME", help="Lifetime in days or hours, such as 90d or 12h.  [never expires]")
@options.settings_of("keys")
def create(name: str, environment: str, allow: str, expires_in: str | None, **flags: str | None) -> None:
    """Create an API key and print it; it cannot be shown again.

    Once there is a key, calls without one are rejected: at once by a service that starts, within seconds by one that
    runs. To create records, `write` is enough; to change them a key needs `read` as well, since the response contains
    the record.
    """
    with exits.exit_codes():
        settings, permissions = config.load(flags, os.environ), _permissions(allow)
        if not 1 <= len(name) <= _MAX_NAME_LENGTH or not name.isprintable():
            raise ConfigurationError(f"--name must have 1 to {_MAX_NAME_LENGTH} printable characters")
        now = now_utc()
        key, text = new_key(
            name=name,
            environment=Environment(environment),
            permissions=permissions,
            now=now,
            expires_at=None if expires_in is None else now + _lifetime(expires_in),
        )
        asyncio.run(_add(settings, key))
        click.echo(f"created key {key.id}; store the key below in a safe place, it cannot be shown again", err=True)
        try:
            stdio.print_line(text)
        except stdio.NotPrinted as error:
            # The key was never seen: revoke it rather than leave it valid.
            try:
                asyncio.run(_revoke(settings, key.id))
            except (StartupError, ContactsvcError) as failure:
                raise StartupError(
                    f"{error}, so the key is lost, and revoking it failed ({failure}); run "
                    f"`contactsvc keys revoke {key.id}`"
                ) from error
            raise StartupError(f"{error}, so the key is lost; revoked key {key.id}") from error


@keys.command("list")
@options.settings_of("keys")
def list_keys(**flags: str | None) -> None:
    """List all API keys, without their secrets."""
    with exits.exit_codes():
        settings = config.load(flags, os.environ)
        row = "{:<12}  {:<8}  {:<11}  {:<23}  {:<20}  {}".format
        stdio.print_line(row("ID", "STATE", "ENVIRONMENT", "ALLOWS", "EXPIRES", "NAME"))
        for key in asyncio.run(_all(settings)):
            state, allows = key.state(now_utc()), ",".join(sorted(key.permissions))
            expires = "never" if key.expires_at is None else f"{key.expires_at:%Y-%m-%dT%H:%M:%SZ}"
            stdio.print_line(row(key.id, state, key.environment, allows, expires, key.name))


@keys.command()
@click.argument("key_id", metavar="ID")
@options.settings_of("keys")
def revoke(key_id: str, **flags: str | None) -> None:
    """Revoke the API key with this id. Services reject it within 30 seconds."""
    with exits.exit_codes():
        asyncio.run(_revoke(config.load(flags, os.environ), key_id))
        stdio.print_line(f"revoked key {key_id}; services reject it within 30 seconds")


async def _add(settings: config.Settings, key: ApiKey) -> None:
    async with _key_store(settings, create=True) as store:
        await store.add(key)


async def _all(settings: config.Settings) -> list[ApiKey]:
    """Return all keys, oldest first."""
    async with _key_store(settings, create=False) as store:
        return await store.all()


async def _revoke(settings: config.Settings, key_id: str) -> None:
    async with _key_store(settings, create=False) as store:
        if not await store.revoke(key_id, now_utc()):
            raise StartupError(f"there is no key {key_id}; list the keys with `contactsvc keys list`")


@asynccontextmanager
async def _key_store(settings: config.Settings, *, create: bool) -> AsyncIterator[MongoKeyStore]:
    """Yield the key store of the database that the settings name; `create` an embedded database that does not exist."""
    # Imported late: --help and a wrong flag need not wait for the drivers.
    from contactsvc.runtime.database import connected

    async with connected(settings, create=create) as deployment:
        yield deployment.key_store(f"{settings.database}_keys")


def _permissions(raw: str) -> frozenset[Permission]:
    try:
        return frozenset(Permission(name.strip()) for name in raw.split(","))
    except ValueError:
        raise ConfigurationError(
            f"--allow must be one or more of {', '.join(Permission)}, separated by commas"
        ) from None


def _lifetime(raw: str) -> timedelta:
    match = re.fullmatch(r"([1-9][0-9]{0,4})([dh])", raw)
    if not match:
        raise ConfigurationError("--expires-in must be a number of days or hours, such as 90d or 12h")
    number = int(match[1])
    return timedelta(days=number) if match[2] == "d" else timedelta(hours=number)
