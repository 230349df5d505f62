"""API keys, their permissions, and the permissions that each RPC requires."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from types import MappingProxyType

from contactsvc.domain.kinds import Environment

_PREFIX = "contactsvc"
_ID_BYTES = 6
_SECRET_BYTES = 32


class Permission(StrEnum):
    """A permission of an API key."""

    READ = "read"
    WRITE = "write"
    DELETE = "delete"
    ERASE = "erase"
    VERIFY = "verify"
    ATTEST = "attest"


_READ = frozenset({Permission.READ})
_WRITE = frozenset({Permission.WRITE})
# Changing a record returns it, and so shows what it held before.
_READ_AND_WRITE = _READ | _WRITE
_DELETE = frozenset({Permission.DELETE})

PERMISSIONS: Mapping[str, frozenset[Permission]] = MappingProxyType(
    {
        "CreateContactMethod": _WRITE,
        "GetContactMethod": _READ,
        "GetContactMethodByExternalId": _READ,
        "GetContactMethodByMetadata": _READ,
        "ListContactMethods": _READ,
        "ListClientContactMethods": _READ,
        "UpdateContactMethod": _READ_AND_WRITE,
        "DeleteContactMethod": _DELETE,
        "GetPrimaryContactMethod": _READ,
        "BatchCreateContactMethods": _WRITE,
        "BatchUpdateContactMethods": _READ_AND_WRITE,
        "BatchDeleteContactMethods": _DELETE,
        "BatchGetContactMethods": _READ,
        "UpsertContactMethod": _READ_AND_WRITE,
        "BatchUpsertContactMethods": _READ_AND_WRITE,
        # A sync deletes the records that its list leaves out.
        "SyncClientContactMethods": _READ_AND_WRITE | _DELETE,
        "StreamContactMethods": _READ,
        "EraseClientContactMethods": frozenset({Permission.ERASE}),
        "StartContactMethodVerification": frozenset({Permission.VERIFY}),
        "CheckContactMethodVerification": frozenset({Permission.VERIFY}),
        "SetContactMethodVerification": frozenset({Permission.ATTEST}),
    }
)
"""The permissions that each RPC requires; the service does not start unless every RPC is listed."""

TO_CREATE_A_PRIMARY = _READ
"""What a create requires besides when it makes a primary: it demotes another record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """An API key as it is stored, without its secrets.

    After a rotation it has two secrets until the overlap ends. A digest is the SHA-256 of a secret. A secret has 256
    random bits, so a slow hash would add nothing.

    Attributes:
        id: its public part; may be logged.
        name: for people.
        environment: the environment that it opens.
        permissions: the calls that it allows.
        secret_digest: digest of the secret.
        created_at: when it was created.
        expires_at: when it expires; None for never.
        revoked_at: when it was revoked; None if it was not.
        previous_digest: digest of the secret before the last rotation; None if it has not been rotated.
        previous_until: when the previous secret stops.
        rate: the calls per second that each worker accepts with it; 0 for no limit, None for the limit of the service.
    """

    id: str
    name: str
    environment: Environment
    permissions: frozenset[Permission]
    secret_digest: str = field(repr=False)
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    previous_digest: str | None = field(default=None, repr=False)
    previous_until: datetime | None = None
    rate: float | None = None

    def state(self, now: datetime) -> str:
        """Return "active", "expired" or "revoked"."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"

    def overlaps(self, now: datetime) -> bool:
        """Return whether the secret before the last rotation still works."""
        return self.previous_digest is not None and self.previous_until is not None and now < self.previous_until

    def accepts(self, digest: str, now: datetime) -> bool:
        """Return whether this is the digest of one of its present secrets, by comparisons in constant time."""
        if hmac.compare_digest(self.secret_digest.encode(), digest.encode()):
            return True
        return self.overlaps(now) and hmac.compare_digest((self.previous_digest or "").encode(), digest.encode())

    def rotated(self, now: datetime, overlap: timedelta) -> tuple[ApiKey, str]:
        """Return the key with a new secret, and the text that callers send.

        The present secret works for the time of the overlap; an older one stops at once.
        """
        secret = secrets.token_hex(_SECRET_BYTES)
        key = replace(
            self,
            secret_digest=digest_of(secret),
            previous_digest=self.secret_digest if overlap else None,
            previous_until=now + overlap if overlap else None,
        )
        return key, _text_of(key, secret)


def new_key(
    *,
    name: str,
    environment: Environment,
    permissions: frozenset[Permission],
    now: datetime,
    expires_at: datetime | None,
    rate: float | None = None,
) -> tuple[ApiKey, str]:
    """Return a new key, and the text that callers send, which holds its secret and is stored nowhere."""
    secret = secrets.token_hex(_SECRET_BYTES)
    key = ApiKey(
        id=secrets.token_hex(_ID_BYTES),
        name=name,
        environment=environment,
        permissions=permissions,
        secret_digest=digest_of(secret),
        created_at=now,
        expires_at=expires_at,
        rate=rate,
    )
    return key, _text_of(key, secret)


def parts_of(text: str) -> tuple[str, str, str] | None:
    """Return environment, id and secret of a key as callers send it; None when the text has another form."""
    parts = text.split("_")
    if len(parts) != 4 or parts[0] != _PREFIX:
        return None
    return parts[1], parts[2], parts[3]


def digest_of(secret: str) -> str:
    """Return the digest of a secret."""
    return sha256(secret.encode()).hexdigest()


def _text_of(key: ApiKey, secret: str) -> str:
    return f"{_PREFIX}_{key.environment}_{key.id}_{secret}"
