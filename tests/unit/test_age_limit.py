"""The age limit of what is under way."""

from __future__ import annotations

import asyncio
from typing import Any

from contactsvc.rpc.age_limit import AgeLimit

HOUR = 3600.0


class Expired(list[Any]):
    """Items that have expired, and a wait for a number of them."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def add(self, items: list[Any]) -> None:
        self += items
        self._changed.set()

    async def wait_for(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self) < count:
                self._changed.clear()
                await self._changed.wait()


async def test_items_expire_by_themselves_in_the_order_of_their_begin() -> None:
    expired = Expired()
    limit = AgeLimit(0.001, expired.add)

    for item in "abc":
        limit.begin(item)
    await expired.wait_for(3)

    assert expired == ["a", "b", "c"]
    assert not len(limit)


async def test_an_item_that_has_ended_does_not_expire() -> None:
    expired = Expired()
    limit = AgeLimit(0.001, expired.add)
    limit.begin("ended")
    limit.begin("left")

    assert limit.end("ended")
    await expired.wait_for(1)

    assert expired == ["left"]


async def test_an_end_reports_whether_the_item_was_still_under_way() -> None:
    expired = Expired()
    limit = AgeLimit(HOUR, expired.add)
    limit.begin("expired")
    limit.begin("ended")
    limit.expire_older_than(0, at_most=1)

    assert not limit.end("expired")
    assert limit.end("ended")
    assert not limit.end("ended")
    assert not limit.end("unknown")


async def test_items_expire_also_after_all_earlier_ones_have() -> None:
    expired = Expired()
    limit = AgeLimit(0.001, expired.add)

    for count, item in enumerate("ab", 1):
        limit.begin(item)
        await expired.wait_for(count)

    assert expired == ["a", "b"]


async def test_an_item_that_begins_again_counts_from_then_on() -> None:
    expired = Expired()
    limit = AgeLimit(HOUR, expired.add)
    for item in ("first", "second"):
        limit.begin(item)

    limit.end("first")
    limit.begin("first")
    limit.expire_older_than(0, at_most=1)

    assert expired == ["second"]


async def test_the_oldest_items_expire_early_on_demand() -> None:
    expired = Expired()
    limit = AgeLimit(HOUR, expired.add)
    for item in "abc":
        limit.begin(item)

    limit.expire_older_than(HOUR)
    assert expired == []
    limit.expire_older_than(0, at_most=2)
    assert expired == ["a", "b"]
    assert len(limit) == 1
    limit.expire_older_than(0)
    assert expired == ["a", "b", "c"]


async def test_items_of_the_same_age_expire_together() -> None:
    expired: list[list[str]] = []
    limit: AgeLimit[str] = AgeLimit(HOUR, expired.append)
    for item in "abc":
        limit.begin(item)

    limit.expire_older_than(0)

    assert expired == [["a", "b", "c"]]
