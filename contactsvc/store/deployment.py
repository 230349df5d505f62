"""A MongoDB deployment: connecting, finding out what it can do, and the stores of its environments."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pymongo import DESCENDING
from pymongo.errors import ConfigurationError as DriverConfigurationError
from pymongo.errors import ConnectionFailure, InvalidURI, OperationFailure, PyMongoError

from contactsvc.domain.clock import now_utc
from contactsvc.errors import ConfigurationError, StartupError, StoreUnavailable
from contactsvc.store.coalescing.store import CoalescingStore
from contactsvc.store.documents import UnknownLayout, is_of_newer_layout
from contactsvc.store.driver_errors import refusals_translated, refused, translated
from contactsvc.store.drivers import DRIVERS, Collection, Driver
from contactsvc.store.indexes import ensure_indexes
from contactsvc.store.keys import MongoKeyStore
from contactsvc.store.queries import NEWER_LAYOUTS
from contactsvc.store.store import MongoStore
from contactsvc.store.telemetry import DatabaseTelemetry
from contactsvc.store.transactions import KeyLocks

COLLECTION = "contact_methods"
KEY_COLLECTION = "api_keys"

# The wire version of the first release with the command bulkWrite.
_MONGODB_8 = 25
_SILENT = "the database does not answer; check that it runs and that mongodb_uri names it"
_UNRESOLVED = "DNS gives no MongoDB for the mongodb+srv:// name in mongodb_uri; check the name, and that DNS answers"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Deployment:
    """A connected deployment.

    Attributes:
        driver: its connections.
        version: of the server.
        transactional: whether it has transactions.
        tells_each: whether it tells of each write of a command what came of it.
    """

    driver: Driver
    version: str
    transactional: bool
    tells_each: bool

    async def open_store(self, database: str, *, batching: bool = True) -> MongoStore:
        """Return the store in a database, with all its indexes.

        Args:
            database: its name.
            batching: whether calls that arrive together are answered together.

        Raises:
            StartupError: the data or an index stands against a rule of the service, or the database refuses.
        """
        collection = self.driver.database(database)[COLLECTION]
        driver, locks = self.driver if self.transactional else None, KeyLocks()
        if batching:
            store: MongoStore = CoalescingStore(collection, driver, locks, tells_each=self.tells_each)
        else:
            store = MongoStore(collection, driver, locks)
        with _silence_told():
            with refusals_translated("create indexes", database):
                await ensure_indexes(collection)
            with refusals_translated("read the contact methods", database):
                await _refuse_rollback(collection)
            # MongoDB does so by itself all the time, SecantusDB never.
            with refusals_translated("delete what is over", database):
                await store.forget_expired(now_utc())
        return store

    def existing_store(self, database: str) -> MongoStore:
        """Return the store in a database as it is: for commands that only read, and create nothing."""
        collection = self.driver.database(database)[COLLECTION]
        return MongoStore(collection, self.driver if self.transactional else None, KeyLocks())

    def key_store(self, database: str) -> MongoKeyStore:
        """Return the store of API keys in a database."""
        return MongoKeyStore(self.driver.database(database)[KEY_COLLECTION])

    async def ping(self) -> None:
        """Return when the database answers; raise StoreUnavailable when it does not."""
        with translated():
            await self.driver.database("admin").command("ping")

    async def close(self) -> None:
        """Close all connections."""
        await self.driver.close()


async def connect(uri: str, driver_name: str, telemetry: DatabaseTelemetry | None = None) -> Deployment:
    """Connect to a deployment and find out what it can do.

    Args:
        uri: where it is.
        driver_name: which driver to use, "motor" or "pymongo".
        telemetry: told of commands and connections.

    Raises:
        ConfigurationError: the URI is none, or names a file that cannot be used.
        StartupError: the deployment cannot be found, does not answer, or refuses.
    """
    try:
        # Resolving a mongodb+srv name blocks.
        kind = DRIVERS[driver_name]
        driver = await asyncio.to_thread(kind, uri, telemetry) if "+srv" in uri else kind(uri, telemetry)
    except (InvalidURI, DriverConfigurationError, ValueError) as error:
        # Its message may quote the URI, and with it a password.
        raise ConfigurationError("mongodb_uri is no valid MongoDB connection string") from error
    except OSError as error:
        raise ConfigurationError(f"a file that mongodb_uri names cannot be used: {error.strerror}") from error
    try:
        admin = driver.database("admin")
        hello = await admin.command("hello")
        version = (await admin.command("buildInfo"))["version"]
    except PyMongoError as error:
        await driver.close()
        # With what the resolver has said as its cause; the drivers resolve at the first command.
        unresolved = isinstance(error, DriverConfigurationError) and error.__cause__ and uri.startswith("mongodb+srv:")
        raise StartupError(_UNRESOLVED if unresolved else _refusal(error)) from error
    # Transactions need a replica set or a mongos (which answers with this odd word since its first release).
    transactional = "setName" in hello or hello.get("msg") == "isdbgrid"
    _log.info("connected to MongoDB %s with the %s driver", version, driver_name)
    if not transactional:
        _log.warning(
            "this MongoDB is a standalone server without transactions: atomic batches, syncs and request_ids are "
            "refused, and a crash while the primary changes can leave a client without one (never with two); run it as "
            "a replica set"
        )
    return Deployment(driver, version, transactional, hello.get("maxWireVersion", 0) >= _MONGODB_8)


async def _refuse_rollback(collection: Collection) -> None:
    """Raise StartupError when a newer release has written the youngest document.

    That one only: this is for a release that is rolled back by mistake. While a newer one is rolled out, others may
    have such documents before them; they are refused one by one (UnknownLayout).
    """
    # First whether there are any, by an index that is empty otherwise: SecantusDB loads the whole collection to sort
    # it, and lets nobody else do anything meanwhile.
    if await collection.find_one(NEWER_LAYOUTS, {"_id": 1}) is None:
        return
    by_age = collection.find({}, {"schema_version": 1}).sort("updated_at", DESCENDING)
    youngest = await by_age.limit(1).to_list(length=1)
    if youngest and is_of_newer_layout(youngest[0]):
        raise StartupError(f"{UnknownLayout(youngest[0])}; `contactsvc doctor` counts such documents")


@contextmanager
def _silence_told() -> Iterator[None]:
    """Raise StartupError when the database does not answer: nothing was asked for that might have happened."""
    try:
        yield
    except StoreUnavailable as error:
        raise StartupError(_SILENT) from error
    except PyMongoError as error:
        raise StartupError(_refusal(error)) from error


def _refusal(error: PyMongoError) -> str:
    if isinstance(error, ConnectionFailure):
        return _SILENT
    if isinstance(error, OperationFailure):
        return refused(error)
    return f"the database cannot be used: {type(error).__name__}"
