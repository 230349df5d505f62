"""Reads the contact methods of an environment for an export, while others write.

A first cursor reads everything, oldest first, so that unchanged records come exactly once. Then pages in the
order of the last change read what changed since the start: a change behind the cursor comes again further on, so that
the end of the file has the latest state. A write takes effect later than the time it carries, so the last minute is
read once more. Of several lines of a record the last one counts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from contactsvc.domain.clock import Clock, now_utc
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.listing import Filter, Listing, SortField, SortKey, TimeRange
from contactsvc.domain.validation import MAX_PAGE_SIZE
from contactsvc.service.ports import Store

# Longer than the default deadline of a call, and than the clock skew between replicas.
_OVERLAP = timedelta(seconds=60)
_BY_CHANGE = (SortKey(SortField.UPDATED_AT, descending=False),)


@dataclass(frozen=True, slots=True)
class ExportHeader:
    """The header of an export.

    Attributes:
        environment: the environment that was exported.
        changed_from: records changed at or after this time may be in the file several times; the last one counts.
    """

    environment: str
    changed_from: datetime


class ExportSink(Protocol):
    """A file that takes exported records."""

    def begin(self, header: ExportHeader) -> None:
        """Write what precedes the records."""
        ...

    def put(self, record: ContactMethod) -> None:
        """Write a record."""
        ...

    def end(self) -> None:
        """Write what marks the file as complete."""
        ...


async def export(
    store: Store,
    sink: ExportSink,
    *,
    environment: str,
    wanted: Filter,
    on_progress: Callable[[int, int], None],
    clock: Clock = now_utc,
) -> int:
    """Write all matching records to a sink.

    Args:
        store: the store to read.
        sink: the sink to write to.
        environment: the name for the header.
        wanted: which records; must not restrict the time of the last change.
        on_progress: called with the number of records written, and the expected total.
        clock: returns the current time.

    Returns:
        The number of records written: one for each record that did not change meanwhile.
    """
    changed_from = clock() - _OVERLAP
    sink.begin(ExportHeader(environment, changed_from))
    written_etags: dict[str, str] = {}
    count = 0

    def put(record: ContactMethod) -> None:
        nonlocal count
        if record.updated_at >= changed_from:
            if written_etags.get(record.id) == record.etag:
                return
            written_etags[record.id] = record.etag
        sink.put(record)
        count += 1
        on_progress(count, max(count, total))

    first = await store.find_page(Listing(filter=wanted, page_size=1, include_total_size=True))
    total = first.total_size or 0
    async with aclosing(store.stream_pages(Listing(filter=wanted, page_size=MAX_PAGE_SIZE))) as pages:
        async for page in pages:
            for record in page.contact_methods:
                put(record)
    since = changed_from
    for _ in range(2):
        started = clock()
        async for record in _by_change(store, replace(wanted, updated=TimeRange(at_or_after=since))):
            put(record)
        since = started - _OVERLAP
    sink.end()
    return count


async def _by_change(store: Store, wanted: Filter) -> AsyncIterator[ContactMethod]:
    """Yield records in the order of their last change; each page shows the state at the time it is read."""
    listing = Listing(filter=wanted, sort=_BY_CHANGE, page_size=MAX_PAGE_SIZE)
    while True:
        page = await store.find_page(listing)
        for record in page.contact_methods:
            yield record
        if not page.next_page_token:
            return
        listing = replace(listing, page_token=page.next_page_token)
