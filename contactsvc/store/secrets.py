"""Verification secrets in MongoDB, beside the API keys: one document per generation of an environment."""

from __future__ import annotations

from datetime import datetime, timedelta

from pymongo.errors import DuplicateKeyError

from contactsvc.domain.kinds import Environment
from contactsvc.domain.verification import VerificationSecret, VerificationSecrets, new_secret
from contactsvc.store.driver_errors import refusals_translated
from contactsvc.store.drivers import Collection, Document

# A new secret is used once every service has read it; a retired one is kept until its challenges have ended.
_BEFORE_USE = timedelta(minutes=1)
_AFTER_USE = timedelta(minutes=31)


class MongoSecretStore:
    """The verification secrets of a service. Any method may raise DatabaseRefuses.

    Args:
        collection: their collection.
    """

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    async def load(self, environment: Environment, now: datetime) -> VerificationSecrets:
        """Return the secrets of an environment; the first call of all makes one."""
        documents = await self._documents(environment)
        if not documents:
            await self._add(environment, 1, usable_from=now)
            documents = await self._documents(environment)
        secrets = [VerificationSecret(document["_id"], document["key"]) for document in documents]
        usable = [position for position, document in enumerate(documents) if document["usable_from"] <= now]
        current = usable[-1] if usable else 0
        # One that is not used yet is known already, for the challenges of a service whose clock is ahead.
        successors = documents[1:]
        kept = [
            secret
            for secret, successor in zip(secrets, successors, strict=False)
            if successor["usable_from"] + _AFTER_USE > now
        ]
        return VerificationSecrets.of(secrets[current], *kept, *secrets[current + 1 :])

    async def rotate(self, environment: Environment, now: datetime) -> datetime:
        """Add a secret that takes the place of the present one; return from when on it is used."""
        documents = await self._documents(environment)
        usable_from = now + _BEFORE_USE if documents else now
        await self._add(environment, len(documents) + 1, usable_from=usable_from)
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
                # Another service, or another rotation, was faster.
                return
