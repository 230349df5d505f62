"""API keys in MongoDB: one document each, in a database of their own beside those of the environments.

In the database rather than in a file, so that all services on it share them and a revocation reaches all at once.
"""

from __future__ import annotations

import logging
from datetime import datetime

from contactsvc.domain.api_keys import ApiKey, Permission
from contactsvc.domain.clock import EPOCH
from contactsvc.domain.kinds import Environment
from contactsvc.store.driver_errors import refusals_translated
from contactsvc.store.drivers import Collection, Document

_UNREADABLE_NAME = "(unreadable)"

_log = logging.getLogger(__name__)


class MongoKeyStore:
    """The API keys of a service. Any method may raise DatabaseRefuses.

    Args:
        collection: their collection.
    """

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    async def all(self) -> list[ApiKey]:
        """Return all keys, oldest first: also revoked, expired and malformed ones."""
        with refusals_translated("read the API keys", self._collection.database.name):
            documents = await self._collection.find({}).to_list(length=None)
        return sorted(map(_from_document, documents), key=lambda key: (key.created_at, key.id))

    async def add(self, key: ApiKey) -> None:
        """Store a new key."""
        with refusals_translated("write an API key", self._collection.database.name):
            await self._collection.insert_one(_to_document(key))

    async def rotate(self, before: ApiKey, after: ApiKey) -> bool:
        """Replace the secrets of a key; return False if it has been rotated or revoked meanwhile."""
        with refusals_translated("rotate an API key", self._collection.database.name):
            result = await self._collection.update_one(
                {"_id": before.id, "secret_digest": before.secret_digest, "revoked_at": None},
                {"$set": _secrets_of(after)},
            )
            return result.matched_count == 1

    async def revoke(self, id_: str, at: datetime) -> bool:
        """Revoke a key; return whether it exists. A key revoked before keeps its time of revocation."""
        with refusals_translated("revoke an API key", self._collection.database.name):
            await self._collection.update_one({"_id": id_, "revoked_at": None}, {"$set": {"revoked_at": at}})
            return await self._collection.find_one({"_id": id_}) is not None


def _to_document(key: ApiKey) -> Document:
    return {
        "_id": key.id,
        "name": key.name,
        "environment": key.environment.value,
        "permissions": sorted(permission.value for permission in key.permissions),
        **_secrets_of(key),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "rate": key.rate,
    }


def _secrets_of(key: ApiKey) -> Document:
    # Release 0.1.0 reads `secret_digest` only: there a rotation ends the previous secret at once.
    return {
        "secret_digest": key.secret_digest,
        "previous_digest": key.previous_digest,
        "previous_until": key.previous_until,
    }


def _from_document(document: Document) -> ApiKey:
    """Return the key of a document.

    A malformed document is logged and becomes a revoked key: it grants nothing, and it counts as a key, so that a
    service whose only key is malformed does not accept every caller.
    """
    try:
        # A newer release may define more permissions.
        known = frozenset(Permission(name) for name in document["permissions"] if name in set(Permission))
        return ApiKey(
            id=str(document["_id"]),
            name=str(document["name"]),
            environment=Environment(document["environment"]),
            permissions=known,
            secret_digest=str(document["secret_digest"]),
            created_at=_time(document["created_at"]),
            expires_at=_optional_time(document["expires_at"]),
            revoked_at=_optional_time(document["revoked_at"]),
            # Absent in keys of release 0.1.0.
            previous_digest=document.get("previous_digest"),
            previous_until=_optional_time(document.get("previous_until")),
            rate=_rate(document.get("rate")),
        )
    except (KeyError, TypeError, ValueError):
        _log.error("ignoring API key %s: its document cannot be read; revoke it and create a new one", document["_id"])
        return ApiKey(
            id=str(document["_id"]),
            name=_UNREADABLE_NAME,
            environment=Environment.LIVE,
            permissions=frozenset(),
            secret_digest="",
            created_at=EPOCH,
            revoked_at=EPOCH,
        )


def _time(stored: object) -> datetime:
    if not isinstance(stored, datetime):
        raise TypeError
    return stored


def _optional_time(stored: object) -> datetime | None:
    return None if stored is None else _time(stored)


def _rate(stored: float | None) -> float | None:
    # Also refuses NaN.
    if stored is not None and not stored >= 0:
        raise ValueError
    return stored
