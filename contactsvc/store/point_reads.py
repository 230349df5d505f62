"""Point reads: a few documents by one small command of PyMongo's asynchronous client, whichever driver does the rest.

A query through a cursor costs a third more CPU than its command, and through Motor two changes of threads
(docs/measurements.md). What the cursor would do is done here: the deadline, the repetition of a failed read, and what
follows the first batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from contactsvc import deadlines
from contactsvc.store.driver_errors import is_repeatable, translated
from contactsvc.store.drivers import CODEC_OPTIONS, READ_CONCERN, Document
from contactsvc.store.reading import time_limit


class PointReads:
    """Reads documents of one collection.

    Args:
        database: the database of the collection, by PyMongo's asynchronous client.
        collection: its name.
    """

    def __init__(self, database: AsyncDatabase[Document], collection: str) -> None:
        self._database = database
        self._collection = collection

    async def find(self, query: Document, limit: int, *, sort: Sequence[tuple[str, int]] = ()) -> list[Document]:
        """Return the documents that match, up to a number.

        Args:
            query: matches them.
            limit: the number; together they should fit into memory.
            sort: their order.

        Raises:
            DeadlineExceeded: the deadline of the call has passed.
            StoreUnavailable: the database does not answer.
        """
        if (documents := await self.find_in_one_answer(query, limit, sort=sort)) is not None:
            return documents
        with translated():
            found = self._database[self._collection].find(query, limit=limit, **time_limit())
            return await (found.sort(list(sort)) if sort else found).to_list(length=None)

    async def find_in_one_answer(
        self, query: Document, limit: int, *, sort: Sequence[tuple[str, int]] = ()
    ) -> list[Document] | None:
        """Return what `find` does; None if that exceeds the size of one answer of the database, 16 MB."""
        with translated():
            try:
                return await self._find(query, limit, sort)
            except PyMongoError as error:
                # As the driver repeats its own reads, once.
                if not is_repeatable(error):
                    raise
            return await self._find(query, limit, sort)

    async def _find(self, query: Document, limit: int, sort: Sequence[tuple[str, int]]) -> list[Document] | None:
        command: Document = {
            "find": self._collection,
            "filter": query,
            "limit": limit,
            # More than the limit, so that the first batch is all unless the documents exceed the size of an answer.
            "batchSize": limit + 1,
            "readConcern": READ_CONCERN,
        }
        if sort:
            command["sort"] = dict(sort)
        if (milliseconds := deadlines.remaining_ms()) is not None:
            command["maxTimeMS"] = milliseconds
        answer: Any = await self._database.command(command, codec_options=CODEC_OPTIONS)
        documents: list[Document] = answer["cursor"]["firstBatch"]
        if not answer["cursor"]["id"]:
            return documents
        # Otherwise the database forgets it by itself.
        with suppress(PyMongoError):
            await self._database.command({"killCursors": self._collection, "cursors": [answer["cursor"]["id"]]})
        return None
