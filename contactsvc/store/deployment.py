"""A MongoDB deployment: connecting, detecting its capabilities, and opening the stores of its environments."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import pymongo
from pymongo import DESCENDING, AsyncMongoClient
from pymongo.errors import ConfigurationError as DriverConfigurationError
from pymongo.errors import ConnectionFailure, InvalidURI, OperationFailure, PyMongoError

from contactsvc.embedded_names import EMBEDDED_SET_NAME
from contactsvc.errors import ConfigurationError, StartupError, StoreUnavailable
from contactsvc.store.coalescing.store import CoalescingStore
from contactsvc.store.database_clock import DatabaseClock
from contactsvc.store.driver_errors import refusal_message, refusals_translated, translated
from contactsvc.store.drivers import DRIVERS, Collection, Document, Driver, side_client
from contactsvc.store.indexes import ensure_indexes
from contactsvc.store.keys import MongoKeyStore
from contactsvc.store.layouts import UnknownLayout, is_newer_layout
from contactsvc.store.point_reads import PointReads
from contactsvc.store.queries import NEWER_LAYOUTS
from contactsvc.store.scans import Scans, scans_of
from contactsvc.store.secrets import MongoSecretStore
from contactsvc.store.store import MongoStore
from contactsvc.store.telemetry import DatabaseTelemetry
from contactsvc.store.transactions import KeyLocks

COLLECTION: Final = "contact_methods"
"""The collection of contact methods in the database of an environment."""

KEY_COLLECTION: Final = "api_keys"
"""The collection of API keys in their database."""
SECRET_COLLECTION: Final = "verification_secrets"  # noqa: S105 - a name
"""The collection of verification secrets beside them."""

STANDALONE_WARNING: Final = (
    "this is a standalone server, which has no transactions: atomic batches, syncs and request_ids are refused, and a "
    "crash during a change of primary can leave a client without one (never with two); run it as a replica set"
)
"""The warning to operators about a deployment without transactions."""

# The wire version of MongoDB 8.0, the first release with the command bulkWrite.
_MONGODB_8_WIRE_VERSION = 25
# A read of the keys that hangs must end before the keys in the cache are too old (rpc/auth.py).
_KEY_CONNECTIONS = 2
_KEY_TIMEOUT_MS = 5_000
_CLOSE_TIMEOUT_SECONDS = 2.0
_NO_ANSWER = "the database does not answer; check that it runs and that mongodb_uri names it"
_UNRESOLVED = "DNS has no MongoDB hosts for the mongodb+srv:// name in mongodb_uri; check the name and the resolver"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Deployment:
    """A connected deployment.

    Attributes:
        driver: its driver.
        version: the version of the server.
        transactional: whether it supports transactions.
        reports_each_write: whether it reports the outcome of each write of a command (MongoDB 8.0 and later).
        is_embedded: whether it is the embedded database, which has to be told of erasures.
        clock: its time.
        scans: reads long listings, on connections of its own.
        keys: the connections for API keys, secrets and pings.
    """

    driver: Driver
    version: str
    transactional: bool
    reports_each_write: bool
    is_embedded: bool
    clock: DatabaseClock
    scans: Scans
    keys: AsyncMongoClient[Document]

    async def open_store(self, database: str, *, batching: bool = True) -> MongoStore:
        """Open the store in a database; creates missing indexes.

        Args:
            database: the name of the database.
            batching: whether to coalesce concurrent calls.

        Raises:
            StartupError: the data violates a unique index, a unique index has other options, a newer release has
                written the youngest document, or the database refuses or does not answer.
        """
        collection = self.driver.database(database)[COLLECTION]
        driver, locks = self.driver if self.transactional else None, KeyLocks()
        if batching:
            store: MongoStore = CoalescingStore(
                collection,
                driver,
                locks,
                PointReads(self.driver.reads(database), COLLECTION),
                listings=self.scans.reader(collection),
                reports_each_write=self.reports_each_write,
                records_erasures=self.is_embedded,
            )
        else:
            store = MongoStore(
                collection, driver, locks, listings=self.scans.reader(collection), records_erasures=self.is_embedded
            )
        with _startup_errors_translated():
            with refusals_translated("create indexes", database):
                await ensure_indexes(collection)
                await store.index_counts()
            with refusals_translated("read the contact methods", database):
                await _refuse_rollback(collection)
            # MongoDB does so continuously by an index, SecantusDB never.
            with refusals_translated("delete what has expired", database):
                await store.remove_expired(self.clock())
        return store

    def existing_store(self, database: str) -> MongoStore:
        """Return the store in a database without creating indexes, for commands that only read."""
        collection = self.driver.database(database)[COLLECTION]
        driver = self.driver if self.transactional else None
        return MongoStore(collection, driver, KeyLocks(), listings=self.scans.reader(collection))

    def key_store(self, database: str) -> MongoKeyStore:
        """Return the store of API keys in a database."""
        return MongoKeyStore(self.keys[database][KEY_COLLECTION])

    def secret_store(self, database: str) -> MongoSecretStore:
        """Return the store of verification secrets in a database."""
        return MongoSecretStore(self.keys[database][SECRET_COLLECTION])

    async def ping(self) -> None:
        """Check that the database answers, and read its clock.

        Raises:
            StoreUnavailable: it does not.
        """
        with translated():
            self.clock.read(await self.keys["admin"].command("hello"))

    async def close(self) -> None:
        """Close all connections; a database that is gone does not hold that up."""
        # Clients tell the database which of their sessions have ended.
        with pymongo.timeout(_CLOSE_TIMEOUT_SECONDS):
            await self.scans.close()
            await self.keys.close()
            await self.driver.close()


async def connect(uri: str, driver_name: str, telemetry: DatabaseTelemetry | None = None) -> Deployment:
    """Connect to a deployment and detect its capabilities.

    Args:
        uri: a MongoDB connection string.
        driver_name: "motor" or "pymongo".
        telemetry: receives events of commands and connections.

    Raises:
        ConfigurationError: the URI is invalid, or names a file that cannot be used.
        StartupError: the deployment cannot be found, does not answer, or refuses.
    """
    try:
        # Resolving a mongodb+srv name blocks.
        kind = DRIVERS[driver_name]
        driver = await asyncio.to_thread(kind, uri, telemetry) if "+srv" in uri else kind(uri, telemetry)
    except (InvalidURI, DriverConfigurationError, ValueError) as error:
        # Without the driver's message, which may quote the URI and its password.
        raise ConfigurationError("mongodb_uri is not a valid MongoDB connection string") from error
    except OSError as error:
        raise ConfigurationError(f"a file that mongodb_uri names cannot be used: {error.strerror}") from error
    try:
        admin = driver.database("admin")
        hello = await admin.command("hello")
        build = await admin.command("buildInfo")
        scans = await scans_of(uri, build, telemetry)
    except PyMongoError as error:
        await driver.close()
        # The drivers resolve the name at the first command; the resolver's error is then the cause.
        unresolved = isinstance(error, DriverConfigurationError) and error.__cause__ and uri.startswith("mongodb+srv:")
        raise StartupError(_UNRESOLVED if unresolved else _explanation(error)) from error
    # Transactions need a replica set, or a mongos, which answers "isdbgrid".
    transactional = "setName" in hello or hello.get("msg") == "isdbgrid"
    _log.info("connected to MongoDB %s with the %s driver", build["version"], driver_name)
    if not transactional:
        _log.warning(STANDALONE_WARNING)
    clock = DatabaseClock()
    clock.read(hello)
    if clock.warning is not None:
        _log.warning(clock.warning)
    return Deployment(
        driver,
        build["version"],
        transactional,
        reports_each_write=hello.get("maxWireVersion", 0) >= _MONGODB_8_WIRE_VERSION,
        is_embedded=hello.get("setName") == EMBEDDED_SET_NAME,
        clock=clock,
        scans=scans,
        keys=side_client(uri, "keys", _KEY_CONNECTIONS, telemetry, socketTimeoutMS=_KEY_TIMEOUT_MS),
    )


async def _refuse_rollback(collection: Collection) -> None:
    """Raise StartupError if a newer release has written the youngest document.

    This detects a rollback by mistake. Older documents of a newer release are allowed, because they are normal while
    one is rolled out; each is refused when it is read (UnknownLayout).
    """
    # First ask an index that is usually empty: to sort a collection SecantusDB loads all of it, and blocks meanwhile.
    if await collection.find_one(NEWER_LAYOUTS, {"_id": 1}) is None:
        return
    by_age = collection.find({}, {"schema_version": 1}).sort("updated_at", DESCENDING)
    youngest = await by_age.limit(1).to_list(length=1)
    if youngest and is_newer_layout(youngest[0]):
        raise StartupError(f"{UnknownLayout(youngest[0])}; `contactsvc doctor` counts the documents of newer releases")


@contextmanager
def _startup_errors_translated() -> Iterator[None]:
    """Raise errors of the database as StartupError."""
    try:
        yield
    except StoreUnavailable as error:
        raise StartupError(_NO_ANSWER) from error
    except PyMongoError as error:
        raise StartupError(_explanation(error)) from error


def _explanation(error: PyMongoError) -> str:
    if isinstance(error, ConnectionFailure):
        return _NO_ANSWER
    if isinstance(error, OperationFailure):
        return refusal_message(error)
    return f"the database cannot be used: {type(error).__name__}"
