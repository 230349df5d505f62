"""A listing as a walk along an index, in the order of the listing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from bson.min_key import MinKey
from pymongo import DESCENDING

from contactsvc.domain.clock import EPOCH
from contactsvc.store.documents import metadata_pair
from contactsvc.store.drivers import Document
from contactsvc.store.indexes import Index, index_of
from contactsvc.store.paging import Paging
from contactsvc.store.queries import CONTACT_METHODS

# After the time of every record.
_END_OF_TIME = datetime.max.replace(tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

Position = tuple[datetime, str]
"""A place in a walk: time and id of a document."""


@dataclass(frozen=True, slots=True)
class IndexWalk:
    """A range of an index whose last fields are a time and the id.

    Attributes:
        index: the index.
        prefix: the values of the fields before the time.
        reverse: whether to walk backwards.
        at_or_after: the first time of the range.
        before: the end of the range.
        rest: further conditions of the documents.
    """

    index: Index
    prefix: tuple[str, ...]
    reverse: bool
    at_or_after: datetime
    before: datetime
    rest: Document

    @property
    def field(self) -> str:
        """The field of the time."""
        return self.index.keys[-2]

    @property
    def query(self) -> Document:
        """The query for the documents of the range."""
        equal = dict(zip(self.index.keys, self.prefix, strict=False))
        return {**equal, self.field: {"$gte": self.at_or_after, "$lt": self.before}}

    @property
    def below(self) -> IndexWalk | None:
        """The walk along what lies below a range without a beginning of its own; None if it has one.

        That is documents with malformed times, which must not be left out without an error, and times before 1970.
        """
        if self.at_or_after != EPOCH:
            return None
        rest = {**self.rest, "client_id": {"$exists": True}}
        return replace(self, at_or_after=MinKey(), before=EPOCH, rest=rest)  # type: ignore[arg-type]  # sorts below times

    @property
    def order(self) -> list[tuple[str, int]]:
        """The order of the walk."""
        direction = -1 if self.reverse else 1
        return [(self.field, direction), ("_id", direction)]

    def at_or_beyond(self, time: datetime) -> IndexWalk:
        """Return the part of the walk that is not before a time, in its direction."""
        if self.reverse:
            return self if time >= self.before else replace(self, before=time + _MILLISECOND)
        return replace(self, at_or_after=max(self.at_or_after, time))

    def position_of(self, document: Document) -> Position:
        """Return the position of a document."""
        return document[self.field], document["_id"]


def walk_of(paging: Paging, *, client_indexes: bool) -> IndexWalk | None:
    """Return the walk for a listing; None when another way of reading it is better.

    That is so when its filter names what few records have, or (for the records of a client) its order has no index.
    Several sort keys need the order of the second within equal times, see ListingReader.

    Args:
        paging: the listing.
        client_indexes: whether the records of one client are walked along their own indexes as well.
    """
    asked = paging.listing.filter
    field, direction = paging.keys[0]
    rest = {name: condition for name, condition in paging.query.items() if name != field}
    if rest.get("created_at") == CONTACT_METHODS["created_at"]:
        # Other documents have no times, and so no place in the walk.
        del rest["created_at"]
    prefix: tuple[str, ...] = ()
    name = field
    if asked.is_selective or asked.client_ids:
        by_client = len(asked.client_ids) == 1 and not (asked.ids or asked.external_ids or asked.values is not None)
        if not by_client or not client_indexes or field != "created_at":
            return None
        prefix, name = (rest.pop("client_id"),), "client"
        if len(asked.types) == 1:
            prefix, name = (*prefix, rest.pop("type")), "client_type"
    bounds = paging.query.get(field, {})
    return IndexWalk(
        index=index_of(name),
        prefix=prefix,
        reverse=direction == DESCENDING,
        at_or_after=max(EPOCH, bounds.get("$gte", EPOCH)),
        before=min(_END_OF_TIME, bounds.get("$lt", _END_OF_TIME)),
        rest=rest,
    )


def pair_prefixes(paging: Paging) -> Sequence[tuple[str, ...]]:
    """Return the beginnings of the index of metadata pairs that a listing could be read by."""
    asked = paging.listing.filter
    if asked.ids or asked.external_ids or asked.values is not None or len(asked.client_ids) > 1:
        return ()
    return [(metadata_pair(key, value), *asked.client_ids) for key, value in asked.metadata.items()]
