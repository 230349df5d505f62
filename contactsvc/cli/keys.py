"""`contactsvc keys`: create, list, rotate and revoke API keys in the database, whether or not a service runs on it."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from contactsvc import config
from contactsvc.cli import exits, key_output, options, stdio
from contactsvc.domain.api_keys import ApiKey, Permission, new_key
from contactsvc.domain.clock import now_utc
from contactsvc.domain.kinds import Environment
from contactsvc.errors import ConfigurationError, StartupError

if TYPE_CHECKING:
    from contactsvc.store import MongoKeyStore

_MAX_NAME_LENGTH = 100
_DEFAULT_OVERLAP = "24h"

_output = click.option(
    "--output",
    metavar="FILE",
    type=options.FILE,
    help="Write the key to a new file with mode 0600 instead of standard output.",
)


@click.group()
def keys() -> None:
    """Create, list, rotate and revoke API keys."""


@keys.command()
@click.option("--name", required=True, help="Name for people, such as that of the service that will use the key.")
@options.environment("Environment that the key gives access to.")
@click.option(
    "--allow", required=True, metavar="LIST", help=f"Permissions, separated by commas: {', '.join(Permission)}."
)
@click.option("--expires-in", metavar="TIME", help="Lifetime in days or hours, such as 90d or 12h.  [never expires]")
@click.option(
    "--rate",
    metavar="N[/s]",
    help="Calls per second and worker with the key; 0 sets no limit.  [--max-rate-per-key of the service]",
)
@_output
@options.settings_of("keys")
def create(
    name: str,
    environment: str,
    allow: str,
    expires_in: str | None,
    rate: str | None,
    output: Path | None,
    **flags: str | None,
) -> None:
    """Create an API key and print it; it cannot be shown again.

    Once there is a key, calls without one are rejected: at once by a service that starts, within seconds by one that
    runs. To create records, `write` is enough; without `read`, responses contain only the ids of the new records. To
    change records, or to create primaries, a key needs `read` as well.
    """
    with exits.exit_codes():
        settings, permissions = config.load(flags, os.environ), _permissions(allow)
        now = now_utc()
        key, text = new_key(
            name=_name(name),
            environment=Environment(environment),
            permissions=permissions,
            now=now,
            expires_at=None if expires_in is None else now + _duration("--expires-in", expires_in, at_least=1),
            rate=None if rate is None else _rate(rate),
        )
        with key_output.written_to(output, text):
            asyncio.run(_add(settings, key))
        lifetime = "never expires" if key.expires_at is None else f"expires at {_time(key.expires_at)}"
        _announce(f"created key {key.id}, which {lifetime}", output)
        if output is None:
            key_output.print_key(
                text,
                lambda: asyncio.run(_revoke(settings, key.id)),
                undone=f"revoked key {key.id}",
                otherwise=f"run `contactsvc keys revoke {key.id}`",
            )


@keys.command("list")
@options.settings_of("keys")
def list_keys(**flags: str | None) -> None:
    """List all API keys, without their secrets.

    RATE is that of the key in calls per second and worker, `-` for that of the service. OLD SECRET is the time at which
    the secret before a rotation stops, `-` if there is none or it has stopped.
    """
    with exits.exit_codes():
        settings = config.load(flags, os.environ)
        row = "{:<12}  {:<8}  {:<11}  {:<23}  {:<7}  {:<20}  {:<20}  {}".format
        stdio.print_line(row("ID", "STATE", "ENVIRONMENT", "ALLOWS", "RATE", "EXPIRES", "OLD SECRET", "NAME"))
        now = now_utc()
        for key in asyncio.run(_all(settings)):
            state, allows = key.state(now), ",".join(sorted(key.permissions))
            rate = "-" if key.rate is None else f"{key.rate:g}/s" if key.rate else "none"
            expires = "never" if key.expires_at is None else _time(key.expires_at)
            overlap = key.previous_until if key.overlaps(now) and state == "active" else None
            old_secret = "-" if overlap is None else _time(overlap)
            stdio.print_line(row(key.id, state, key.environment, allows, rate, expires, old_secret, key.name))


@keys.command()
@click.argument("key_id", metavar="ID")
@click.option(
    "--overlap",
    metavar="TIME",
    default=_DEFAULT_OVERLAP,
    show_default=True,
    help="Time in days or hours for which the present secret keeps working; 0h stops all older secrets at once.",
)
@_output
@options.settings_of("keys")
def rotate(key_id: str, overlap: str, output: Path | None, **flags: str | None) -> None:
    """Give the API key with this id a new secret, and print the new key; it cannot be shown again.

    The present key keeps working for the time of the overlap and then stops by itself. The id stays the same, and with
    it everything that belongs to the key.
    """
    with exits.exit_codes():
        settings, duration = config.load(flags, os.environ), _duration("--overlap", overlap, at_least=0)
        before, after, text = asyncio.run(_rotate(settings, key_id, duration, output))
        until = f"works until {_time(after.previous_until)}" if after.previous_until else "stops within 30 seconds"
        _announce(f"rotated key {key_id}; the previous one {until}", output)
        if output is None:
            key_output.print_key(
                text,
                lambda: asyncio.run(_undo_rotation(settings, after, before)),
                undone=f"key {key_id} has its previous secret again",
                otherwise=f"run `contactsvc keys rotate {key_id} --overlap 0h`",
            )


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


async def _rotate(
    settings: config.Settings, key_id: str, overlap: timedelta, output: Path | None
) -> tuple[ApiKey, ApiKey, str]:
    """Return the key before and after its rotation, and the text of the new one, which is in the output file if any."""
    async with _key_store(settings, create=False) as store:
        now = now_utc()
        before = next((key for key in await store.all() if key.id == key_id), None)
        if before is None:
            raise _unknown(key_id)
        if (state := before.state(now)) != "active":
            raise StartupError(f"key {key_id} is {state}; create a new one with `contactsvc keys create`")
        if overlap and before.overlaps(now) and before.previous_until is not None:
            raise StartupError(
                f"key {key_id} has been rotated, and its previous secret works until {_time(before.previous_until)}; "
                "wait until then, or stop both secrets now with --overlap 0h"
            )
        after, text = before.rotated(now, overlap)
        with key_output.written_to(output, text):
            if not await store.rotate(before, after):
                raise StartupError(f"key {key_id} has been rotated or revoked meanwhile; nothing was changed")
        return before, after, text


async def _undo_rotation(settings: config.Settings, after: ApiKey, before: ApiKey) -> None:
    async with _key_store(settings, create=False) as store:
        if not await store.rotate(after, before):
            raise StartupError(f"key {after.id} has been rotated or revoked meanwhile")


async def _revoke(settings: config.Settings, key_id: str) -> None:
    async with _key_store(settings, create=False) as store:
        if not await store.revoke(key_id, now_utc()):
            raise _unknown(key_id)


@asynccontextmanager
async def _key_store(settings: config.Settings, *, create: bool) -> AsyncIterator[MongoKeyStore]:
    """Yield the key store of the database that the settings name; `create` an embedded database that does not exist."""
    # Imported late: --help and a wrong flag need not wait for the drivers.
    from contactsvc.runtime.database import connected

    async with connected(settings, create=create) as deployment:
        yield deployment.key_store(f"{settings.database}_keys")


def _announce(done: str, output: Path | None) -> None:
    where = (
        "store the key below in a safe place, it cannot be shown again"
        if output is None
        else f"{output} has the key, which cannot be shown again"
    )
    click.echo(f"{done}; {where}", err=True)


def _name(raw: str) -> str:
    # Imported late: --help and a wrong flag need not wait for the numbering plans.
    from contactsvc.domain.normalization import trim

    name = trim(raw)
    if not 1 <= len(name) <= _MAX_NAME_LENGTH or not name.isprintable():
        raise ConfigurationError(
            f"--name must have 1 to {_MAX_NAME_LENGTH} printable characters, and not only blank or invisible ones"
        )
    return name


def _permissions(raw: str) -> frozenset[Permission]:
    try:
        return frozenset(Permission(name.strip()) for name in raw.split(","))
    except ValueError:
        raise ConfigurationError(
            f"--allow must be one or more of {', '.join(Permission)}, separated by commas"
        ) from None


def _rate(raw: str) -> float:
    try:
        return config.parse_rate(raw)
    except ValueError as error:
        raise ConfigurationError(f"--rate {error}") from None


def _duration(flag: str, raw: str, *, at_least: int) -> timedelta:
    """Return a duration in days or hours; raise ConfigurationError, which names the flag."""
    match = re.fullmatch(r"(0|[1-9][0-9]{0,4})([dh])", raw)
    if not match or int(match[1]) < at_least:
        raise ConfigurationError(f"{flag} must be a number of days or hours, such as 90d or 12h")
    number = int(match[1])
    return timedelta(days=number) if match[2] == "d" else timedelta(hours=number)


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _unknown(key_id: str) -> StartupError:
    return StartupError(f"there is no key {key_id}; list the keys with `contactsvc keys list`")
