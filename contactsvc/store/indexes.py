"""The indexes of the contact methods, and their creation when the service starts."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable
from typing import Any, Final, NamedTuple

from pymongo import ASCENDING
from pymongo.errors import AutoReconnect, DuplicateKeyError, OperationFailure, ServerSelectionTimeoutError

from contactsvc.errors import StartupError
from contactsvc.store.drivers import Collection
from contactsvc.store.duplicates import DuplicateGroup, double_primaries, shared_external_ids
from contactsvc.store.layouts import SCHEMA_VERSION

_log = logging.getLogger(__name__)


class Index(NamedTuple):
    """An index.

    Attributes:
        name: its name.
        keys: its fields, all ascending.
        options: its other options, such as "unique".
    """

    name: str
    keys: tuple[str, ...]
    options: dict[str, Any]


# Enforces the primary rule: at most one document with the flag per client and type.
PRIMARY_SLOT: Final = Index(
    "primary_slot", ("client_id", "type"), {"unique": True, "partialFilterExpression": {"is_primary": True}}
)
# Sparse rather than partial: SecantusDB does not use a partial index with $exists for equality.
EXTERNAL_ID: Final = Index("external_id", ("external_id",), {"unique": True, "sparse": True})
# Enforces idempotency: no two documents have an idempotency record of the same request.
REQUEST: Final = Index("request", ("request_ids",), {"unique": True, "sparse": True})

INDEXES: Final = (
    PRIMARY_SLOT,
    EXTERNAL_ID,
    REQUEST,
    # The primaries of several slots at once.
    Index("primary_key", ("primary_key",), {"sparse": True}),
    # Documents to be migrated. It has no entries for others, and so costs other writes nothing.
    Index(
        f"layout_before_{SCHEMA_VERSION}",
        ("schema_version",),
        {"partialFilterExpression": {"schema_version": {"$lt": SCHEMA_VERSION}}},
    ),
    # Documents of newer releases: as cheap, and usually empty.
    Index(
        f"layout_after_{SCHEMA_VERSION}",
        ("schema_version",),
        {"partialFilterExpression": {"schema_version": {"$gt": SCHEMA_VERSION}}},
    ),
    # MongoDB removes idempotency documents once they expire. Sparse, without entries for contact methods, so that a
    # search for expired documents does not read those.
    Index("forget_at", ("forget_at",), {"expireAfterSeconds": 0, "sparse": True}),
    # Listings of one client, in the default order.
    Index("client", ("client_id", "created_at", "_id"), {}),
    Index("client_type", ("client_id", "type", "created_at", "_id"), {}),
    # A metadata pair, alone and of one client.
    Index("metadata", ("metadata", "client_id"), {}),
    Index("value", ("value_key",), {}),
    # Values without a normal form, by their text; empty unless the service is or was lenient.
    Index("written_value", ("written_key",), {"sparse": True}),
    # Listings of all records, in both orders.
    Index("created_at", ("created_at", "_id"), {}),
    Index("updated_at", ("updated_at", "_id"), {}),
)

_ENFORCING: Final = (PRIMARY_SLOT, EXTERNAL_ID, REQUEST)

_BY_NAME: Final = {index.name: index for index in INDEXES}

INDEX_CONFLICTS: Final = frozenset({85, 86})
"""IndexOptionsConflict, IndexKeySpecsConflict: another index has the same name or keys."""

_INDEX_NOT_FOUND = 27
_MAX_NAMED_GROUPS = 20


def index_of(name: str) -> Index:
    """Return the index of this name."""
    return _BY_NAME[name]


async def create_index(collection: Collection, index: Index) -> None:
    """Create an index unless it exists; raises the driver's errors."""
    keys = [(key, ASCENDING) for key in index.keys]
    try:
        await collection.create_index(keys, name=index.name, **index.options)
    except ServerSelectionTimeoutError:
        raise
    except AutoReconnect:
        # Drivers do not repeat it, although it may be repeated: one lost connection is no reason to fail a start.
        await collection.create_index(keys, name=index.name, **index.options)


async def ensure_indexes(collection: Collection) -> None:
    """Create missing indexes, and check the unique ones, which enforce the rules of the data.

    Raises:
        StartupError: stored data violates a unique index (the message names the clients or records), or a different
            index has the name of a unique one.
    """
    for index in INDEXES:
        try:
            await create_index(collection, index)
        except DuplicateKeyError as error:
            raise StartupError(await _violation(collection, index)) from error
        except OperationFailure as error:
            if error.code not in INDEX_CONFLICTS:
                raise
            if index in _ENFORCING:
                raise _wrong_index(collection, index) from error
            await _recreate(collection, index)
    present = await collection.index_information()
    for index in _ENFORCING:
        found = present.get(index.name, {})
        if not found.get("unique") or tuple(key for key, _ in found["key"]) != index.keys:
            raise _wrong_index(collection, index)
    if dict(present[PRIMARY_SLOT.name].get("partialFilterExpression", {})) != {"is_primary": True}:
        raise _wrong_index(collection, PRIMARY_SLOT)


async def _recreate(collection: Collection, index: Index) -> None:
    """Replace the index of this name, which an earlier release may have created with other options."""
    _log.warning("recreating the index %s of %s: its keys or options differ", index.name, collection.full_name)
    try:
        await collection.drop_index(index.name)
    except OperationFailure as error:
        # Another service that is starting has dropped it already.
        if error.code != _INDEX_NOT_FOUND:
            raise
    await create_index(collection, index)


def _wrong_index(collection: Collection, index: Index) -> StartupError:
    return StartupError(
        f"the index {index.name!r} of {collection.full_name} has other keys or options than the service needs; "
        f"drop it and start the service again"
    )


async def _violation(collection: Collection, index: Index) -> str:
    """Return the message that names the data which violates a unique index."""
    if index is PRIMARY_SLOT:
        problem = "these clients have several primary contact methods of one type: "
        problem += await _named(double_primaries(collection))
    elif index is EXTERNAL_ID:
        problem = "these contact methods share an external id: " + await _named(shared_external_ids(collection))
    else:
        problem = "several documents have an idempotency record of the same request; `contactsvc doctor` names them"
    return f"the data in {collection.full_name} violates the unique index {index.name!r}: {problem}"


async def _named(groups: AsyncIterable[DuplicateGroup]) -> str:
    """Return the first groups as text, and the number of the others."""
    names: list[str] = []
    count = 0
    async for group in groups:
        count += 1
        if count <= _MAX_NAMED_GROUPS:
            ids = ", ".join(group.ids) + (", ..." if group.size > len(group.ids) else "")
            names.append(f"client {group.client_id} ({group.type}: {ids})" if group.client_id else ids)
    more = f" and {count - len(names)} more" if count > len(names) else ""
    return "; ".join(names) + more
