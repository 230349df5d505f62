"""What `contactsvc doctor` sees of a database, and the few guarded writes with which it mends.

Unlike the store it takes nothing for granted: no index, no field, and no kind of a field. It reads whole documents, as
the service does, with cursors, holds one batch at a time, and creates nothing unless it is told to. Which fields cannot
be read is for documents.py to say, what is a fault, and what to do, for contactsvc.doctor.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from typing import Any

from pymongo import ASCENDING, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure, PyMongoError

from contactsvc.domain.contact_method import ContactMethod
from contactsvc.errors import StartupError
from contactsvc.store.deployment import COLLECTION, Deployment
from contactsvc.store.documents import (
    SCHEMA_VERSION,
    from_document,
    is_contact_method,
    is_of_newer_layout,
    primary_key,
    unusable_fields,
    value_key,
)
from contactsvc.store.driver_errors import refusals_translated
from contactsvc.store.drivers import Collection, Document
from contactsvc.store.indexes import INDEX_CONFLICTS, INDEXES, Index, create_index
from contactsvc.store.migrations import READABLE, update_of
from contactsvc.store.queries import EARLIER_LAYOUTS

MOST_NAMED = 20
"""How many ids of one group are kept, so that no group fills the memory."""

_BATCH = 1_000
# Whole documents, of which one may have 50 kB of metadata.
_WHOLE_AT_A_TIME = 250

# What MongoDB says of an index besides what it was told.
_SAID_OF_EVERY_INDEX = frozenset({"v", "key", "ns", "background"})


class IndexState(Enum):
    """How an index is."""

    RIGHT = auto()
    """It is as declared."""
    MISSING = auto()
    OTHER = auto()
    """There is one of this name that is declared otherwise."""
    RENAMED = auto()
    """There is one with the same keys of another name, and MongoDB has only one of them."""


@dataclass(frozen=True, slots=True)
class InspectedIndex:
    """An index that the service needs.

    Attributes:
        name: how the service calls it.
        unique: whether it holds a rule.
        state: how it is.
        found: the name of the index that is in its place, when there is one.
    """

    name: str
    unique: bool
    state: IndexState
    found: str


@dataclass(frozen=True, slots=True)
class InspectedDocument:
    """A document of the collection.

    Attributes:
        id: its id; the text of it, when it is no text.
        client_id: of a contact method; None for others.
        faults: the fields because of which the service cannot read it; of one of a newer layout that is not known.
        schema_version: the layout it claims.
        record: the contact method, without label, metadata and what it remembers; None unless it is a sound one of a
            layout that can be read. Where the stored key is not one of its type, `value.normalized` is no normal form.
        is_findable: whether it is found as the primary that it is, and as no other; one that is to be migrated counts
            as such.
        is_of_newer_layout: whether a newer release has written it, so that nothing else is known of it.
    """

    id: str
    client_id: str | None
    faults: tuple[str, ...]
    schema_version: object
    record: ContactMethod | None = field(repr=False)
    is_findable: bool
    is_of_newer_layout: bool

    @property
    def is_of_earlier_layout(self) -> bool:
        """Whether it can be migrated to the present layout."""
        return not self.faults and _is_of_earlier_layout(self.schema_version)

    @property
    def is_of_no_layout(self) -> bool:
        """Whether it claims no layout that there ever was; the service reads it as one of the present layout."""
        return not self.is_of_newer_layout and self.schema_version not in READABLE


@dataclass(frozen=True, slots=True)
class Group:
    """Documents that share what only one may have.

    Attributes:
        client_id: of a primary slot; empty for others.
        type: of a primary slot, as it is stored; empty for others.
        ids: of the first of them, `MOST_NAMED` at most.
        size: how many there are.
    """

    client_id: str
    type: str
    ids: tuple[str, ...]
    size: int


class Inspection:
    """The contact methods of one database, as they are. Any method may raise what `_explained` raises."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    @property
    def collection_name(self) -> str:
        """The name of the collection, with its database."""
        return self._collection.full_name

    async def exists(self) -> bool:
        """Tell whether the collection is there."""
        with self._explained():
            return bool(await self._collection.database.list_collection_names(filter={"name": COLLECTION}))

    async def indexes(self) -> list[InspectedIndex]:
        """Return how the indexes are that the service needs."""
        with self._explained():
            present = dict(await self._collection.index_information())
        return [_examined_index(index, present) for index in INDEXES]

    async def documents(self) -> AsyncGenerator[InspectedDocument]:
        """Yield every document, in any order."""
        with self._explained():
            async for document in self._collection.find({}).batch_size(_WHOLE_AT_A_TIME):
                yield _examined(document)

    async def double_primaries(self) -> AsyncGenerator[Group]:
        """Yield the primary slots that more than one document takes."""
        with self._explained():
            cursor = self._collection.find({"is_primary": True}, {"client_id": 1, "type": 1})
            cursor = cursor.sort([("client_id", ASCENDING), ("type", ASCENDING)])
            async for group in _groups(cursor.allow_disk_use(True).batch_size(_BATCH), "client_id", "type"):
                yield group

    async def shared_external_ids(self) -> AsyncGenerator[Group]:
        """Yield the documents that share an external id."""
        with self._explained():
            cursor = self._collection.find({"external_id": {"$exists": True}}, {"external_id": 1})
            cursor = cursor.sort([("external_id", ASCENDING)])
            async for group in _groups(cursor.allow_disk_use(True).batch_size(_BATCH), "external_id"):
                # Which external id it is remains untold: callers may put what they like into it.
                yield Group("", "", group.ids, group.size)

    async def shared_requests(self) -> AsyncGenerator[Group]:
        """Yield the documents that remember one and the same request."""
        stages: list[Document] = [
            {"$match": {"request_ids": {"$exists": True}}},
            {"$project": {"request_ids": 1}},
            {"$unwind": "$request_ids"},
            {"$group": {"_id": "$request_ids", "ids": {"$push": "$_id"}, "size": {"$sum": 1}}},
            {"$match": {"size": {"$gt": 1}}},
        ]
        with self._explained():
            # PyMongo wants it awaited, Motor does not.
            cursor: Any = self._collection.aggregate(stages, allowDiskUse=True, batchSize=_BATCH)
            if inspect.isawaitable(cursor):
                cursor = await cursor
            async for found in cursor:
                yield Group("", "", tuple(map(str, found["ids"][:MOST_NAMED])), found["size"])

    async def count_expired(self, now: datetime) -> int:
        """Return how many documents only remember requests, and need not any more."""
        with self._explained():
            return await self._collection.count_documents(_expired(now))

    async def find(self, id_: str, etag: str) -> ContactMethod | None:
        """Return a contact method as in `InspectedDocument.record`, if it is sound and still has this etag."""
        with self._explained():
            document = await self._collection.find_one({"_id": id_})
        return None if document is None or document.get("etag") != etag else _record(document)

    async def find_primaries(self, client_id: str, type_: str) -> list[ContactMethod | None]:
        """Return all primaries of a slot as in `InspectedDocument.record`; None for one that is not sound."""
        query = {"client_id": client_id, "type": type_, "is_primary": True}
        with self._explained():
            documents = self._collection.find(query).batch_size(_WHOLE_AT_A_TIME)
            return [_record(document) async for document in documents]

    async def replace(self, before: ContactMethod, after: ContactMethod) -> bool:
        """Write flag, normal form and verification of a contact method; tell whether it was still as it was read."""
        put: Document = {"is_primary": after.is_primary, "updated_at": after.updated_at, "etag": after.etag}
        remove: Document = {}
        if after.value.normalized is None:
            remove["value_key"] = ""
        elif after.value.normalized != before.value.normalized:
            put["value_key"] = value_key(after.type, after.value.normalized)
        if after.verified_at is None:
            remove["verified_at"] = ""
        if (key := _primary_key(after)) is None:
            remove["primary_key"] = ""
        else:
            put["primary_key"] = key
        update = {"$set": put, "$unset": remove} if remove else {"$set": put}
        with self._explained("write the contact methods"):
            result = await self._collection.update_one({"_id": before.id, "etag": before.etag}, update)
        return result.matched_count == 1

    async def make_findable(self, record: ContactMethod) -> bool:
        """Write by what the record is found as a primary; tell whether it was still as it was read."""
        key = _primary_key(record)
        update = {"$unset": {"primary_key": ""}} if key is None else {"$set": {"primary_key": key}}
        with self._explained("write the contact methods"):
            result = await self._collection.update_one({"_id": record.id, "etag": record.etag}, update)
        return result.matched_count == 1

    async def migrate(self) -> int:
        """Bring documents of earlier layouts into the present one; return how many were brought.

        In batches, each document guarded against writes meanwhile. What somebody has written meanwhile is read again,
        and a run that is interrupted has done what it has done: the next one finds the rest.
        """
        total = 0
        while moved := await self._migrate_once():
            total += moved
        return total

    async def _migrate_once(self) -> int:
        """Go over the documents of earlier layouts once."""
        moved = 0
        with self._explained("write the contact methods"):
            cursor = self._collection.find(EARLIER_LAYOUTS).batch_size(_WHOLE_AT_A_TIME)
            try:
                while documents := await cursor.to_list(length=_WHOLE_AT_A_TIME):
                    moved += await self._migrate_all(documents)
            finally:
                await cursor.close()
        return moved

    async def _migrate_all(self, documents: list[Document]) -> int:
        updates = [UpdateOne(*update_of(document)) for document in documents if _is_migratable(document)]
        if not updates:
            return 0
        try:
            return (await self._collection.bulk_write(updates, ordered=False)).matched_count
        except BulkWriteError as error:
            # Whatever stood against single ones, such as another write at the same moment, they are found again.
            return int(error.details.get("nMatched", 0))

    async def remove_expired(self, now: datetime) -> int:
        """Remove what only remembers requests, and need not any more; return how many there were."""
        with self._explained("write the contact methods"):
            return (await self._collection.delete_many(_expired(now))).deleted_count

    async def create_index(self, name: str) -> bool:
        """Create an index that the service needs; tell whether nothing stood against it."""
        index = next(index for index in INDEXES if index.name == name)
        with self._explained("create indexes"):
            try:
                await create_index(self._collection, index)
            except DuplicateKeyError:
                return False
            except OperationFailure as error:
                if error.code in INDEX_CONFLICTS:
                    return False
                raise
        return True

    @contextmanager
    def _explained(self, action: str = "read the contact methods") -> Iterator[None]:
        """Raise driver errors as errors of the service, and what it has no word for as StartupError."""
        try:
            with refusals_translated(action, self._collection.database.name):
                yield
        except PyMongoError as error:
            raise StartupError(f"the database cannot be examined: {type(error).__name__}") from error


def inspection_of(deployment: Deployment, database: str) -> Inspection:
    """Return the examination of one database."""
    return Inspection(deployment.driver.database(database)[COLLECTION])


def _examined_index(index: Index, present: dict[str, Any]) -> InspectedIndex:
    declared = {"key": [(key, ASCENDING) for key in index.keys], **index.options}
    unique = bool(index.options.get("unique"))
    if index.name in present:
        state = IndexState.RIGHT if _told(present[index.name]) == declared else IndexState.OTHER
        return InspectedIndex(index.name, unique, state, index.name)
    for name, found in present.items():
        if _told(found) == declared:
            return InspectedIndex(index.name, unique, IndexState.RENAMED, name)
    return InspectedIndex(index.name, unique, IndexState.MISSING, "")


def _told(found: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of an index and what it was told, in one form."""
    options = {
        name: dict(value) if name == "partialFilterExpression" else value
        for name, value in found.items()
        # Told `False` is as good as told nothing; but 0 seconds are not.
        if name not in _SAID_OF_EVERY_INDEX and value is not False
    }
    return {"key": [(key, way) for key, way in found["key"]], **options}


def _examined(document: Document) -> InspectedDocument:
    client_id, version = document.get("client_id"), document.get("schema_version")
    is_newer = is_of_newer_layout(document)
    faults = () if is_newer else _faults(document)
    record = None if is_newer or faults or not is_contact_method(document) else _lean_record(document)
    is_found = record is None or document.get("primary_key") == _primary_key(record)
    return InspectedDocument(
        id=str(document["_id"]),
        client_id=None if client_id is None else str(client_id),
        faults=faults,
        schema_version=version,
        record=record,
        is_findable=is_found or _is_of_earlier_layout(version),
        is_of_newer_layout=is_newer,
    )


def _faults(document: Document) -> tuple[str, ...]:
    if is_contact_method(document):
        return unusable_fields(document)
    if "forget_at" not in document:
        # Neither a contact method nor a memory of requests.
        return ("client_id",)
    # The service leaves it to MongoDB to look at.
    never = () if isinstance(document["forget_at"], datetime) else ("forget_at",)
    return (*never, *unusable_fields(document))


def _is_of_earlier_layout(version: object) -> bool:
    return version in READABLE and version != SCHEMA_VERSION


def _is_migratable(document: Document) -> bool:
    """Tell whether a step can be taken: what has faults is left to be mended first."""
    if document["schema_version"] not in READABLE:
        return False
    return not is_contact_method(document) or not unusable_fields(document)


def _primary_key(record: ContactMethod) -> str | None:
    return primary_key(record.slot) if record.is_primary else None


def _record(document: Document) -> ContactMethod | None:
    """Return the contact method of a document, without label, metadata and memories; None when it is not sound."""
    if not is_contact_method(document) or is_of_newer_layout(document) or unusable_fields(document):
        return None
    return _lean_record(document)


def _lean_record(document: Document) -> ContactMethod:
    """Return the record of a sound document as in `_record`."""
    lean = {**document, "label": None, "metadata": [], "requests": None}
    key = lean.get("value_key")
    if key is not None and not key.startswith(f"{lean['type']}:"):
        # A key of another type: shown as what no value normalizes to, since none has a control character.
        lean["value_key"] = f":\0{key}"
    return from_document(lean)


async def _groups(documents: AsyncIterable[Document], *fields: str) -> AsyncGenerator[Group]:
    """Yield the runs of more than one document with the same fields."""
    shared: tuple[Any, ...] | None = None
    ids: list[str] = []
    size = 0
    async for document in documents:
        own = tuple(document.get(name) for name in fields)
        if own != shared:
            if shared is not None and size > 1:
                yield _group(shared, ids, size)
            shared, ids, size = own, [], 0
        size += 1
        if size <= MOST_NAMED:
            ids.append(str(document["_id"]))
    if shared is not None and size > 1:
        yield _group(shared, ids, size)


def _group(shared: tuple[Any, ...], ids: list[str], size: int) -> Group:
    client_id, type_ = shared if len(shared) > 1 else ("", "")
    return Group(str(client_id), str(type_), tuple(ids), size)


def _expired(now: datetime) -> Document:
    return {"forget_at": {"$lt": now}, "client_id": {"$exists": False}}
