"""The verification secrets that a process uses: from a file, or from the database, read again at intervals."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from contactsvc.domain.clock import Clock, now_utc
from contactsvc.domain.kinds import Environment
from contactsvc.domain.verification import VerificationSecrets, secrets_of_text
from contactsvc.errors import ConfigurationError, ContactsvcError, StartupError
from contactsvc.store import MongoSecretStore

# Well below the time between the making of a secret and its use.
_REFRESH_INTERVAL_SECONDS = 15.0

_log = logging.getLogger(__name__)


class SecretRing:
    """The secrets of all environments, as they were read last.

    Args:
        store: where they are, unless there is a file.
        file: holds them instead; read once.
        clock: the present time.
    """

    def __init__(self, store: MongoSecretStore, file: Path | None, *, clock: Clock = now_utc) -> None:
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
            self._secrets = {environment: _of_file(self._file, environment) for environment in Environment}
            return
        self._secrets = {environment: await self._store.load(environment, self._clock()) for environment in Environment}

    async def keep_fresh(self) -> None:
        """Read secrets of the database at intervals, until cancelled."""
        while self._file is None:
            await asyncio.sleep(_REFRESH_INTERVAL_SECONDS)
            try:
                await self.read()
            except (ContactsvcError, StartupError) as error:
                _log.warning("cannot read the verification secrets (%s); using those that were read last", error)
        await asyncio.Event().wait()

    def of(self, environment: Environment) -> Callable[[], VerificationSecrets]:
        """Return what returns the secrets of an environment."""
        return lambda: self._secrets[environment]


def _of_file(path: Path, environment: Environment) -> VerificationSecrets:
    try:
        return secrets_of_text(path.read_text(), environment.value)
    except OSError as error:
        raise ConfigurationError(f"cannot read the verification secret file {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(f"the verification secret file {path} {error}") from error
