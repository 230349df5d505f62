"""Reads the contact methods of an environment, while others write, into a file.

First everything, by one cursor, oldest first: what nobody touches comes once. Then what was changed since the
beginning, in the order of its last change, page by page: a change behind the cursor comes again further on, so that the
end of the file says what has become of it. Since a write takes effect later than the time that it carries, the last
minute is read once more. What is in the file twice counts as it is there last.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from typing import IO, Protocol

from contactsvc.domain.clock import Clock, now_utc
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.listing import Filter, Listing, SortField, SortKey, TimeRange
from contactsvc.domain.validation import MAX_PAGE_SIZE
from contactsvc.service.ports import Store
from contactsvc.transfer import formats
from contactsvc.transfer.formats import Header

# Longer than a call may take unless told otherwise, and than clocks of replicas may differ.
_LATE = timedelta(seconds=60)
_BY_CHANGE = (SortKey(SortField.UPDATED_AT, descending=False),)


class Sink(Protocol):
    """Where records go."""

    def begin(self, header: Header) -> None:
        """Write what comes first."""
        ...

    def put(self, record: ContactMethod) -> None:
        """Write a record."""
        ...

    def end(self) -> None:
        """Write what says that the file is whole."""
        ...


class JsonLinesSink:
    """Writes JSON Lines, which can be restored from."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._sum = formats.Sum()

    def begin(self, header: Header) -> None:
        """Write the header."""
        line = formats.header_line(header)
        self._sum.header(line)
        self._file.write(line)

    def put(self, record: ContactMethod) -> None:
        """Write a record."""
        line = formats.record_line(record)
        self._sum.record(line)
        self._file.write(line)

    def end(self) -> None:
        """Write the trailer."""
        self._file.write(self._sum.trailer())


class CsvSink:
    """Writes CSV, for spreadsheets.

    Values are written as they are, also those that a spreadsheet takes for formulas.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def begin(self, header: Header) -> None:
        """Write the names of the columns."""
        del header
        self._file.write(formats.csv_bytes([*formats.SET_BY_THE_SERVICE, *formats.CSV_COLUMNS]))

    def put(self, record: ContactMethod) -> None:
        """Write a record."""
        self._file.write(formats.csv_bytes(formats.csv_line(record)))

    def end(self) -> None:
        """Write nothing: the format has no place for it."""


async def export(
    store: Store,
    sink: Sink,
    *,
    environment: str,
    wanted: Filter,
    progress: Callable[[int, int], None],
    clock: Clock = now_utc,
) -> int:
    """Write all records that are wanted.

    Args:
        store: where they are.
        sink: where they go.
        environment: for the header.
        wanted: which; without a condition on the time of the last change.
        progress: told how many have been written, and of how many.
        clock: tells the time.

    Returns:
        How many lines were written: one for each record that nobody changed meanwhile.
    """
    changed_from = clock() - _LATE
    sink.begin(Header(environment, changed_from))
    written: dict[str, str] = {}
    count = 0

    def put(record: ContactMethod) -> None:
        nonlocal count
        if record.updated_at >= changed_from:
            if written.get(record.id) == record.etag:
                return
            written[record.id] = record.etag
        sink.put(record)
        count += 1
        progress(count, max(count, total))

    first = await store.find_page(Listing(filter=wanted, page_size=1, include_total_size=True))
    total = first.total_size or 0
    async with aclosing(store.stream_pages(Listing(filter=wanted, page_size=MAX_PAGE_SIZE))) as pages:
        async for page in pages:
            for record in page.contact_methods:
                put(record)
    since = changed_from
    for _ in range(2):
        started = clock()
        async for record in _changed(store, replace(wanted, updated=TimeRange(at_or_after=since))):
            put(record)
        since = started - _LATE
    sink.end()
    return count


async def _changed(store: Store, wanted: Filter) -> AsyncIterator[ContactMethod]:
    """Yield records in the order of their last change, each page as it is when it is asked for."""
    listing = Listing(filter=wanted, sort=_BY_CHANGE, page_size=MAX_PAGE_SIZE)
    while True:
        page = await store.find_page(listing)
        for record in page.contact_methods:
            yield record
        if not page.next_page_token:
            return
        listing = replace(listing, page_token=page.next_page_token)
