"""Reading of documents, in batches that are counted as memory of the current call."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from contactsvc import deadlines, memory
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.store import queries
from contactsvc.store.documents import to_records
from contactsvc.store.driver_errors import translated
from contactsvc.store.drivers import Collection as MongoCollection
from contactsvc.store.drivers import Document, Session
from contactsvc.store.sizes import BATCH_SIZE, MAX_DOCUMENT_BYTES, size_of

# Records of one query that are not counted as memory of the call; the limits of calls in flight bound them.
_MAX_UNCOUNTED_RECORDS = 4
# SecantusDB compares each document with all values of an $in: each of 250 values took 103 µs of its CPU in pieces of
# 32, and 65 µs in pieces of 16.
_MAX_VALUES_PER_QUERY = 16
# Records that most clients do not exceed.
_FEW = 10


class DocumentReader:
    """Reads documents of one collection, in a transaction if there is a session."""

    _collection: MongoCollection
    _session: Session | None

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Translate driver errors; not inside a transaction, whose retries need the original ones."""
        if self._session is not None:
            yield
        else:
            with translated():
                yield

    async def _find_one(self, query: Document) -> ContactMethod | None:
        with self._translated():
            document = await self._collection.find_one(query, session=self._session, **time_limit())
        return None if document is None else next(iter(to_records([document])), None)

    async def _find_any(self, field: str, wanted: Collection[str]) -> list[ContactMethod]:
        """Return the records with one of these values in a field that is unique."""
        if len(wanted) == 1:
            # Motor is slower with a cursor.
            (value,) = wanted
            record = await self._find_one({field: value})
            return [] if record is None else [record]
        values = list(wanted)
        records: list[ContactMethod] = []
        for begin in range(0, len(values), _MAX_VALUES_PER_QUERY):
            piece = values[begin : begin + _MAX_VALUES_PER_QUERY]
            records += await self._find_records({field: queries.any_of(piece)}, at_most=len(piece))
        return records

    async def _find_records(self, query: Document, *, at_most: int = 0, limit: int = 0) -> list[ContactMethod]:
        """Return the records that match, counted as memory of the call unless they are few.

        Args:
            query: matches them.
            at_most: how many can match; 0 when that is unknown.
            limit: how many to return; 0 returns all.
        """
        if limit or 0 < at_most <= _MAX_UNCOUNTED_RECORDS:
            return to_records(await self._find(query, limit=limit))
        if at_most <= BATCH_SIZE:
            first = at_most or _FEW
            with await self._counted(first) as counted:
                # One more shows whether that is all.
                found = counted(await self._find(query, limit=first + 1))
                records = to_records(found)
            if len(found) <= first:
                return records
            memory.free(2 * size_of(found))
        records = []
        with self._translated():
            cursor = self._collection.find(query, session=self._session, **time_limit()).batch_size(BATCH_SIZE)
            exhausted = False
            try:
                while not exhausted:
                    with await self._counted(BATCH_SIZE) as counted:
                        batch = counted(await cursor.to_list(length=BATCH_SIZE))
                        records += to_records(batch)
                    exhausted = len(batch) < BATCH_SIZE
            finally:
                if not exhausted:
                    await cursor.close()
        return records

    async def _counted(self, count: int) -> _Counted:
        """Count the memory for reading so many documents; the result replaces that by what their records need."""
        expected = count * MAX_DOCUMENT_BYTES
        await memory.hold(expected)
        return _Counted(expected)

    async def _find(
        self,
        query: Document,
        projection: Document | None = None,
        *,
        sort: Sequence[tuple[str, int]] = (),
        limit: int = 0,
    ) -> list[Document]:
        with self._translated():
            cursor = self._collection.find(query, projection, session=self._session, **time_limit())
            cursor = cursor.limit(limit)
            if sort:
                cursor = cursor.sort(list(sort))
            return await cursor.to_list(length=None)


class _Counted:
    """Memory that is counted for documents being read; calling it replaces that by what the documents need."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._needed = 0

    def __enter__(self) -> _Counted:
        return self

    def __call__(self, documents: list[Document]) -> list[Document]:
        """Return the documents, whose records, and what is made of those, are counted from now on."""
        self._needed = 2 * size_of(documents)
        return documents

    def __exit__(self, *_: object) -> None:
        memory.free(self._expected - self._needed)


def time_limit(at_most_ms: int | None = None) -> dict[str, Any]:
    """Return the option that makes the database stop a query at the deadline of the call, or earlier.

    Not pymongo.timeout, which does not reach Motor's threads.

    Args:
        at_most_ms: the longest time of the query; None for no such limit.
    """
    milliseconds = deadlines.remaining_ms()
    if at_most_ms is not None and (milliseconds is None or milliseconds > at_most_ms):
        milliseconds = at_most_ms
    return {} if milliseconds is None else {"max_time_ms": milliseconds}
