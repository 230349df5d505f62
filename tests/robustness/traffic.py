"""Mixed traffic: concurrent callers that compete for few clients and spread over many.

The kind of a client determines what must not happen to it:

- hot: few clients with most of the calls. Rarely, a slot is left without a primary.
- calm: no deletions and no demotions without a promotion; every record must exist at the end.
- churn: deletions, erasures and changes of type.
- synced: written by sync.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.robustness import reads, writes
from tests.robustness.knowledge import Desk, Knowledge
from tests.robustness.recorder import Ask, Recorder, caller_of


@dataclass(slots=True)
class Traffic:
    """Concurrent callers.

    Attributes:
        recorder: records the history.
        world: what the callers know of the records.
        stubs: the stubs of the services, with their names; each caller uses one.
        seed: determines the calls.
        mix: the weight of each kind of call; empty means MIX.
    """

    recorder: Recorder
    world: Knowledge
    stubs: Sequence[tuple[str, Any]]
    seed: int
    mix: dict[str, float] = field(default_factory=dict)

    async def run(self, callers: int, *, until: Callable[[], bool]) -> None:
        """Run a number of callers; each one checks the condition before every call."""
        async with asyncio.TaskGroup() as group:
            for number in range(callers):
                group.create_task(self._work(number, until))

    async def _work(self, number: int, until: Callable[[], bool]) -> None:
        rng = random.Random(self.seed * 1000 + number)  # noqa: S311 - repeatable
        mix = self.mix or MIX
        kinds, weights = [*mix], [*mix.values()]
        service, stub = self.stubs[number % len(self.stubs)]
        caller = caller_of(service, number)
        while not until():
            operation = self.recorder.next_operation()
            ask = ASKS[rng.choices(kinds, weights)[0]](Desk(self.world, rng, operation))
            if ask is None:
                await asyncio.sleep(0)
            else:
                self.world.learn(await self.recorder.carry_out(caller, stub, ask, operation, rng))


ASKS: dict[str, Callable[[Desk], Ask | None]] = {
    "get": reads.get,
    "get by external id": reads.get_by_external_id,
    "get by metadata": reads.get_by_metadata,
    "get primary": reads.get_primary,
    "list client": reads.list_client,
    "list": reads.list_some,
    "batch get": reads.batch_get,
    "stream": reads.stream,
    "create": writes.create,
    "update": writes.update,
    "promote": writes.promote,
    "delete": writes.delete,
    "upsert": writes.upsert,
    "batch create": writes.batch_create,
    "batch update": writes.batch_update,
    "batch delete": writes.batch_delete,
    "batch upsert": writes.batch_upsert,
    "sync": writes.sync,
    "erase": writes.erase,
}

MIX: dict[str, float] = {
    "get": 16,
    "get by external id": 6,
    "get by metadata": 4,
    "get primary": 12,
    "list client": 8,
    "list": 3,
    "batch get": 4,
    "stream": 0.7,
    "create": 10,
    "update": 12,
    "promote": 7,
    "delete": 5,
    "upsert": 5,
    "batch create": 1.5,
    "batch update": 1.5,
    "batch delete": 1,
    "batch upsert": 1,
    "sync": 1.5,
    "erase": 0.5,
}
"""The weight of each kind of call."""
