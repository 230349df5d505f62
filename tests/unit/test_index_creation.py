"""The creation of an index on a connection that is lost."""

from __future__ import annotations

from typing import Any, cast

import pytest
from pymongo.errors import AutoReconnect, PyMongoError, ServerSelectionTimeoutError

from contactsvc.store.drivers import Collection
from contactsvc.store.indexes import create_index, index_of


class Failing:
    """A collection whose first commands fail."""

    def __init__(self, *errors: PyMongoError) -> None:
        self._errors = list(errors)
        self.created: list[Any] = []

    async def create_index(self, keys: Any, **options: Any) -> None:
        if self._errors:
            raise self._errors.pop(0)
        self.created.append((keys, options))


async def test_one_lost_connection_does_not_matter() -> None:
    collection = Failing(AutoReconnect("connection is already closed"))

    await create_index(cast(Collection, collection), index_of("value"))

    assert collection.created == [([("value_key", 1)], {"name": "value"})]


@pytest.mark.parametrize(
    "errors",
    [
        [AutoReconnect("connection is already closed"), AutoReconnect("connection is already closed")],
        # The driver has already tried for as long as it is to try.
        [ServerSelectionTimeoutError("no server")],
    ],
)
async def test_a_database_that_is_gone_is_reported(errors: list[PyMongoError]) -> None:
    collection = Failing(*errors)

    with pytest.raises(type(errors[-1])):
        await create_index(cast(Collection, collection), index_of("value"))

    assert collection.created == []
