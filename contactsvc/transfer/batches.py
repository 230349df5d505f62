"""The rows of an import in batches, each the size of a transaction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from itertools import islice

from contactsvc.domain.validation import MAX_BATCH_ITEMS
from contactsvc.transfer.sources import NumberedRow

BATCH_SIZE = MAX_BATCH_ITEMS
"""Rows per transaction: as many as a batch call may have."""


def batches_of(rows: Sequence[NumberedRow]) -> Iterator[Sequence[NumberedRow]]:
    """Yield the rows in batches."""
    for start in range(0, len(rows), BATCH_SIZE):
        yield rows[start : start + BATCH_SIZE]


async def read_ahead(rows: Iterator[NumberedRow]) -> AsyncGenerator[Sequence[NumberedRow]]:
    """Yield the rows in batches; the next batch is parsed while the caller writes one."""

    def read() -> Sequence[NumberedRow]:
        return list(islice(rows, BATCH_SIZE))

    # In a thread: parsing a batch blocks for milliseconds.
    following = asyncio.ensure_future(asyncio.to_thread(read))
    try:
        while batch := await asyncio.shield(following):
            following = asyncio.ensure_future(asyncio.to_thread(read))
            yield batch
    finally:
        # The file must not be closed under the thread. An error in a batch that is not used does not matter.
        await asyncio.gather(following, return_exceptions=True)
