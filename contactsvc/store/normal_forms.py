"""The record of the rules that the normal forms of an environment were written under.

One document in a collection of its own, beside the contact methods, so that a dump of the database includes it. It has
a fixed id: of several services that open a new environment at the same time, one inserts it, and the others read it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from pymongo.errors import DuplicateKeyError

from contactsvc.domain.normalization import RulesVersion
from contactsvc.store.deployment import COLLECTION, Deployment
from contactsvc.store.drivers import Collection, Document
from contactsvc.store.inspection import explained

NORMAL_FORMS_COLLECTION: Final = "normal_forms"
"""The collection of the record in the database of an environment."""

_ID: Final = "rules"
_READ: Final = "read the rules of its normal forms"
_WRITE: Final = "write the rules of its normal forms"


class RecordedRules:
    """The version of the rules that all normal forms of an environment were written under, as far as it is recorded.

    Every method may raise the errors of `inspection.explained`.
    """

    def __init__(self, collection: Collection, contact_methods: Collection) -> None:
        self._collection = collection
        self._contact_methods = contact_methods

    async def find(self) -> RulesVersion | None:
        """Return the version; None if none is recorded, or not in a form that this release reads."""
        with explained(self._collection, _READ):
            document = await self._collection.find_one({"_id": _ID})
        return None if document is None else _from_document(document)

    async def record(self, version: RulesVersion, now: datetime) -> None:
        """Record that all normal forms were derived by this version."""
        with explained(self._collection, _WRITE):
            await self._collection.replace_one({"_id": _ID}, _to_document(version, now), upsert=True)

    async def record_if_empty(self, version: RulesVersion, now: datetime) -> RulesVersion | None:
        """Record the version if there are no contact methods; return the one that is recorded then.

        Reads no contact method if the version is recorded already. Otherwise it looks for one: SecantusDB scans the
        collection for that.
        """
        recorded = await self.find()
        if recorded == version:
            return recorded
        if await self._has_contact_methods():
            # Another service may have recorded a version before it wrote the first one.
            return recorded or await self.find()
        written = _to_document(version, now)
        with explained(self._collection, _WRITE):
            if recorded is not None:
                guard = {"_id": _ID, **_version_fields(recorded)}
                is_written = (await self._collection.replace_one(guard, written)).matched_count == 1
            else:
                try:
                    is_written = bool(await self._collection.insert_one(written))
                except DuplicateKeyError:
                    is_written = False
        # Otherwise another service has recorded a version meanwhile.
        return version if is_written else await self.find()

    async def _has_contact_methods(self) -> bool:
        with explained(self._contact_methods):
            found = await self._contact_methods.find_one({"client_id": {"$exists": True}}, {"_id": 1})
        return found is not None


def recorded_rules_of(deployment: Deployment, database: str) -> RecordedRules:
    """Return the record of one database."""
    opened = deployment.driver.database(database)
    return RecordedRules(opened[NORMAL_FORMS_COLLECTION], opened[COLLECTION])


def _version_fields(version: RulesVersion) -> Document:
    return {
        "default_region": version.default_region,
        "phonenumbers": version.phonenumbers,
        "idna": version.idna,
        "revision": version.revision,
    }


def _to_document(version: RulesVersion, now: datetime) -> Document:
    return {"_id": _ID, **_version_fields(version), "recorded_at": now}


def _from_document(document: Document) -> RulesVersion | None:
    match document:
        case {
            "default_region": str() | None as region,
            "phonenumbers": str(phones),
            "idna": str(idna),
            "revision": int(revision),
        }:
            return RulesVersion(default_region=region, phonenumbers=phones, idna=idna, revision=revision)
    return None
