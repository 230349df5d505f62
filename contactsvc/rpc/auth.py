"""Authentication and authorization of callers by API key.

Keys are cached in memory and read again every few seconds, so that a call costs no query and a revocation takes effect
soon. Until the first key exists, the service accepts every caller that can reach it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from contactsvc.domain.api_keys import PERMISSIONS, ApiKey, Permission, digest_of, parts_of
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

# The interval at which keys are read again, and the age up to which they are used when the store does not answer. A
# revocation is promised to take effect within 30 s.
_REFRESH_INTERVAL_SECONDS = 5.0
_MAX_AGE_SECONDS = 25.0
# The shortest interval between reads for unknown keys: a new key works at once, and guessing does not load the store.
_MIN_INTERVAL_SECONDS = 0.1
# How long a caller waits for keys to be read.
_READ_TIMEOUT_SECONDS = 3.0

_log = logging.getLogger(__name__)


class KeyStore(Protocol):
    """Holds the API keys."""

    async def all(self) -> list[ApiKey]:
        """Return all keys, revoked and expired ones included; raise StoreUnavailable when they cannot be read."""
        ...


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller.

    Attributes:
        environment: the environment that its calls work in.
        key_id: the id of its API key; None while the service has no keys.
        permissions: what it may do; everything while the service has no keys.
        rate: the rate of its API key, as in `ApiKey`.
        secret_digest: the digest of the secret that it sent; None while the service has no keys.
    """

    environment: Environment
    key_id: str | None
    permissions: frozenset[Permission]
    rate: float | None = None
    secret_digest: str | None = field(default=None, repr=False)

    @property
    def may_read(self) -> bool:
        """Whether answers may show it records."""
        return Permission.READ in self.permissions

    def require(self, permissions: frozenset[Permission], purpose: str = "") -> None:
        """Raise PermissionDenied, which names what is missing, unless the caller has these permissions."""
        missing = permissions - self.permissions
        if missing:
            needed = f", which {purpose} requires" if purpose else ""
            raise PermissionDenied(f"lacks permission: {', '.join(sorted(missing))}{needed}")


# Callers while the service has no keys.
_UNKNOWN_CALLERS = {environment: Caller(environment, None, frozenset(Permission)) for environment in Environment}


class Authenticator:
    """Authenticates callers.

    Args:
        keys: holds the API keys; None accepts every caller.
        clock: the time by which keys expire.
        monotonic: a clock in seconds by which the age of the cache is measured.
    """

    def __init__(self, keys: KeyStore | None, *, clock: Clock = now_utc, monotonic: Callable[[], float]) -> None:
        self._store = keys
        self._clock = clock
        self._monotonic = monotonic
        self._keys: dict[str, ApiKey] = {}
        self._requires_key = False
        self._read_at = self._tried_at = -2 * _MAX_AGE_SECONDS
        self._reading: asyncio.Task[None] | None = None
        # Reads are numbered, and the last successful one is noted: an unknown key needs a read begun after its call.
        self._reads_begun = self._last_read = 0

    @property
    def open(self) -> bool:
        """Whether every caller is accepted: no key has existed since the start."""
        return not self._requires_key

    @property
    def lets_callers_in(self) -> bool:
        """Whether callers can be authenticated: the keys have been read recently enough, or there are none."""
        return self.open or not self._is_out_of_date()

    async def refresh(self) -> None:
        """Read the keys; raise StoreUnavailable when they cannot be read."""
        await self._read_since_now(0.0)

    async def keep_fresh(self) -> None:
        """Read the keys at intervals, until cancelled."""
        while True:
            await asyncio.sleep(_REFRESH_INTERVAL_SECONDS)
            try:
                await self.refresh()
            except ContactsvcError as error:
                _log.warning(
                    "cannot read the API keys (%s); using the cached keys for up to %.0f s",
                    error.reason,
                    _MAX_AGE_SECONDS,
                )
            except Exception as error:
                _log.error(
                    "cannot read the API keys; using the cached keys for up to %.0f s", _MAX_AGE_SECONDS, exc_info=error
                )

    async def authenticate(self, metadata: Mapping[str, tuple[str | bytes, ...]], rpc: str) -> Caller:
        """Return the caller; read the keys again when its key or its secret is unknown.

        Raises as `authenticate_cached`.
        """
        if (caller := self.authenticate_cached(metadata, rpc)) is None:
            await self._read_since_now(_MIN_INTERVAL_SECONDS)
            caller = self.authenticate_cached(metadata, rpc)
        if caller is None:
            raise StoreUnavailable if self._is_out_of_date() else Unauthenticated
        return caller

    def authenticate_cached(self, metadata: Mapping[str, tuple[str | bytes, ...]], rpc: str) -> Caller | None:
        """Return the caller; None when the cache does not have its key, or not with this secret.

        Args:
            metadata: the metadata of the call, with the values of each key.
            rpc: the name of the method.

        Raises:
            InvalidFields: `x-environment` names no environment.
            Unauthenticated: keys exist, and the call has no valid one.
            PermissionDenied: the key lacks a permission, or belongs to another environment.
            StoreUnavailable: the cache is too old to be trusted.
        """
        asked = _environment(metadata.get(ENVIRONMENT_HEADER, ()))
        if not self._requires_key:
            return _UNKNOWN_CALLERS[asked or Environment.LIVE]
        environment, id_, secret = _key_in(metadata.get(AUTHORIZATION_HEADER, ()))
        key, digest = self._keys.get(id_), digest_of(secret)
        # A secret may be unknown because the key has been rotated since it was read.
        if key is None or not key.accepts(digest, self._clock()):
            return None
        if self._is_out_of_date():
            raise StoreUnavailable
        if key.environment != environment or not self._is_active(key):
            raise Unauthenticated
        if asked is not None and asked is not key.environment:
            raise PermissionDenied(f"belongs to another environment than {ENVIRONMENT_HEADER} names")
        caller = Caller(key.environment, key.id, key.permissions, key.rate, digest)
        caller.require(PERMISSIONS[rpc])
        return caller

    def check_still_good(self, caller: Caller | None) -> None:
        """Raise Unauthenticated when the key of an authenticated caller, or its secret, has ceased to be good."""
        if caller is None or caller.key_id is None:
            return
        key = self._keys.get(caller.key_id)
        if key is None or not self._is_active(key) or not key.accepts(caller.secret_digest or "", self._clock()):
            raise Unauthenticated

    def _is_active(self, key: ApiKey) -> bool:
        return key.state(self._clock()) == "active"

    async def _read_since_now(self, min_interval: float) -> None:
        """Wait for a read of the keys that begins after this call, shared with all who wait for one.

        Args:
            min_interval: the shortest time between the beginnings of two reads, in seconds.
        """
        begun_before = self._reads_begun
        try:
            async with asyncio.timeout(_READ_TIMEOUT_SECONDS):
                while self._last_read <= begun_before:
                    # Not a flag that the end of a read resets: a call that ran before the reset would wait for a read
                    # that is over, which does not suspend it, and spin for ever.
                    if self._reading is None or self._reading.done():
                        wait = max(0.0, self._tried_at + min_interval - self._monotonic())
                        self._reading = asyncio.create_task(self._read_after(wait))
                        self._reading.add_done_callback(_retrieve_failure)
                    await asyncio.shield(self._reading)
        except TimeoutError:
            raise StoreUnavailable from None

    async def _read_after(self, wait: float) -> None:
        await asyncio.sleep(wait)
        self._reads_begun += 1
        number, began = self._reads_begun, self._monotonic()
        self._tried_at = began
        if self._store is not None:
            self._keys = {key.id: key for key in await self._store.all()}
        self._read_at, self._last_read = began, number
        # For good: should all keys disappear, no caller is accepted rather than every caller.
        self._requires_key = self._requires_key or bool(self._keys)

    def _is_out_of_date(self) -> bool:
        return self._monotonic() - self._read_at > _MAX_AGE_SECONDS


def _retrieve_failure(reading: asyncio.Task[None]) -> None:
    """Retrieve the exception of a read also when all who waited for it have left."""
    if not reading.cancelled():
        reading.exception()


def check_permissions(rpcs: Iterable[str]) -> None:
    """Raise LookupError unless the table of permissions names exactly these RPCs: the default is to deny."""
    difference = set(rpcs) ^ PERMISSIONS.keys()
    if difference:
        raise LookupError(f"the table of permissions and the proto differ: {', '.join(sorted(difference))}")


def _key_in(authorization: tuple[str | bytes, ...]) -> tuple[str, str, str]:
    """Return environment, id and secret of the key of a call; raise Unauthenticated when it has none."""
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
