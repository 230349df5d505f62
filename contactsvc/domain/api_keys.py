"""API keys, their permissions, and the permissions that each RPC requires."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """An API key as it is stored, without its secret.

    Attributes:
        id: its public part; may be logged.
        name: for people.
        environment: the environment that it opens.
        permissions: the calls that it allows.
        secret_digest: SHA-256 of the secret. The secret has 256 random bits, so a slow hash would add nothing.
        created_at: when it was created.
        expires_at: when it expires; None for never.
        revoked_at: when it was revoked; None if it was not.
    """

    id: str
    name: str
    environment: Environment
    permissions: frozenset[Permission]
    secret_digest: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def state(self, now: datetime) -> str:
        """Return "active", "expired" or "revoked"."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"

    def opens_with(self, secret: str) -> bool:
        """Return whether this is the secret, by a comparison in constant time."""
        return hmac.compare_digest(self.secret_digest.encode(), _digest(secret).encode())


def new_key(
    *,
    name: str,
    environment: Environment,
    permissions: frozenset[Permission],
    now: datetime,
    expires_at: datetime | None,
) -> tuple[ApiKey, str]:
    """Return a new key, and the text that callers send, which holds its secret and is stored nowhere."""
    id_, secret = secrets.token_hex(_ID_BYTES), secrets.token_hex(_SECRET_BYTES)
    key = ApiKey(
        id=id_,
        name=name,
        environment=environment,
        permissions=permissions,
        secret_digest=_digest(secret),
        created_at=now,
        expires_at=expires_at,
    )
    return key, f"{_PREFIX}_{environment}_{id_}_{secret}"


def parts_of(text: str) -> tuple[str, str, str] | None:
    """Return environment, id and secret of a key as callers send it; None when the text has another form."""
    parts = text.split("_")
    if len(parts) != 4 or parts[0] != _PREFIX:
        return None
    return parts[1], parts[2], parts[3]


def _digest(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()
