"""The indexes, and the start that refuses to go on without the ones that hold a rule."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any, Final, NamedTuple

from pymongo import ASCENDING
from pymongo.errors import DuplicateKeyError, OperationFailure

from contactsvc.errors import StartupError
from contactsvc.store.documents import SCHEMA_VERSION
from contactsvc.store.drivers import Collection, Document

_log = logging.getLogger(__name__)


class Index(NamedTuple):
    """An index: its name, its keys (all ascending), and what else it is told."""

    name: str
    keys: tuple[str, ...]
    options: dict[str, Any]


# Holds the primary rule: of the documents with the flag, one per client and type.
PRIMARY_SLOT: Final = Index(
    "primary_slot", ("client_id", "type"), {"unique": True, "partialFilterExpression": {"is_primary": True}}
)
# Sparse rather than partial: SecantusDB uses a partial index with $exists for no equality.
EXTERNAL_ID: Final = Index("external_id", ("external_id",), {"unique": True, "sparse": True})

# Holds that a request is carried out once: no two documents remember the same one.
REQUEST: Final = Index("request", ("request_ids",), {"unique": True, "sparse": True})

INDEXES: Final = (
    PRIMARY_SLOT,
    EXTERNAL_ID,
    REQUEST,
    # The primaries of several slots at once.
    Index("primary_key", ("primary_key",), {"sparse": True}),
    # What is still to be migrated. It has no entry for anything else, and so costs no other write anything.
    Index(
        f"layout_before_{SCHEMA_VERSION}",
        ("schema_version",),
        {"partialFilterExpression": {"schema_version": {"$lt": SCHEMA_VERSION}}},
    ),
    # What a newer release has written; as cheap, and empty unless one has.
    Index(
        f"layout_after_{SCHEMA_VERSION}",
        ("schema_version",),
        {"partialFilterExpression": {"schema_version": {"$gt": SCHEMA_VERSION}}},
    ),
    # MongoDB itself removes what remembers a request and nothing else, once that is due.
    # Sparse, so that it has no entry for contact methods, and what is due is found without reading them.
    Index("forget_at", ("forget_at",), {"expireAfterSeconds": 0, "sparse": True}),
    # The lists of one client, in the default order.
    Index("client", ("client_id", "created_at", "_id"), {}),
    Index("client_type", ("client_id", "type", "created_at", "_id"), {}),
    # A pair alone, and a pair of one client.
    Index("metadata", ("metadata", "client_id"), {}),
    Index("value", ("value_key",), {}),
    # The lists of everything, in both orders.
    Index("created_at", ("created_at", "_id"), {}),
    Index("updated_at", ("updated_at", "_id"), {}),
)

_RULES: Final = (PRIMARY_SLOT, EXTERNAL_ID, REQUEST)

INDEX_CONFLICTS: Final = frozenset({85, 86})
"""IndexOptionsConflict, IndexKeySpecsConflict: the codes with which another index of the name or keys is in the way."""

_INDEX_NOT_FOUND = 27
_MOST_NAMED = 20


async def create_index(collection: Collection, index: Index) -> None:
    """Create an index, unless it is there; raise what the driver raises."""
    await collection.create_index([(key, ASCENDING) for key in index.keys], name=index.name, **index.options)


async def ensure_indexes(collection: Collection) -> None:
    """Create what is missing, and make sure that the rules are held.

    Raises:
        StartupError: existing data breaks a rule (the message names the clients or records), or an index of the same
            name is another one.
    """
    for index in INDEXES:
        try:
            await create_index(collection, index)
        except DuplicateKeyError as error:
            raise StartupError(await _broken_rule(collection, index)) from error
        except OperationFailure as error:
            if error.code not in INDEX_CONFLICTS:
                raise
            if index in _RULES:
                raise _wrong_index(collection, index) from error
            await _make_anew(collection, index)
    present = await collection.index_information()
    for index in _RULES:
        found = present.get(index.name, {})
        if not found.get("unique") or tuple(key for key, _ in found["key"]) != index.keys:
            raise _wrong_index(collection, index)
    if dict(present[PRIMARY_SLOT.name].get("partialFilterExpression", {})) != {"is_primary": True}:
        raise _wrong_index(collection, PRIMARY_SLOT)


async def _make_anew(collection: Collection, index: Index) -> None:
    """Put an index that holds no rule in place of the one of its name, which an earlier version may have made."""
    _log.warning("making the index %s of %s anew: it is not the one that is needed", index.name, collection.full_name)
    try:
        await collection.drop_index(index.name)
    except OperationFailure as error:
        # Another service that starts at the same time was faster.
        if error.code != _INDEX_NOT_FOUND:
            raise
    await create_index(collection, index)


def _wrong_index(collection: Collection, index: Index) -> StartupError:
    return StartupError(
        f"the index {index.name!r} of {collection.full_name} is not the one that the service needs; "
        f"drop it and start again"
    )


async def _broken_rule(collection: Collection, index: Index) -> str:
    """Say which data stands against the index."""
    broken = []
    if index is PRIMARY_SLOT:
        rule = "these clients have more than one primary contact method of a type"
        documents = collection.find({"is_primary": True}, {"client_id": 1, "type": 1})
        async for one, other in _neighbours(documents.sort([("client_id", ASCENDING), ("type", ASCENDING)])):
            if (one["client_id"], one["type"]) == (other["client_id"], other["type"]):
                broken.append(f"client {one['client_id']} ({one['type']}: {one['_id']}, {other['_id']})")
    elif index is REQUEST:
        return f"{collection.full_name} breaks a rule of the service: documents share one of their request_ids"
    else:
        rule = "these contact methods share an external id"
        documents = collection.find({"external_id": {"$exists": True}}, {"external_id": 1})
        async for one, other in _neighbours(documents.sort([("external_id", ASCENDING)])):
            if one["external_id"] == other["external_id"]:
                broken.append(f"{one['_id']} and {other['_id']}")
    more = f" and {len(broken) - _MOST_NAMED} more" if len(broken) > _MOST_NAMED else ""
    return f"{collection.full_name} breaks a rule of the service: {rule}: {'; '.join(broken[:_MOST_NAMED])}{more}"


async def _neighbours(documents: AsyncIterator[Document]) -> AsyncIterator[tuple[Document, Document]]:
    previous: Document | None = None
    async for document in documents:
        if previous is not None:
            yield previous, document
        previous = document
