"""Slices of long reads: a limited number of index entries at a time; here by a command of the embedded database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import bson
from pymongo.errors import OperationFailure

from contactsvc.embedded_names import READ_INDEX
from contactsvc.store.documents import is_contact_method
from contactsvc.store.drivers import CODEC_OPTIONS, Collection, Document
from contactsvc.store.index_walk import IndexWalk, Position, walk_of
from contactsvc.store.indexes import Index, index_of
from contactsvc.store.paging import Paging
from contactsvc.store.sizes import MAX_DOCUMENT_BYTES

MAX_SLICE_BYTES: Final = 2 * 1024 * 1024
"""The size of documents, as BSON, at which a slice of the embedded database ends."""

SLICE_MEMORY: Final = 2 * MAX_SLICE_BYTES + MAX_DOCUMENT_BYTES
"""What such a slice needs in memory, at most: as BSON and in Python."""

# Index entries per slice. On the embedded database 100 entries take 2 to 4 ms, in which other calls are slower.
_ENTRIES = 100
_ENTRIES_UNDISTURBED = 500
# Entries that are counted in the time in which one is read with its document, about, while others are served.
_COUNTED_PER_READ = 3
# An answer of the database may have 16 MiB.
_MAX_FIRST_BYTES = 8 * 1024 * 1024

INDEX_NOT_FOUND: Final = 27
"""The code of the embedded database's error when it lacks the index of a slice."""


class IndexMissing(Exception):
    """The index of a walk does not exist, as in a database that no service has opened yet."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a walk.

    Attributes:
        documents: those of its entries that match, in the order of the walk.
        count: their number.
        reached: the position of its last entry; None at the end of the walk.
        size: the size of the documents as BSON, if it is known.
    """

    documents: list[Document]
    count: int
    reached: Position | None
    size: int = 0


class SliceSource(Protocol):
    """Reads walks in slices."""

    def walk_of(self, paging: Paging) -> IndexWalk | None:
        """Return the walk for a listing; None when the listing is better read by a query."""

    async def read(self, walk: IndexWalk, after: Position | None, wanted: int | None, *, paced: bool) -> Slice:
        """Read the slice after a position.

        Args:
            walk: the walk.
            after: the position; None for the beginning of the walk.
            wanted: the number of documents that are of use; None for any number.
            paced: whether it is part of a long read, which has to wait for others.

        Raises:
            IndexMissing: the walk is impossible.
        """

    async def read_below(self, walk: IndexWalk, after: Position | None, *, paced: bool) -> Slice:
        """Read a slice of what lies below the range of a walk, in any order; see IndexWalk.below. Raises as `read`."""

    async def count(self, walk: IndexWalk, after: Position | None) -> Slice:
        """Count the documents of a slice, or of all that follows, without returning them; raises as `read`."""

    async def skip(self, walk: IndexWalk, after: Position | None, entries: int) -> Slice:
        """Count documents of a walk without further conditions, up to a number; raises as `read`."""


class EmbeddedSlices:
    """Slices by the command of the embedded database.

    Args:
        collection: its contact methods.
        traffic: of the database.
        entries: index entries per slice while the database serves others.
        entries_undisturbed: index entries per slice while it does not.
    """

    def __init__(
        self,
        collection: Collection,
        traffic: Traffic,
        *,
        entries: int = _ENTRIES,
        entries_undisturbed: int = _ENTRIES_UNDISTURBED,
    ) -> None:
        self._collection = collection
        self._traffic = traffic
        self._entries = entries
        self._entries_undisturbed = entries_undisturbed

    def walk_of(self, paging: Paging) -> IndexWalk | None:
        """Return the walk for a listing; None when the listing is better read by a query."""
        return walk_of(paging, client_indexes=True)

    async def read(self, walk: IndexWalk, after: Position | None, wanted: int | None, *, paced: bool) -> Slice:
        """Read the slice after a position."""
        entries = self._present_entries
        if wanted is not None and not walk.rest:
            entries = min(entries, wanted)
        return await self._walk(walk, after, entries, paced=paced)

    async def read_below(self, walk: IndexWalk, after: Position | None, *, paced: bool) -> Slice:
        """Read a slice of what lies below the range of a walk."""
        below = walk.below
        return (
            Slice([], 0, None) if below is None else await self._walk(below, after, self._present_entries, paced=paced)
        )

    async def count(self, walk: IndexWalk, after: Position | None) -> Slice:
        """Count the documents of a slice."""
        return await self._walk(
            walk, after, self._present_entries * (1 if walk.rest else _COUNTED_PER_READ), count=True
        )

    async def skip(self, walk: IndexWalk, after: Position | None, entries: int) -> Slice:
        """Count documents of a walk without further conditions, up to a number."""
        return await self._walk(walk, after, min(entries, self._present_entries * _COUNTED_PER_READ), count=True)

    @property
    def _present_entries(self) -> int:
        return self._entries if self._traffic.is_busy else self._entries_undisturbed

    async def read_pair(self, prefix: Sequence[str], query: Document, entries: int, *, paced: bool) -> Slice:
        """Return documents with a metadata pair, in any order; `reached` is not None if there are more.

        Args:
            prefix: the pair, and a client if only its records are wanted.
            query: further conditions.
            entries: how many index entries to read.
            paced: see SliceSource.read.

        Raises:
            IndexMissing: the database has no index of pairs.
        """
        return await self._read(index_of("metadata"), [prefix], query, entries, paced=paced)

    async def read_first(self, index: str, prefixes: Sequence[Sequence[str]], entries: int) -> list[Document] | None:
        """Return the first documents of each of several ranges of an index, in its order; None if they are too large.

        Args:
            index: the name of the index.
            prefixes: the values of its first fields, for each range.
            entries: how many index entries of each range to read.

        Raises:
            IndexMissing: the database has no such index.
        """
        limits = {"max_bytes": _MAX_FIRST_BYTES}
        found = await self._read(index_of(index), prefixes, {}, entries, paced=False, limits=limits)
        return found.documents if found.size < _MAX_FIRST_BYTES else None

    async def _walk(
        self, walk: IndexWalk, after: Position | None, entries: int, *, paced: bool = True, count: bool = False
    ) -> Slice:
        limits: Document = {"at_or_after": walk.at_or_after, "before": walk.before}
        if after is not None:
            limits["after"] = list(after)
        return await self._read(
            walk.index,
            [walk.prefix],
            walk.rest,
            entries,
            paced=paced,
            count=count,
            reverse=walk.reverse,
            limits=limits,
        )

    async def _read(
        self,
        index: Index,
        prefixes: Sequence[Sequence[str]],
        query: Document,
        entries: int,
        *,
        paced: bool,
        count: bool = False,
        reverse: bool = False,
        limits: Document | None = None,
    ) -> Slice:
        command: Document = {
            READ_INDEX: self._collection.name,
            "index": index.name,
            "keys": list(index.keys),
            "prefixes": [list(prefix) for prefix in prefixes],
            "entries": entries,
            "max_bytes": MAX_SLICE_BYTES,
            "reverse": reverse,
            "filter": query,
            "count": count,
            "paced": paced,
            **(limits or {}),
        }
        try:
            answer: Document = await self._collection.database.command(command, codec_options=CODEC_OPTIONS)
        except OperationFailure as error:
            if error.code == INDEX_NOT_FOUND:
                raise IndexMissing from None
            raise
        self._traffic.is_busy = answer["busy"]
        raw: bytes = answer["documents"]
        documents = [document for document in bson.decode_all(raw, CODEC_OPTIONS) if is_contact_method(document)]
        reached = answer.get("reached")
        return Slice(documents, answer["matched"], None if reached is None else (reached[0], reached[-1]), len(raw))


@dataclass(slots=True)
class Traffic:
    """What the slices of all collections know of the embedded database.

    Attributes:
        is_busy: whether it serves others, as of the last answer.
    """

    is_busy: bool = True
