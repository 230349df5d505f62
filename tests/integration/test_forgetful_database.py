"""Writes that the driver repeats on a database that does not recognize the repetition."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo.errors import DuplicateKeyError, OperationFailure

from contactsvc.errors import StoreUnavailable
from contactsvc.service.ports import LostRace
from contactsvc.store.driver_errors import duplicates_translated
from contactsvc.store.transactions import in_transaction, retried


def test_a_duplicate_id_may_be_of_the_same_write() -> None:
    with pytest.raises(LostRace), duplicates_translated():
        raise DuplicateKeyError("E11000", 11000, {"keyPattern": {"_id": 1}})


class ForgetfulSession:
    """A session whose transaction is unknown after its commit."""

    async def commit_transaction(self) -> None:
        raise OperationFailure("no such transaction", 251, {"errorLabels": ["TransientTransactionError"]})


class ForgetfulDriver:
    """A driver of such sessions."""

    async def start_session(self) -> Any:
        return ForgetfulSession()

    async def start_transaction(self, session: Any) -> None:
        pass

    async def end_session(self, session: Any) -> None:
        pass


async def test_a_transaction_that_may_be_committed_is_not_repeated() -> None:
    driver: Any = ForgetfulDriver()
    runs = 0

    async def work(_: Any) -> None:
        nonlocal runs
        runs += 1

    with pytest.raises(StoreUnavailable):
        await retried(lambda: in_transaction(driver, work))

    assert runs == 1
