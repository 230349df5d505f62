"""Verification secrets in MongoDB, beside the API keys: one document per generation of an environment."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pymongo.errors import DuplicateKeyError

from contactsvc.domain.kinds import Environment
from contactsvc.domain.verification import (
    SECRET_RETENTION,
    SECRET_TIME_BEFORE_USE,
    VerificationSecret,
    VerificationSecrets,
    new_secret,
)
from contactsvc.store.driver_errors import refusals_translated
from contactsvc.store.drivers import Collection, Document


class MongoSecretStore:
    """The verification secrets of a service. Any method may raise DatabaseRefuses or StoreUnavailable.

    Args:
        collection: their collection.
    """

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    async def load(self, environment: Environment, now: datetime) -> VerificationSecrets:
        """Return the secrets of an environment; make one if there is none, and delete those that are kept no longer."""
        documents = await self._documents(environment)
        if not documents:
            await self._add(environment, 1, usable_from=now)
            documents = await self._documents(environment)
        kept = _kept(documents, now)
        if len(kept) < len(documents):
            await self._delete(documents[: len(documents) - len(kept)])
        usable = [position for position, document in enumerate(kept) if document["usable_from"] <= now]
        current = kept.pop(usable[-1] if usable else 0)
        # Those to come are known already, for the challenges of a service that uses them a moment earlier.
        return VerificationSecrets.of(*map(_secret, (current, *kept)))

    async def rotate(self, environment: Environment, now: datetime) -> datetime:
        """Add a secret that takes the place of the present one; return when its use begins."""
        documents = await self._documents(environment)
        if not documents:
            await self._add(environment, 1, usable_from=now)
            return now
        usable_from = now + SECRET_TIME_BEFORE_USE
        await self._add(environment, int(documents[-1]["generation"]) + 1, usable_from=usable_from)
        return usable_from

    async def _documents(self, environment: Environment) -> list[Document]:
        with refusals_translated("read the verification secrets", self._collection.database.name):
            found = await self._collection.find({"environment": environment.value}).to_list(length=None)
        return sorted(found, key=lambda document: int(document["generation"]))

    async def _add(self, environment: Environment, generation: int, *, usable_from: datetime) -> None:
        secret = new_secret()
        document = {
            "_id": f"{environment}-{generation}",
            "environment": environment.value,
            "generation": generation,
            "key": secret.key,
            "usable_from": usable_from,
        }
        with refusals_translated("write a verification secret", self._collection.database.name):
            try:
                await self._collection.insert_one(document)
            except DuplicateKeyError:
                # Another service, or another rotation, was faster by a moment.
                return

    async def _delete(self, documents: Sequence[Document]) -> None:
        ids = [document["_id"] for document in documents]
        with refusals_translated("delete a verification secret", self._collection.database.name):
            await self._collection.delete_many({"_id": {"$in": ids}})


def _kept(documents: Sequence[Document], now: datetime) -> list[Document]:
    """Return the generations without those that were replaced long ago."""
    replaced = [successor["usable_from"] + SECRET_RETENTION <= now for successor in documents[1:]]
    return list(documents[replaced.count(True) :])


def _secret(document: Document) -> VerificationSecret:
    return VerificationSecret(document["_id"], document["key"])
