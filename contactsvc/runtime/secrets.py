"""The verification secrets that a process uses: from the database or a file, read again at intervals."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from contactsvc.domain.clock import Clock
from contactsvc.domain.kinds import Environment
from contactsvc.domain.verification import SECRET_READ_INTERVAL, VerificationSecrets, secrets_of_text
from contactsvc.errors import ConfigurationError, ContactsvcError, StartupError
from contactsvc.store import MongoSecretStore

_log = logging.getLogger(__name__)


class SecretRing:
    """The secrets of all environments, as they were read last.

    Args:
        store: where they are, unless there is a file.
        file: holds them instead.
        clock: the time of the database.
        interval: the time between two readings of `keep_fresh`.
    """

    def __init__(
        self,
        store: MongoSecretStore,
        file: Path | None,
        *,
        clock: Clock,
        interval: timedelta = SECRET_READ_INTERVAL,
    ) -> None:
        self._interval = interval
        self._store = store
        self._file = file
        self._clock = clock
        self._secrets: dict[Environment, VerificationSecrets] = {}

    async def read(self) -> None:
        """Read the secrets of all environments.

        Raises:
            ConfigurationError: the file cannot be used.
            DatabaseRefuses, StoreUnavailable: the database cannot be read.
        """
        if self._file is not None:
            self._secrets = await asyncio.to_thread(secrets_of_file, self._file)
            return
        self._secrets = {environment: await self._store.load(environment, self._clock()) for environment in Environment}

    async def keep_fresh(self) -> None:
        """Read the secrets at intervals, until cancelled."""
        while True:
            await asyncio.sleep(self._interval.total_seconds())
            try:
                await self.read()
            except (ContactsvcError, StartupError) as error:
                _log.warning("cannot read the verification secrets (%s); using those that were read last", error)
            except Exception as error:
                _log.error(
                    "cannot read the verification secrets; using those that were read last",
                    exc_info=error,
                )

    def of(self, environment: Environment) -> Callable[[], VerificationSecrets]:
        """Return what returns the secrets of an environment."""
        return lambda: self._secrets[environment]


def secrets_of_file(path: Path) -> dict[Environment, VerificationSecrets]:
    """Return the secrets of all environments from those of a file; raise ConfigurationError if it cannot be used."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"cannot read the verification secret file {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        # Without the cause, which quotes bytes of the file.
        raise ConfigurationError(f"the verification secret file {path} must be text in UTF-8") from None
    try:
        return {environment: secrets_of_text(text, environment.value) for environment in Environment}
    except ValueError as error:
        raise ConfigurationError(f"the verification secret file {path} {error}") from error
