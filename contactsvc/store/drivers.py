"""The two MongoDB drivers behind one interface: Motor, and its successor, PyMongo's own asynchronous client.

The store uses only calls that their collections and cursors share. Calls that differ, in what has to be awaited, are
wrapped here.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final

import motor.frameworks.asyncio
from bson.codec_options import CodecOptions
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorClientSession
from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import ClientBulkWriteException, WriteConcernError
from pymongo.read_concern import ReadConcern
from pymongo.results import ClientBulkWriteResult

from contactsvc.store.telemetry import CommandListener, ConnectionListener, DatabaseTelemetry

Document = dict[str, Any]
Collection = AsyncCollection[Document]
"""A collection of either driver. Motor's class is unrelated, but has the same methods."""
Session = AsyncClientSession
"""A session of either driver."""

READ_CONCERN: Final = {"level": "majority"}
"""The read concern of all reads outside of transactions."""

CODEC_OPTIONS: Final[CodecOptions[Document]] = CodecOptions(tz_aware=True)
"""The decoding of what commands of ours return: that of the clients applies to queries only."""

# The guarantees of the service depend on these, so they override the URI. An acknowledged write is journaled on a
# majority; a read sees the majority's data on the primary, and so every acknowledged write.
_REQUIRED_OPTIONS: dict[str, Any] = {
    "w": "majority",
    "journal": True,
    "readConcernLevel": READ_CONCERN["level"],
    "readPreference": "primary",
    "retryReads": True,
    "tz_aware": True,
}
# The URI may override these: how long calls wait to find a server, to connect to it, and for its answer; and whether a
# write whose answer was lost with the connection is repeated, which requires a server that recognizes it, as MongoDB
# does.
_DEFAULT_OPTIONS: dict[str, Any] = {
    "serverSelectionTimeoutMS": 5_000,
    "connectTimeoutMS": 5_000,
    "socketTimeoutMS": 30_000,
    "retryWrites": True,
}

# Connections for point reads beside Motor, and how long a command waits for one.
_MAX_READ_CONNECTIONS = 16
_READ_CONNECTION_TIMEOUT_MS = 5_000

# The assumed size of a connection pool that the URI does not limit.
_UNLIMITED_POOL_SIZE = 1_000


class Driver(ABC):
    """A client of one of the drivers, with its connection pool. Create it inside the running event loop.

    Args:
        max_concurrent_commands: how many commands run at a time: Motor's threads, or PyMongo's connections.

    Attributes:
        writers: held by each write outside a transaction while it runs. MongoDB makes such a write wait for a
            transaction that has written the same document. Unlimited, the waiting writes would occupy all threads or
            connections, and the transaction could not finish: measured with Motor's ten threads on two cores, 45
            updates of one record stood still until their deadlines.
    """

    def __init__(self, max_concurrent_commands: int) -> None:
        self.writers = asyncio.Semaphore(max(1, max_concurrent_commands // 2))

    @abstractmethod
    def database(self, name: str) -> AsyncDatabase[Document]:
        """Return a database."""

    @abstractmethod
    def reads(self, name: str) -> AsyncDatabase[Document]:
        """Return a database for commands of PyMongo's asynchronous client."""

    async def write_each(self, writes: Sequence[Any]) -> list[int | Mapping[str, Any]]:
        """Execute several writes of single documents in one unordered command; each succeeds or fails independently.

        Needs MongoDB 8.0: earlier releases report only the number of matched documents of all writes together.

        Args:
            writes: PyMongo's replacements and deletions, with namespaces.

        Returns:
            For each write the number of matched documents, or the server's description of its error.
        """
        try:
            results: Any = (await self._bulk_write(writes)).bulk_api_result
        except ClientBulkWriteException as error:
            results = error.details
            if isinstance(results.get("error"), Exception):
                raise results["error"] from error
            for failure in results.get("writeConcernErrors") or ():
                raise WriteConcernError("written without the requested durability", failure.get("code")) from error
        outcomes: dict[int, int | Mapping[str, Any]] = {failure["idx"]: failure for failure in results["writeErrors"]}
        outcomes |= {position: result.matched_count for position, result in results["updateResults"].items()}
        outcomes |= {position: result.deleted_count for position, result in results["deleteResults"].items()}
        return [outcomes[position] for position in range(len(writes))]

    @abstractmethod
    async def _bulk_write(self, writes: Sequence[Any]) -> ClientBulkWriteResult:
        """Execute an unordered bulk write."""

    @abstractmethod
    async def start_session(self) -> Session:
        """Start a session."""

    @abstractmethod
    async def start_transaction(self, session: Session) -> None:
        """Start a transaction that reads one snapshot."""

    @abstractmethod
    async def end_session(self, session: Session) -> None:
        """End a session, and abort its transaction if it has neither been committed nor aborted."""

    @abstractmethod
    async def close(self) -> None:
        """Close all connections."""


class MotorDriver(Driver):
    """Motor: the synchronous driver in a thread pool."""

    def __init__(self, uri: str, telemetry: DatabaseTelemetry | None) -> None:
        super().__init__(motor.frameworks.asyncio.max_workers)
        self._client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(uri, **_options(uri, telemetry))
        self._reads = side_client(
            uri, "reads", _MAX_READ_CONNECTIONS, telemetry, waitQueueTimeoutMS=_READ_CONNECTION_TIMEOUT_MS
        )

    def database(self, name: str) -> AsyncDatabase[Document]:
        """Return a database."""
        database: Any = self._client[name]
        return database  # type: ignore[no-any-return]  # see Collection

    def reads(self, name: str) -> AsyncDatabase[Document]:
        """Return a database for commands of PyMongo's asynchronous client."""
        return self._reads[name]

    async def _bulk_write(self, writes: Sequence[Any]) -> ClientBulkWriteResult:
        result: ClientBulkWriteResult = await self._client.bulk_write(writes, ordered=False, verbose_results=True)
        return result

    async def start_session(self) -> Session:
        """Start a session."""
        # Motor would use a thread, which costs more than the session: PyMongo creates one without asking the server.
        session: Any = AsyncIOMotorClientSession(self._client.delegate.start_session(), self._client)
        return session  # type: ignore[no-any-return]  # see Session

    async def start_transaction(self, session: Session) -> None:
        """Start a transaction that reads one snapshot."""
        motor_session: AsyncIOMotorClientSession = session  # type: ignore[assignment]  # see Session
        motor_session.start_transaction(read_concern=ReadConcern("snapshot"))

    async def end_session(self, session: Session) -> None:
        """End a session, and abort its transaction if it has neither been committed nor aborted."""
        motor_session: Any = session
        if motor_session.in_transaction:
            await motor_session.end_session()
        else:
            # Without a thread, as in `start_session`: it returns to PyMongo's pool.
            motor_session.delegate.end_session()

    async def close(self) -> None:
        """Close all connections."""
        self._client.close()
        await self._reads.close()


class PyMongoDriver(Driver):
    """PyMongo's asynchronous client, on the event loop itself."""

    def __init__(self, uri: str, telemetry: DatabaseTelemetry | None) -> None:
        self._client: AsyncMongoClient[Document] = AsyncMongoClient(uri, **_options(uri, telemetry))
        super().__init__(
            int(min(self._client.options.pool_options.max_pool_size or _UNLIMITED_POOL_SIZE, _UNLIMITED_POOL_SIZE))
        )

    def database(self, name: str) -> AsyncDatabase[Document]:
        """Return a database."""
        return self._client[name]

    def reads(self, name: str) -> AsyncDatabase[Document]:
        """Return a database for commands of PyMongo's asynchronous client."""
        return self._client[name]

    async def _bulk_write(self, writes: Sequence[Any]) -> ClientBulkWriteResult:
        return await self._client.bulk_write(writes, ordered=False, verbose_results=True)

    async def start_session(self) -> Session:
        """Start a session."""
        return self._client.start_session()

    async def start_transaction(self, session: Session) -> None:
        """Start a transaction that reads one snapshot."""
        await session.start_transaction(read_concern=ReadConcern("snapshot"))

    async def end_session(self, session: Session) -> None:
        """End a session, and abort its transaction if it has neither been committed nor aborted."""
        await session.end_session()

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()


DRIVERS: dict[str, type[MotorDriver] | type[PyMongoDriver]] = {"motor": MotorDriver, "pymongo": PyMongoDriver}
"""The drivers, by the values of the setting `driver`."""


def side_client(
    uri: str, purpose: str, max_connections: int, telemetry: DatabaseTelemetry | None, **options: Any
) -> AsyncMongoClient[Document]:
    """Return a client with connections of its own, which other commands cannot use up.

    It is always PyMongo's asynchronous client, which needs no threads. Create it inside the running event loop.

    Args:
        uri: of the deployment.
        purpose: what it is for; part of the name that the database sees.
        max_connections: how many connections it may have.
        telemetry: receives events of commands and connections.
        options: options of the client that go before those of the URI.
    """
    settings = {**_options(uri, telemetry), "appname": f"contactsvc-{purpose}", "maxPoolSize": max_connections}
    # The URI may ask for more.
    return AsyncMongoClient(uri, **{**settings, "minPoolSize": 0, **options})


def _options(uri: str, telemetry: DatabaseTelemetry | None) -> dict[str, Any]:
    defaults = {name: value for name, value in _DEFAULT_OPTIONS.items() if name.lower() not in uri.lower()}
    listeners = [] if telemetry is None else [CommandListener(telemetry), ConnectionListener(telemetry)]
    return {"appname": "contactsvc", "event_listeners": listeners, **defaults, **_REQUIRED_OPTIONS}
