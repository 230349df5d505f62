"""Reads a database as it is, for `contactsvc doctor`.

Unlike the store an inspection relies on nothing: no index, no field, and no type of a field. It reads whole documents,
as the service does, holds one batch at a time, and writes nothing. Guarded repairs are in repairs.py; what counts as a
fault, and what to do about it, is for contactsvc.doctor.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from pymongo.errors import PyMongoError

from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.normalization import written_form
from contactsvc.domain.verification import CHALLENGE_LIFETIME, SEND_LIFETIME
from contactsvc.errors import StartupError
from contactsvc.store import duplicates
from contactsvc.store.deployment import COLLECTION, Deployment
from contactsvc.store.documents import from_document, invalid_fields, is_contact_method, primary_key, written_key
from contactsvc.store.driver_errors import refusals_translated
from contactsvc.store.drivers import Collection, Document
from contactsvc.store.duplicates import DuplicateGroup
from contactsvc.store.index_inspection import InspectedIndex, inspect_indexes
from contactsvc.store.layouts import SCHEMA_VERSION, is_newer_layout
from contactsvc.store.migrations import READABLE

# Whole documents, each with up to 50 kB of metadata.
BATCH_SIZE: Final = 250
"""The number of whole documents read at a time."""


@dataclass(frozen=True, slots=True)
class InspectedDocument:
    """A document of the collection.

    Attributes:
        id: its id, as text if it is of another type.
        client_id: the client of a contact method; None for others.
        faults: the fields that the service cannot read; empty for a newer layout, whose rules are unknown.
        schema_version: the layout that it claims.
        record: the contact method without label, metadata and idempotency records; None unless it is readable. If the
            stored key is not one of the record's type, `value.normalized` is no normalized form.
        is_findable: whether lookups of the primary find it if, and only if, it is one; always true for a document to be
            migrated.
        has_written_key: whether lookups by the text as written find it if, and only if, it has no normal form.
        is_of_newer_layout: whether a newer release wrote it, so that nothing else about it is known.
    """

    id: str
    client_id: str | None
    faults: tuple[str, ...]
    schema_version: object
    record: ContactMethod | None = field(repr=False)
    is_findable: bool
    has_written_key: bool
    is_of_newer_layout: bool

    @property
    def is_of_earlier_layout(self) -> bool:
        """Whether it can be migrated to the present layout."""
        return not self.faults and _is_of_earlier_layout(self.schema_version)

    @property
    def is_of_no_layout(self) -> bool:
        """Whether it claims a layout that never existed; the service reads it as one of the present layout."""
        return not self.is_of_newer_layout and self.schema_version not in READABLE


class Inspection:
    """The contact methods of one database. Every method may raise the errors of `explained`."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    @property
    def collection_name(self) -> str:
        """The full name of the collection, with its database."""
        return self._collection.full_name

    async def exists(self) -> bool:
        """Return whether the collection exists."""
        with explained(self._collection):
            return bool(await self._collection.database.list_collection_names(filter={"name": self._collection.name}))

    async def indexes(self) -> list[InspectedIndex]:
        """Return the state of the indexes that the service needs."""
        with explained(self._collection):
            present = dict(await self._collection.index_information())
        return inspect_indexes(present)

    async def documents(self) -> AsyncGenerator[InspectedDocument]:
        """Yield every document, in any order."""
        with explained(self._collection):
            async for document in self._collection.find({}).batch_size(BATCH_SIZE):
                yield _inspected(document)

    async def double_primaries(self) -> AsyncGenerator[DuplicateGroup]:
        """Yield the primary slots that more than one document occupies."""
        with explained(self._collection):
            async for group in duplicates.double_primaries(self._collection):
                yield group

    async def shared_external_ids(self) -> AsyncGenerator[DuplicateGroup]:
        """Yield the groups of documents with the same external id."""
        with explained(self._collection):
            async for group in duplicates.shared_external_ids(self._collection):
                yield group

    async def shared_requests(self) -> AsyncGenerator[DuplicateGroup]:
        """Yield the groups of documents with an idempotency record of the same request."""
        with explained(self._collection):
            async for group in duplicates.shared_requests(self._collection):
                yield group

    async def count_expired(self, now: datetime) -> int:
        """Return the number of expired idempotency documents."""
        with explained(self._collection):
            return await self._collection.count_documents(expired(now))

    async def find_primaries(self, client_id: str, type_: str) -> list[ContactMethod | None]:
        """Return all primaries of a slot as `InspectedDocument.record`; None for an unreadable one."""
        query = {"client_id": client_id, "type": type_, "is_primary": True}
        with explained(self._collection):
            documents = self._collection.find(query).batch_size(BATCH_SIZE)
            return [readable_record(document) async for document in documents]


def inspection_of(deployment: Deployment, database: str) -> Inspection:
    """Return the inspection of one database."""
    return Inspection(deployment.driver.database(database)[COLLECTION])


@contextmanager
def explained(collection: Collection, action: str = "read the contact methods") -> Iterator[None]:
    """Raise driver errors as `refusals_translated` does, and any other one as StartupError."""
    try:
        with refusals_translated(action, collection.database.name):
            yield
    except PyMongoError as error:
        raise StartupError(f"inspecting {collection.full_name} failed: {type(error).__name__}") from error


def expired(now: datetime) -> Document:
    """Return the query for expired idempotency documents."""
    return {"forget_at": {"$lt": now}, "client_id": {"$exists": False}}


def expired_challenges(now: datetime) -> Document:
    """Return the query for records with an expired challenge, as `Challenge.is_expired`."""
    return {
        "$or": [
            {"challenge.sent_at": {"$lte": now - SEND_LIFETIME}},
            {"challenge.started_at": {"$lte": now - CHALLENGE_LIFETIME}},
        ]
    }


def readable_record(document: Document) -> ContactMethod | None:
    """Return the contact method of a document as `InspectedDocument.record`; None if it is not readable."""
    if not is_contact_method(document) or is_newer_layout(document) or invalid_fields(document):
        return None
    return _lean_record(document)


def record_primary_key(record: ContactMethod) -> str | None:
    """Return the primary_key that the document of a record should have; None for none."""
    return primary_key(record.slot) if record.is_primary else None


def record_written_key(record: ContactMethod) -> str | None:
    """Return the written_key that the document of a record should have; None for none."""
    return None if record.value.normalized is not None else written_key(record.type, written_form(record.value.text))


def _inspected(document: Document) -> InspectedDocument:
    client_id, version = document.get("client_id"), document.get("schema_version")
    is_newer = is_newer_layout(document)
    faults = () if is_newer else _faults(document)
    record = None if is_newer or faults or not is_contact_method(document) else _lean_record(document)
    is_findable = record is None or document.get("primary_key") == record_primary_key(record)
    return InspectedDocument(
        id=str(document["_id"]),
        client_id=None if client_id is None else str(client_id),
        faults=faults,
        schema_version=version,
        record=record,
        is_findable=is_findable or _is_of_earlier_layout(version),
        has_written_key=record is None or document.get("written_key") == record_written_key(record),
        is_of_newer_layout=is_newer,
    )


def _faults(document: Document) -> tuple[str, ...]:
    if is_contact_method(document):
        return invalid_fields(document)
    if "forget_at" not in document:
        # Neither a contact method nor an idempotency document.
        return ("client_id",)
    # Only MongoDB reads forget_at, so `invalid_fields` does not check it.
    never_expires = () if isinstance(document["forget_at"], datetime) else ("forget_at",)
    return (*never_expires, *invalid_fields(document))


def _is_of_earlier_layout(version: object) -> bool:
    return version in READABLE and version != SCHEMA_VERSION


def _lean_record(document: Document) -> ContactMethod:
    """Return the record of a readable document as `InspectedDocument.record`."""
    lean = {**document, "label": None, "metadata": [], "requests": None}
    key = lean.get("value_key")
    if key is not None and not key.startswith(f"{lean['type']}:"):
        # The key of another type: read as a text with a control character, which no normalized form has.
        lean["value_key"] = f":\0{key}"
    return from_document(lean)
