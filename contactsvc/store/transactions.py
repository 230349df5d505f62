"""Transactions: retried while they lose races, and kept from fighting each other inside a process."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Hashable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TypeVar

from pymongo.errors import ConnectionFailure, OperationFailure, PyMongoError

from contactsvc import deadlines
from contactsvc.errors import DeadlineExceeded, StoreUnavailable
from contactsvc.service.ports import LostRace
from contactsvc.store.driver_errors import is_commit_unknown, is_transient
from contactsvc.store.drivers import Driver, Session

T = TypeVar("T")

_ATTEMPTS = 20
_COMMIT_ATTEMPTS = 3
_NO_SUCH_TRANSACTION = 251
_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.25


class KeyLocks:
    """One lock per key, such as a primary slot, for as long as somebody holds or awaits it.

    Measured: 200 promotions of one slot as free-running transactions took 62 s of aborting each other.
    """

    def __init__(self) -> None:
        self._locks: dict[Hashable, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def held(self, keys: Collection[Hashable]) -> AsyncIterator[None]:
        """Hold the locks of all keys; always taken in one order, so that no two calls wait for each other.

        Raises:
            DeadlineExceeded: the call's deadline passed while it waited.
        """
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout_at(deadlines.when()):
                    for key in sorted(set(keys), key=repr):
                        await stack.enter_async_context(self._held_one(key))
            except TimeoutError:
                raise DeadlineExceeded from None
            yield

    @asynccontextmanager
    async def _held_one(self, key: Hashable) -> AsyncIterator[None]:
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = lock, users + 1
        try:
            async with lock:
                yield
        finally:
            users = self._locks[key][1] - 1
            if users:
                self._locks[key] = lock, users
            else:
                del self._locks[key]


async def retried(attempt: Callable[[], Awaitable[T]]) -> T:
    """Run an attempt until it loses no race, with growing, jittered pauses; at last raise what came of it."""
    pause = _FIRST_PAUSE
    connections_lost = 0
    for _ in range(_ATTEMPTS - 1):
        # Nobody waits for an attempt that would begin after the deadline.
        deadlines.remaining_ms()
        try:
            return await attempt()
        except LostRace:
            pass
        except PyMongoError as error:
            connections_lost += isinstance(error, ConnectionFailure)
            # Once more is enough for a change of the replica set's primary, since the driver itself waits for a new
            # one; 20 such waits would keep a caller for minutes when the database is gone.
            if not is_transient(error) or connections_lost > 1:
                raise
        await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - spreads callers, guards nothing
        pause = min(pause * 2, _LONGEST_PAUSE)
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
        with _forgotten_translated():
            await _commit(session)
        return result
    finally:
        await session.end_session()


async def _commit(session: Session) -> None:
    for _ in range(_COMMIT_ATTEMPTS - 1):
        try:
            await session.commit_transaction()
        except PyMongoError as error:
            if not is_commit_unknown(error):
                raise
        else:
            return
    await session.commit_transaction()


@contextmanager
def _forgotten_translated() -> Iterator[None]:
    """Raise StoreUnavailable when the database does not know the transaction that it is to commit.

    The driver repeats a commit whose answer was lost with the connection. MongoDB knows then what it has committed, but
    the embedded database forgets at a restart. To run the transaction again could be to do it twice.
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
        # The drivers swallow what the server answers here; only a lost connection comes through, and then the server
        # ends the transaction by itself. The error that led here is the one to raise.
        return
