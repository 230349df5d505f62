"""The gate: who a caller is, by its API key, and whether it may do what it asks for.

Keys are read from the store into memory, again every few seconds, so that a call costs no query and a revocation takes
effect soon. A service is open to everyone who can reach it until it sees its first key.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from contactsvc.domain.api_keys import PERMISSIONS, ApiKey, parts_of
from contactsvc.domain.clock import Clock, now_utc
from contactsvc.domain.kinds import Environment
from contactsvc.errors import (
    ContactsvcError,
    FieldViolation,
    InvalidFields,
    PermissionDenied,
    StoreUnavailable,
    Unauthenticated,
)

AUTHORIZATION_HEADER = "authorization"
ENVIRONMENT_HEADER = "x-environment"

# How often the keys are read again, and how old they may be when the store does not answer. Revocation is promised to
# take effect within 30 s.
_REFRESH_INTERVAL = 5.0
_LONGEST_TRUST = 25.0
# How soon the keys are read again for the sake of an unknown one: a new key shall work at once, and guessing shall not
# load the store.
_SHORTEST_INTERVAL = 0.1
# How long a caller waits for the keys to be read.
_PATIENCE = 3.0

_log = logging.getLogger(__name__)


class KeyStore(Protocol):
    """Where the API keys are."""

    async def all(self) -> list[ApiKey]:
        """Return all keys, revoked and expired ones as well; raise StoreUnavailable when that is not possible."""
        ...


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the environment that it works in, and its key; None while the service has no keys."""

    environment: Environment
    key_id: str | None


class Authenticator:
    """Lets callers in.

    Args:
        keys: where the API keys are; None opens the gate to everyone.
        clock: tells the time at which keys expire.
        monotonic: tells how much time has passed, in seconds.
    """

    def __init__(self, keys: KeyStore | None, *, clock: Clock = now_utc, monotonic: Callable[[], float]) -> None:
        self._store = keys
        self._clock = clock
        self._monotonic = monotonic
        self._keys: dict[str, ApiKey] = {}
        self._guarded = False
        self._read_at = self._tried_at = -2 * _LONGEST_TRUST
        self._reading: asyncio.Task[None] | None = None

    @property
    def open(self) -> bool:
        """Whether everyone is let in: there is no key, and has been none since the start."""
        return not self._guarded

    async def refresh(self) -> None:
        """Read the keys; raise StoreUnavailable when that is not possible."""
        await self._refresh_unless_tried_within(0.0)

    async def keep_fresh(self) -> None:
        """Read the keys again and again, until cancelled."""
        while True:
            await asyncio.sleep(_REFRESH_INTERVAL)
            try:
                await self.refresh()
            except ContactsvcError as error:
                _log.warning("cannot read the API keys (%s); those read last are used for a while", error.reason)
            except Exception as error:
                _log.error("cannot read the API keys; those read last are used for a while", exc_info=error)

    async def authenticate(self, metadata: Mapping[str, tuple[str | bytes, ...]], rpc: str) -> Caller:
        """Return who calls; read the keys again when its key is not known.

        Raises as `authenticate_cached`.
        """
        if (caller := self.authenticate_cached(metadata, rpc)) is None:
            await self._refresh_unless_tried_within(_SHORTEST_INTERVAL)
            caller = self.authenticate_cached(metadata, rpc)
        if caller is None:
            raise StoreUnavailable if self._is_out_of_date() else Unauthenticated
        return caller

    def authenticate_cached(self, metadata: Mapping[str, tuple[str | bytes, ...]], rpc: str) -> Caller | None:
        """Return who calls; None when its key is not among those that were read last.

        Args:
            metadata: the values of each header of the call.
            rpc: the name of the method.

        Raises:
            InvalidFields: `x-environment` makes no sense.
            Unauthenticated: there are keys, and the call carries none that is good.
            PermissionDenied: the key does not allow the RPC, or is of another environment.
            StoreUnavailable: the keys could not be read for so long that one may have been revoked.
        """
        asked = _environment(metadata.get(ENVIRONMENT_HEADER, ()))
        if not self._guarded:
            return Caller(asked or Environment.LIVE, None)
        environment, id_, secret = _key_in(metadata.get(AUTHORIZATION_HEADER, ()))
        key = self._keys.get(id_)
        if key is None:
            return None
        if self._is_out_of_date():
            raise StoreUnavailable
        if not key.opens_with(secret) or key.environment != environment or not self._is_active(key):
            raise Unauthenticated
        if asked is not None and asked is not key.environment:
            raise PermissionDenied(f"it is of another environment than {ENVIRONMENT_HEADER}")
        missing = PERMISSIONS[rpc] - key.permissions
        if missing:
            raise PermissionDenied(f"it may not {' and not '.join(sorted(missing))}")
        return Caller(key.environment, key.id)

    def check_still_good(self, caller: Caller | None) -> None:
        """Raise Unauthenticated when the key of a caller who was let in has expired or been revoked since."""
        if caller is None or caller.key_id is None:
            return
        key = self._keys.get(caller.key_id)
        if key is None or not self._is_active(key):
            raise Unauthenticated

    def _is_active(self, key: ApiKey) -> bool:
        return key.state(self._clock()) == "active"

    async def _refresh_unless_tried_within(self, seconds: float) -> None:
        """Read the keys, together with all others who want that now; unless it has just been tried."""
        if self._reading is None:
            if self._monotonic() - self._tried_at < seconds:
                return
            self._tried_at = self._monotonic()
            self._reading = asyncio.create_task(self._read())
            self._reading.add_done_callback(self._read_ended)
        try:
            async with asyncio.timeout(_PATIENCE):
                await asyncio.shield(self._reading)
        except TimeoutError:
            raise StoreUnavailable from None

    async def _read(self) -> None:
        if self._store is None:
            return
        started = self._monotonic()
        self._keys = {key.id: key for key in await self._store.all()}
        self._read_at = started
        # For good: should the keys vanish, nobody is let in rather than everyone.
        self._guarded = self._guarded or bool(self._keys)

    def _read_ended(self, reading: asyncio.Task[None]) -> None:
        self._reading = None
        if not reading.cancelled():
            # Told to those who waited; when all of them have left, nobody asks for it.
            reading.exception()

    def _is_out_of_date(self) -> bool:
        return self._monotonic() - self._read_at > _LONGEST_TRUST


def check_permissions(rpcs: Iterable[str]) -> None:
    """Raise LookupError unless exactly these RPCs have their permissions in the table: the default is to deny."""
    difference = set(rpcs) ^ PERMISSIONS.keys()
    if difference:
        raise LookupError(f"the table of permissions and the service differ in {', '.join(sorted(difference))}")


def _key_in(authorization: tuple[str | bytes, ...]) -> tuple[str, str, str]:
    """Return environment, id and secret of the key that a call carries; raise Unauthenticated when it carries none."""
    if len(authorization) == 1 and isinstance(authorization[0], str):
        scheme, _, text = authorization[0].partition(" ")
        if scheme.lower() == "bearer" and (parts := parts_of(text.strip())) is not None:
            return parts
    raise Unauthenticated


def _environment(values: Iterable[str | bytes]) -> Environment | None:
    named = set(values)
    if not named:
        return None
    try:
        (one,) = named
        return Environment(str(one))
    except ValueError:
        raise InvalidFields([FieldViolation(ENVIRONMENT_HEADER, "must be live or test")]) from None
