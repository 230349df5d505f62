"""The checker notices when a safeguard of the service is missing.

These tests assemble the service wrongly; the service itself has no such switches.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Hashable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import pytest

from contactsvc import store
from contactsvc.domain.change_set import ChangeSet
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.kinds import Environment
from contactsvc.errors import StoreUnavailable
from contactsvc.service.ports import Store
from contactsvc.store import COLLECTION, to_document
from contactsvc.store.coalescing.batcher import Batcher
from contactsvc.store.coalescing.store import CoalescingStore
from contactsvc.store.transactions import retried
from contactsvc.store.writes import DocumentWrite
from tests.conftest import serving
from tests.robustness import aftermath
from tests.robustness.checker import check
from tests.robustness.knowledge import Knowledge
from tests.robustness.recorder import Recorder
from tests.robustness.traffic import Traffic
from tests.special_stores import open_as

T = TypeVar("T")

_ROUNDS = 30
_CALLS = 300
_FIRST_CALLS = 5
_CALLERS = 16


class WithoutTransactions(CoalescingStore):
    """Writes documents one by one and sometimes fails in between."""

    async def atomically(
        self,
        work: Callable[[Store], Awaitable[T]],
        *,
        keys: Collection[Hashable],
        prepared: Callable[[Store], Awaitable[T]] | None = None,
    ) -> T:
        async with self._locks.held(keys):
            return await retried(lambda: work(self))

    async def _write_one_by_one(self, writes: Sequence[DocumentWrite]) -> None:
        for position, write in enumerate(writes):
            if position and random.random() < 0.2:  # noqa: S311 - guards nothing
                raise StoreUnavailable
            await write.apply(self._collection)


class EarlyBatcher(Batcher[str, ContactMethod]):
    """Answers a lookup with a command for the same id that was sent earlier."""

    def __init__(self, ask: Callable[[Collection[str]], Awaitable[Mapping[str, ContactMethod]]]) -> None:
        super().__init__(ask)
        self._asked: dict[str, asyncio.Future[ContactMethod | None]] = {}

    async def __call__(self, key: str) -> ContactMethod | None:
        if key not in self._asked:
            answer = self._asked[key] = asyncio.ensure_future(super().__call__(key))
            answer.add_done_callback(lambda answered: self._forget(key, answered))
        return await asyncio.shield(self._asked[key])

    def _forget(self, key: str, answered: asyncio.Future[ContactMethod | None]) -> None:
        del self._asked[key]
        if not answered.cancelled():
            # Every caller may have been cancelled; retrieve the exception.
            answered.exception()


class SlowAnswers(CoalescingStore):
    """Delays the answers of reads, which is correct."""

    batcher: type[Batcher[str, ContactMethod]] = Batcher

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._by_id = self.batcher(self._read_ids)

    async def _read_ids(self, ids: Collection[str]) -> Mapping[str, ContactMethod]:
        answer = await super()._read_ids(ids)
        await asyncio.sleep(0.1)
        return answer


class EarlyAnswers(SlowAnswers):
    """Answers reads with commands that were sent before the reads arrived."""

    batcher = EarlyBatcher


class EarlyAcknowledgement(CoalescingStore):
    """Acknowledges single inserts before writing them."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._unwritten: set[asyncio.Task[None]] = set()

    async def write(self, change_set: ChangeSet) -> None:
        if len(change_set.inserted) == len(change_set) == 1 and not change_set.inserted[0].is_primary:
            task = asyncio.create_task(self._write_later(change_set))
            self._unwritten.add(task)
            task.add_done_callback(self._unwritten.discard)
        else:
            await super().write(change_set)

    async def _write_later(self, change_set: ChangeSet) -> None:
        await asyncio.sleep(0.02)
        # A write that fails here has already been acknowledged.
        await asyncio.gather(super().write(change_set), return_exceptions=True)


class WithoutRequestIds(CoalescingStore):
    """Stores no request ids."""

    def _within(self, session: Any) -> Any:
        inner = super()._within(session)
        write = inner.write
        inner.write = lambda change_set: write(_forgetful(change_set))  # type: ignore[method-assign]
        return inner

    async def write(self, change_set: ChangeSet) -> None:
        await super().write(_forgetful(change_set))


def _forgetful(change_set: ChangeSet) -> ChangeSet:
    return ChangeSet(
        [replace(record, requests=()) for record in change_set.inserted],
        [(before, replace(after, requests=())) for before, after in change_set.replaced],
        [replace(record, requests=()) for record in change_set.removed],
        (),
    )


class Unconditional(CoalescingStore):
    """Replaces a single record without checking that it is unchanged since it was read."""

    async def write(self, change_set: ChangeSet) -> None:
        if len(change_set.replaced) == len(change_set) == 1:
            before, after = change_set.replaced[0]
            await self._collection.replace_one({"_id": before.id}, to_document(after))
        else:
            await super().write(change_set)


@dataclass(frozen=True)
class Case:
    """A missing safeguard.

    Attributes:
        rules: the violations, one of which must be found.
        mix: the traffic that reveals it.
        kind: the store to serve.
        dropped: the index to drop after the start.
        repeated: the fraction of answered requests to repeat.
        services: the number of services.
        crowd: the approximate number of records per client.
    """

    rules: set[str]
    mix: dict[str, float]
    kind: type[CoalescingStore] = CoalescingStore
    dropped: str = ""
    repeated: float = 0.05
    services: int = 1
    crowd: int = 40


READS = {"get": 10.0, "get primary": 5.0, "list client": 5.0}
CASES = {
    "no index of primaries": Case(
        {"two primaries"}, {**READS, "create": 10, "delete": 3}, dropped="primary_slot", services=2
    ),
    "no index of external ids": Case(
        {"external id shared"}, {**READS, "create": 10, "upsert": 10}, dropped="external_id", services=2
    ),
    "no transactions": Case(
        {"half a batch", "vanished primary"},
        {**READS, "create": 5, "batch create": 5, "batch update": 5, "promote": 5},
        WithoutTransactions,
    ),
    "answers of commands sent earlier": Case(
        {"stale read", "lost update"}, {"get": 20, "create": 1, "update": 10}, EarlyAnswers, crowd=2
    ),
    "inserts acknowledged before they are written": Case(
        {"acknowledged write missing", "external id not found"}, {**READS, "create": 10}, EarlyAcknowledgement
    ),
    "requests not remembered": Case(
        {"request applied twice"}, {**READS, "create": 10}, WithoutRequestIds, repeated=0.5
    ),
    "replaced whatever is there": Case(
        {"lost update", "stale read"}, {**READS, "create": 3, "update": 20}, Unconditional
    ),
}


@asynccontextmanager
async def misbuilt(uri: str, prefix: str, case: Case) -> AsyncIterator[list[tuple[str, Any]]]:
    """Run services that lack a safeguard; yield their stubs."""
    async with AsyncExitStack() as stack:
        stubs = []
        for number in range(case.services):
            deployment = await store.connect(uri, "motor")
            stack.push_async_callback(deployment.close)
            stores: Any = {}
            for environment in Environment:
                stores[environment] = await open_as(
                    case.kind,
                    deployment,
                    f"{prefix}_{environment}",
                    reports_each_write=deployment.reports_each_write,
                )
            api = await stack.enter_async_context(serving(stores))
            stubs.append((str(number), api.stub))
        if case.dropped:
            await collection_of(deployment, prefix).drop_index(case.dropped)
        yield stubs


def collection_of(deployment: store.Deployment, prefix: str) -> Any:
    return deployment.driver.database(f"{prefix}_{Environment.LIVE}")[COLLECTION]


async def one_round(uri: str, case: Case, seed: int) -> set[str]:
    """Make some calls; return the names of the violated rules."""
    prefix = f"safeguards_{uuid.uuid4().hex[:12]}"
    recorder = Recorder(repeated=case.repeated)
    history = recorder.history
    async with misbuilt(uri, prefix, case) as stubs:
        world = Knowledge(hot=1, calm=1, churn=1, synced=1, crowd=case.crowd)
        traffic = Traffic(recorder, world, stubs, seed, case.mix)
        # One caller first, so that the others start with shared records.
        await traffic.run(1, until=lambda: len(history.calls) >= _FIRST_CALLS)
        await traffic.run(_CALLERS, until=lambda: len(history.calls) >= _CALLS)
    history.final, _ = await aftermath.read_everything(uri, prefix)
    history.final_at = time.monotonic()
    return {violation.rule for violation in check(history)}


@pytest.mark.parametrize("name", CASES)
async def test_a_safeguard_that_is_missing_is_noticed(embedded_uri: str, name: str) -> None:
    case = CASES[name]
    found: set[str] = set()
    for seed in range(_ROUNDS):
        found |= await one_round(embedded_uri, case, seed)
        if found & case.rules:
            return
    raise AssertionError(f"not noticed in {_ROUNDS} rounds; found: {found or 'nothing'}")


async def test_with_all_safeguards_nothing_is_found(embedded_uri: str) -> None:
    everything = Case(set(), {}, SlowAnswers, repeated=0.5, services=2)

    assert await one_round(embedded_uri, everything, 0) == set()
