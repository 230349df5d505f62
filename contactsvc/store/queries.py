"""Filters and sort orders as MongoDB queries."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Final

from pymongo import ASCENDING, DESCENDING

from contactsvc.domain.clock import EPOCH
from contactsvc.domain.kinds import Slot
from contactsvc.domain.listing import Filter, SortKey, TimeRange
from contactsvc.domain.normalization import searched_digits, searched_email_part
from contactsvc.store.documents import metadata_pair, value_key, written_key
from contactsvc.store.drivers import Document
from contactsvc.store.layouts import SCHEMA_VERSION

CONTACT_METHODS: Final[Document] = {"created_at": {"$gte": EPOCH}}
"""Excludes idempotency documents, by the bounds of an index."""

EARLIER_LAYOUTS: Final[Document] = {"schema_version": {"$lt": SCHEMA_VERSION}}
"""The documents of earlier layouts, not migrated yet."""

NEWER_LAYOUTS: Final[Document] = {"schema_version": {"$gt": SCHEMA_VERSION}}
"""The documents written by a newer release."""


def filter_query(asked: Filter, *, unparsed: bool = True) -> Document:
    """Return the query for a filter.

    Args:
        asked: the filter.
        unparsed: whether values without a normal form are looked for. Without them the query needs no `$or`, which is a
            scan on SecantusDB.
    """
    query: Document = {}
    for field, wanted in (
        ("_id", asked.ids),
        ("client_id", asked.client_ids),
        ("type", tuple(type_.value for type_ in asked.types)),
        ("external_id", asked.external_ids),
        ("label", asked.labels),
    ):
        if wanted:
            query[field] = any_of(sorted(set(wanted)))
    # Conditions that may share a field, or an operator, with others.
    conditions: list[Document] = [{"metadata": metadata_pair(key, value)} for key, value in asked.metadata.items()]
    if asked.values is not None:
        keys = {"value_key": any_of(sorted({value_key(type_, normal) for type_, normal in asked.values}))}
        conditions.append({"$or": [keys, unparsed_values(asked)]} if unparsed else keys)
    if asked.value_contains:
        conditions.append(_containing(asked.value_contains))
    if asked.is_primary is not None:
        query["is_primary"] = asked.is_primary
    if asked.is_verified is not None:
        # null also matches an absent field.
        query["verified_at"] = {"$ne": None} if asked.is_verified else None
    for field, range_ in (("created_at", asked.created), ("updated_at", asked.updated)):
        if bounds := _bounds(range_):
            query[field] = bounds
    if len(conditions) == 1:
        query |= conditions[0]
    elif conditions:
        query["$and"] = conditions
    if query.keys() <= {"_id", "verified_at"} and asked.is_verified is not True:
        query |= CONTACT_METHODS
    return query


def unparsed_values(asked: Filter) -> Document:
    """Return the query for the values of a filter that have no normal form."""
    return {"written_key": any_of(sorted({written_key(type_, written) for type_, written in asked.written_values}))}


def _containing(text: str) -> Document:
    """Return the condition that a value contains a text: as written, in its digits, or in an email of any case."""
    conditions: list[Document] = [{"value": {"$regex": re.escape(text)}}]
    if (digits := searched_digits(text)) is not None:
        conditions.append({"value_key": {"$regex": f"^(?:phone|fax):.*{re.escape(digits)}"}})
    if (lower := searched_email_part(text)) is not None:
        conditions.append({"value_key": {"$regex": f"^email:.*{re.escape(lower)}"}})
    return conditions[0] if len(conditions) == 1 else {"$or": conditions}


def primaries_without_key(slots: Collection[Slot]) -> Document:
    """Return a query for the primaries of these slots in every layout, which may match those of other slots, too."""
    return {
        "client_id": any_of(sorted({client_id for client_id, _ in slots})),
        "type": any_of(sorted({type_.value for _, type_ in slots})),
        "is_primary": True,
    }


def any_of(wanted: Sequence[Any]) -> Any:
    """Return the condition that a field has one of these values; for a single value plain equality, the best plan."""
    return wanted[0] if len(wanted) == 1 else {"$in": list(wanted)}


def order(sort: Sequence[SortKey]) -> list[tuple[str, int]]:
    """Return the sort keys of a listing, with ties broken by id in the direction of the last key."""
    keys = [(key.field.value, DESCENDING if key.descending else ASCENDING) for key in sort]
    return [*keys, ("_id", keys[-1][1])]


def continuations(query: Document, keys: Sequence[tuple[str, int]], position: Sequence[Any]) -> Iterator[Document]:
    """Yield queries whose concatenated results are what follows `position` in the order of `keys`.

    Together they equal one query with $or. Each consists of equalities and one range, merged with those of `query`, so
    that planners that cannot split an $or, and scan for an $and, use an index as well.
    """
    for depth in range(len(keys) - 1, -1, -1):
        conditions: Document = {field: position[i] for i, (field, _) in enumerate(keys[:depth])}
        field, direction = keys[depth]
        conditions[field] = {"$gt" if direction == ASCENDING else "$lt": position[depth]}
        if (merged := _merged(query, conditions)) is not None:
            yield merged


def _merged(query: Document, conditions: Document) -> Document | None:
    """Return a query with further conditions, of times or the id; None when nothing can match it."""
    merged = dict(query)
    for field, condition in conditions.items():
        if field not in query:
            merged[field] = condition
            continue
        both = _both(query[field], condition)
        if both is None:
            return None
        merged[field] = both
    return merged


def _both(asked: Any, condition: Any) -> Any:
    """Return one condition that equals two of the same field; None when nothing can match both.

    Args:
        asked: bounds, or values: one, or several with `$in`.
        condition: a value, or one exclusive bound.
    """
    if not isinstance(condition, dict):
        return condition if _within(condition, asked) else None
    if isinstance(asked, dict) and "$in" not in asked:
        return _narrowed(asked, condition)
    values = asked["$in"] if isinstance(asked, dict) else [asked]
    kept = [value for value in values if _within(value, condition)]
    return any_of(kept) if kept else None


def _narrowed(bounds: Document, condition: Document) -> Document | None:
    """Return bounds with one more exclusive bound; None when nothing can be within."""
    ((name, value),) = condition.items()
    inclusive = name + "e"
    narrowed = dict(bounds)
    if name in bounds:
        narrowed[name] = max(bounds[name], value) if name == "$gt" else min(bounds[name], value)
    elif inclusive not in bounds or (bounds[inclusive] <= value if name == "$gt" else bounds[inclusive] >= value):
        narrowed.pop(inclusive, None)
        narrowed[name] = value
    low, high = narrowed.get("$gte", narrowed.get("$gt")), narrowed.get("$lt", narrowed.get("$lte"))
    return None if low is not None and high is not None and low >= high else narrowed


def _within(value: Any, bounds: Any) -> bool:
    """Return whether a value meets a condition: bounds, values with `$in`, or one value."""
    if not isinstance(bounds, dict):
        return bool(value == bounds)
    compare: dict[str, Callable[[Any, Any], bool]] = {
        "$gt": operator.gt,
        "$gte": operator.ge,
        "$lt": operator.lt,
        "$lte": operator.le,
        "$in": lambda one, several: one in several,
    }
    return all(compare[name](value, bound) for name, bound in bounds.items())


def _bounds(range_: TimeRange) -> Document:
    bounds: Document = {}
    if range_.at_or_after is not None:
        bounds["$gte"] = range_.at_or_after
    if range_.before is not None:
        bounds["$lt"] = range_.before
    return bounds
