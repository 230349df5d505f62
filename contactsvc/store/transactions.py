"""Transactions: retries after lost races, and locks against contention inside a process."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Hashable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

from pymongo.errors import ConnectionFailure, OperationFailure, PyMongoError

from contactsvc import deadlines
from contactsvc.errors import DeadlineExceeded, StoreUnavailable
from contactsvc.service.ports import LostRace
from contactsvc.store.driver_errors import is_commit_unknown, is_transient
from contactsvc.store.drivers import Driver, Session

T = TypeVar("T")

_MAX_ATTEMPTS = 20
_MAX_COMMIT_ATTEMPTS = 3
_NO_SUCH_TRANSACTION = 251
_FIRST_PAUSE_SECONDS = 0.002
_MAX_PAUSE_SECONDS = 0.25


class KeyLocks:
    """One lock per key, such as a primary slot, kept while it is held or awaited.

    Measured: 200 unserialized promotions in one slot took 62 s, because their transactions aborted each other.
    """

    def __init__(self) -> None:
        self._locks: dict[Hashable, _CountedLock] = {}

    @asynccontextmanager
    async def held(self, keys: Collection[Hashable]) -> AsyncIterator[bool]:
        """Hold the locks of all keys for the block. Acquired in a fixed order, so that calls never deadlock.

        Yields:
            Whether another call held one of them, and so may have written what this call has read.

        Raises:
            DeadlineExceeded: the deadline of the call passed while it waited.
        """
        waited = False
        acquired: list[Hashable] = []
        try:
            try:
                async with asyncio.timeout_at(deadlines.when()):
                    for key in sorted(set(keys), key=repr):
                        waited |= await self._acquire(key)
                        acquired.append(key)
            except TimeoutError:
                raise DeadlineExceeded from None
            yield waited
        finally:
            for key in acquired:
                self._locks[key].release()
                self._leave(key)

    async def _acquire(self, key: Hashable) -> bool:
        """Acquire a lock; return whether that took waiting."""
        lock = self._locks.setdefault(key, _CountedLock())
        lock.users += 1
        waits = lock.users > 1
        try:
            await lock.acquire()
        except BaseException:
            self._leave(key)
            raise
        return waits

    def _leave(self, key: Hashable) -> None:
        lock = self._locks[key]
        lock.users -= 1
        if not lock.users:
            del self._locks[key]


class _CountedLock(asyncio.Lock):
    """A lock that counts those who hold it or wait for it."""

    users = 0


async def retried(attempt: Callable[[], Awaitable[T]]) -> T:
    """Repeat an attempt, with growing, jittered pauses, until it loses no race. Return its result.

    Raises:
        ContactsvcError: every attempt lost a race; the outcome of the last one.
        DeadlineExceeded: the deadline of the call has passed.
    """
    pause = _FIRST_PAUSE_SECONDS
    connections_lost = 0
    for _ in range(_MAX_ATTEMPTS - 1):
        # Raises once the deadline has passed.
        deadlines.remaining_ms()
        try:
            return await attempt()
        except LostRace:
            pass
        except PyMongoError as error:
            connections_lost += isinstance(error, ConnectionFailure)
            # One repetition suffices after a change of the replica set's primary, since the driver waits for the new
            # one. With the database gone, 20 such waits would take minutes.
            if not is_transient(error) or connections_lost > 1:
                raise
        await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not security
        pause = min(pause * 2, _MAX_PAUSE_SECONDS)
    try:
        return await attempt()
    except LostRace as lost:
        raise lost.outcome from None


async def in_transaction(driver: Driver, work: Callable[[Session], Awaitable[T]]) -> T:
    """Run `work` in one transaction, once."""
    session = await driver.start_session()
    try:
        await driver.start_transaction(session)
        try:
            result = await work(session)
        except BaseException:
            await _abort(session)
            raise
        with _unknown_transaction_translated():
            await _commit(session)
        return result
    finally:
        await driver.end_session(session)


async def _commit(session: Session) -> None:
    for _ in range(_MAX_COMMIT_ATTEMPTS - 1):
        try:
            await session.commit_transaction()
        except PyMongoError as error:
            if not is_commit_unknown(error):
                raise
        else:
            return
    await session.commit_transaction()


@contextmanager
def _unknown_transaction_translated() -> Iterator[None]:
    """Raise StoreUnavailable when the database does not know the transaction to commit.

    The driver repeats a commit whose answer was lost with the connection. MongoDB then recognizes a committed
    transaction, but the embedded database does not after a restart. Running the transaction again could apply it twice.
    """
    try:
        yield
    except OperationFailure as error:
        if error.code == _NO_SUCH_TRANSACTION:
            raise StoreUnavailable from error
        raise


async def _abort(session: Session) -> None:
    try:
        await session.abort_transaction()
    except PyMongoError:
        # The drivers ignore server errors here, so this is a lost connection, after which the server aborts by itself.
        # The error that led to the abort is the one to raise.
        return
