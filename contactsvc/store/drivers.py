"""The two MongoDB drivers behind one seam: Motor, and PyMongo's own asynchronous client, its successor.

Their collections and cursors answer to the same calls as far as the store uses them. Where they differ, in what has
to be awaited, the difference stands here.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import motor.frameworks.asyncio
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorClientSession
from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import ClientBulkWriteException, WriteConcernError
from pymongo.read_concern import ReadConcern
from pymongo.results import ClientBulkWriteResult

from contactsvc.store.telemetry import CommandTimes, ConnectionCounts, DatabaseTelemetry

Document = dict[str, Any]
Collection = AsyncCollection[Document]
"""A collection of either driver. Motor's is no subclass, but has the same methods."""
Session = AsyncClientSession
"""A session of either driver."""

# What the service promises rests on these, so they win over the URI. An acknowledged write is journaled on a majority;
# a read sees what a majority has, from the primary, and so every acknowledged write.
_PROMISES: dict[str, Any] = {
    "w": "majority",
    "journal": True,
    "readConcernLevel": "majority",
    "readPreference": "primary",
    "retryReads": True,
    "tz_aware": True,
}
# What a URI may change: how long calls wait for a server to be found, connected to, and to answer; and whether a write
# whose answer was lost with the connection is sent again, which takes a server that knows it again, as MongoDB does.
_DEFAULTS: dict[str, Any] = {
    "serverSelectionTimeoutMS": 5_000,
    "connectTimeoutMS": 5_000,
    "socketTimeoutMS": 30_000,
    "retryWrites": True,
}

# Of a pool to which the URI sets no limit.
_MANY = 1_000


class Driver(ABC):
    """A connection pool of one of the drivers; made inside the running event loop.

    Attributes:
        writers: taken by each write outside a transaction, while it is under way. MongoDB makes such a write wait for a
            transaction that has written the same document. Without a limit those that wait would take all threads
            (Motor) or connections (PyMongo), and the transaction could not go on to its end: measured with Motor's ten
            threads on two cores, 45 updates of one record stood still until their deadlines.
    """

    def __init__(self, commands_at_a_time: int) -> None:
        self.writers = asyncio.Semaphore(max(1, commands_at_a_time // 2))

    @abstractmethod
    def database(self, name: str) -> AsyncDatabase[Document]:
        """Return a database."""

    async def write_each(self, writes: Sequence[Any]) -> list[int | Mapping[str, Any]]:
        """Make several writes of single documents, in no order, by one command; each takes effect or fails by itself.

        Needs MongoDB 8.0: earlier ones tell only how many writes of a command have found a document.

        Args:
            writes: PyMongo's replacements and deletions, with their namespaces.

        Returns:
            Of each in turn how many documents it has found, or the server's description of its error.
        """
        try:
            told: Any = (await self._write_all(writes)).bulk_api_result
        except ClientBulkWriteException as error:
            told = error.details
            if isinstance(told.get("error"), Exception):
                raise told["error"] from error
            for concern in told.get("writeConcernErrors") or ():
                raise WriteConcernError("written, but not as durably as asked for", concern.get("code")) from error
        outcomes: dict[int, int | Mapping[str, Any]] = {failure["idx"]: failure for failure in told["writeErrors"]}
        outcomes |= {position: result.matched_count for position, result in told["updateResults"].items()}
        outcomes |= {position: result.deleted_count for position, result in told["deleteResults"].items()}
        return [outcomes[position] for position in range(len(writes))]

    @abstractmethod
    async def _write_all(self, writes: Sequence[Any]) -> ClientBulkWriteResult:
        """Make all writes that can be made."""

    @abstractmethod
    async def start_session(self) -> Session:
        """Start a session."""

    @abstractmethod
    async def start_transaction(self, session: Session) -> None:
        """Start a transaction that reads one snapshot."""

    @abstractmethod
    async def close(self) -> None:
        """Close all connections."""


class MotorDriver(Driver):
    """Motor: the synchronous driver in a pool of threads."""

    def __init__(self, uri: str, telemetry: DatabaseTelemetry | None) -> None:
        super().__init__(motor.frameworks.asyncio.max_workers)
        self._client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(uri, **_options(uri, telemetry))

    def database(self, name: str) -> AsyncDatabase[Document]:
        """Return a database."""
        database: Any = self._client[name]
        return database  # type: ignore[no-any-return]  # see Collection

    async def _write_all(self, writes: Sequence[Any]) -> ClientBulkWriteResult:
        result: ClientBulkWriteResult = await self._client.bulk_write(writes, ordered=False, verbose_results=True)
        return result

    async def start_session(self) -> Session:
        """Start a session."""
        session: Any = await self._client.start_session()
        return session  # type: ignore[no-any-return]  # see Session

    async def start_transaction(self, session: Session) -> None:
        """Start a transaction that reads one snapshot."""
        motor_session: AsyncIOMotorClientSession = session  # type: ignore[assignment]  # see Session
        motor_session.start_transaction(read_concern=ReadConcern("snapshot"))

    async def close(self) -> None:
        """Close all connections."""
        self._client.close()


class PyMongoDriver(Driver):
    """PyMongo's asynchronous client, on the event loop itself."""

    def __init__(self, uri: str, telemetry: DatabaseTelemetry | None) -> None:
        self._client: AsyncMongoClient[Document] = AsyncMongoClient(uri, **_options(uri, telemetry))
        super().__init__(int(min(self._client.options.pool_options.max_pool_size or _MANY, _MANY)))

    def database(self, name: str) -> AsyncDatabase[Document]:
        """Return a database."""
        return self._client[name]

    async def _write_all(self, writes: Sequence[Any]) -> ClientBulkWriteResult:
        return await self._client.bulk_write(writes, ordered=False, verbose_results=True)

    async def start_session(self) -> Session:
        """Start a session."""
        return self._client.start_session()

    async def start_transaction(self, session: Session) -> None:
        """Start a transaction that reads one snapshot."""
        await session.start_transaction(read_concern=ReadConcern("snapshot"))

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()


DRIVERS: dict[str, type[MotorDriver] | type[PyMongoDriver]] = {"motor": MotorDriver, "pymongo": PyMongoDriver}
"""By the name that the setting `driver` has for them."""


def _options(uri: str, telemetry: DatabaseTelemetry | None) -> dict[str, Any]:
    defaults = {name: value for name, value in _DEFAULTS.items() if name.lower() not in uri.lower()}
    listeners = [] if telemetry is None else [CommandTimes(telemetry), ConnectionCounts(telemetry)]
    return {"appname": "contactsvc", "event_listeners": listeners, **defaults, **_PROMISES}
