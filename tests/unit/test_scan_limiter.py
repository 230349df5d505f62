"""The limit of long reads, where streams are concerned."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from contactsvc.errors import Overloaded
from contactsvc.rpc.admission import MAX_SCANS, ScanLimiter
from contactsvc.telemetry.limit import Limit


async def pages() -> AsyncGenerator[int]:
    for page in range(3):
        yield page


async def test_a_stream_counts_while_a_page_is_read_and_not_while_it_is_sent() -> None:
    limiter = ScanLimiter(lambda _: None)
    streams = [limiter.counted_pages(pages(), "key") for _ in range(2 * MAX_SCANS)]

    for page in range(3):
        assert [await anext(stream) for stream in streams] == [page] * len(streams)
    assert [await anext(stream, None) for stream in streams] == [None] * len(streams)


async def test_a_stream_is_refused_at_its_first_page_only() -> None:
    rejected: list[Limit] = []
    limiter = ScanLimiter(rejected.append)
    begun = limiter.counted_pages(pages(), None)
    await anext(begun)
    reads = [limiter.counted(None) for _ in range(MAX_SCANS)]
    for read in reads:
        read.__enter__()

    with pytest.raises(Overloaded):
        await anext(limiter.counted_pages(pages(), None))
    assert await anext(begun) == 1
    assert rejected == [Limit.SCANS]
    for read in reads:
        read.__exit__(None, None, None)
    assert await anext(limiter.counted_pages(pages(), None)) == 0
