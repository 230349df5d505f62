"""`contactsvc secrets`: rotates the secrets that verification codes are derived from."""

from __future__ import annotations

import asyncio
import os

import click

from contactsvc import config
from contactsvc.cli import exits, options, stdio
from contactsvc.domain.kinds import Environment
from contactsvc.domain.verification import SECRET_READ_INTERVAL, SECRET_TIME_BEFORE_USE
from contactsvc.errors import ConfigurationError


@click.group()
def secrets() -> None:
    """Rotate the secrets that verification codes are derived from."""


@secrets.command()
@click.option(
    "--environment",
    type=click.Choice([environment.value for environment in Environment]),
    help="Environment whose secret to rotate.  [all]",
)
@options.settings_of("secrets")
def rotate(environment: str | None, **flags: str | None) -> None:
    """Replace the secrets that verification codes are derived from.

    Every running service uses the new one within 75 seconds, without a restart. Codes that were sent before remain
    valid: the previous secret is kept for them, and deleted after 25 hours. Nothing secret is printed.

    With --verification-secret-file the secrets are lines of that file, and this command changes nothing.
    """
    with exits.exit_codes():
        settings = config.load(flags, os.environ)
        if settings.verification_secret_file is not None:
            raise ConfigurationError(
                f"the secrets are the lines of {settings.verification_secret_file}, which this command does not "
                "change: append a new line to the file on every replica, move it to the top after 15 seconds, and "
                "remove the old one a day later"
            )
        environments = list(Environment) if environment is None else [Environment(environment)]
        within = (SECRET_TIME_BEFORE_USE + SECRET_READ_INTERVAL).total_seconds()
        asyncio.run(_rotate(settings, environments))
        for rotated in environments:
            stdio.print_line(
                f"rotated the verification secret of {rotated}; services use the new one within {within:.0f} seconds"
            )


async def _rotate(settings: config.Settings, environments: list[Environment]) -> None:
    # Imported late: --help and a wrong flag need not wait for the drivers.
    from contactsvc.runtime.database import connected

    async with connected(settings) as deployment:
        store = deployment.secret_store(f"{settings.database}_keys")
        for environment in environments:
            await store.rotate(environment, deployment.clock())
