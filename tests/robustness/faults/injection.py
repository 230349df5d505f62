"""Injected database errors: commands that fail before or after their execution.

They are injected between the store and the driver, where the errors of a real deployment arise, so that all error
handling of the service is under test.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pymongo.errors import (
    AutoReconnect,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    WaitQueueTimeoutError,
)

from contactsvc import store
from contactsvc.domain.kinds import Environment
from contactsvc.store import COLLECTION, Collection, Driver
from contactsvc.store.coalescing.store import CoalescingStore
from contactsvc.store.drivers import Session
from contactsvc.store.point_reads import PointReads
from contactsvc.store.transactions import KeyLocks

_WRITE_CONFLICT = 112


class DatabaseError(StrEnum):
    """The kind of error."""

    BEFORE = "connection lost before execution"
    AFTER = "connection lost after execution"
    CONFLICT = "write conflict"
    POOL = "pool exhausted"
    NOT_PRIMARY = "not primary"
    COMMIT = "commit unknown"


@dataclass(slots=True)
class ErrorPlan:
    """The errors to inject.

    Attributes:
        error: the kind of error; None injects none.
        share: the fraction of commands that fail.
        injected: the number of injected errors.
        rng: selects the commands.
    """

    error: DatabaseError | None = None
    share: float = 0.3
    injected: int = 0
    rng: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311 - repeatable

    def strikes(self, *errors: DatabaseError) -> bool:
        """Decide whether a command fails with one of these errors."""
        if self.error not in errors or self.rng.random() >= self.share:
            return False
        self.injected += 1
        return True

    async def carry_out(self, command: Callable[[], Awaitable[Any]], *, in_transaction: bool, writes: bool) -> Any:
        """Execute a command, or fail before or after it."""
        kinds = [DatabaseError.BEFORE, DatabaseError.POOL, DatabaseError.NOT_PRIMARY]
        # A single command waits for a locked document; only transactions have write conflicts.
        if in_transaction and writes:
            kinds.append(DatabaseError.CONFLICT)
        if self.strikes(*kinds):
            assert self.error is not None
            raise _made(self.error, in_transaction=in_transaction)
        result = await command()
        if self.strikes(DatabaseError.AFTER):
            raise _made(DatabaseError.AFTER, in_transaction=in_transaction)
        return result


def _made(error: DatabaseError, *, in_transaction: bool) -> PyMongoError:
    made: PyMongoError
    match error:
        case DatabaseError.CONFLICT:
            made = OperationFailure("injected", _WRITE_CONFLICT)
        case DatabaseError.POOL:
            made = WaitQueueTimeoutError("injected")
        case DatabaseError.NOT_PRIMARY:
            made = NotPrimaryError("injected", {"code": 10107})
        case DatabaseError.BEFORE:
            made = AutoReconnect("injected")
        case _:
            made = NetworkTimeout("injected")
    if in_transaction:
        # As the driver or the server labels it.
        made._add_error_label("TransientTransactionError")
    return made


class _Cursor:
    """A cursor with injected errors."""

    def __init__(self, cursor: Any, plan: ErrorPlan, *, in_transaction: bool) -> None:
        self._cursor = cursor
        self._plan = plan
        self._in_transaction = in_transaction

    async def to_list(self, length: int | None) -> Any:
        return await self._plan.carry_out(
            lambda: self._cursor.to_list(length=length), in_transaction=self._in_transaction, writes=False
        )

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._cursor, name)
        if name not in {"sort", "skip", "limit", "batch_size"}:
            return found

        def chained(*arguments: Any) -> _Cursor:
            return _Cursor(found(*arguments), self._plan, in_transaction=self._in_transaction)

        return chained


class _Collection:
    """A collection with injected errors."""

    def __init__(self, collection: Collection, plan: ErrorPlan) -> None:
        self._collection = collection
        self._plan = plan

    def find(self, *arguments: Any, session: Any = None, **options: Any) -> _Cursor:
        cursor = self._collection.find(*arguments, session=session, **options)
        return _Cursor(cursor, self._plan, in_transaction=session is not None)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._collection, name)
        if name not in _READS | _WRITES:
            return found

        async def command(*arguments: Any, session: Any = None, **options: Any) -> Any:
            return await self._plan.carry_out(
                lambda: found(*arguments, session=session, **options),
                in_transaction=session is not None,
                writes=name in _WRITES,
            )

        return command


_READS = {"find_one", "count_documents"}
_WRITES = {"insert_one", "insert_many", "replace_one", "update_one", "delete_one", "delete_many", "bulk_write"}


class _Database:
    """A database for point reads, with injected errors."""

    def __init__(self, database: Any, plan: ErrorPlan) -> None:
        self._database = database
        self._plan = plan

    async def command(self, *arguments: Any, **options: Any) -> Any:
        return await self._plan.carry_out(
            lambda: self._database.command(*arguments, **options), in_transaction=False, writes=False
        )


class _Driver:
    """A driver with injected errors in commits and in coalesced writes."""

    def __init__(self, driver: Driver, plan: ErrorPlan) -> None:
        self._driver = driver
        self._plan = plan

    async def write_each(self, writes: Any) -> Any:
        return await self._plan.carry_out(lambda: self._driver.write_each(writes), in_transaction=False, writes=True)

    async def start_session(self) -> Session:
        session: Any = await self._driver.start_session()
        commit = session.commit_transaction
        plan = self._plan

        async def commit_transaction() -> None:
            before = plan.strikes(DatabaseError.COMMIT)
            if not before:
                await commit()
            if before or plan.strikes(DatabaseError.COMMIT):
                lost = NetworkTimeout("injected")
                lost._add_error_label("UnknownTransactionCommitResult")
                raise lost

        session.commit_transaction = commit_transaction
        return session  # type: ignore[no-any-return]  # see Driver

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)


async def faulty_stores(
    deployment: store.Deployment, prefix: str, plan: ErrorPlan
) -> dict[Environment, CoalescingStore]:
    """Open the stores of a deployment with errors injected according to a plan."""
    stores = {}
    for environment in Environment:
        name = f"{prefix}_{environment}"
        # Creates the indexes.
        await deployment.open_store(name)
        collection: Any = _Collection(deployment.driver.database(name)[COLLECTION], plan)
        driver: Any = _Driver(deployment.driver, plan)
        reads: Any = _Database(deployment.driver.reads(name), plan)
        stores[environment] = CoalescingStore(
            collection,
            driver,
            KeyLocks(),
            PointReads(reads, COLLECTION),
            reports_each_write=deployment.reports_each_write,
        )
    return stores
