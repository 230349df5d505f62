"""The faults and their order."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import timedelta

from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

from tests.robustness.faults import disk
from tests.robustness.faults.injection import DatabaseError
from tests.robustness.faults.proxy import Proxy
from tests.robustness.stand import ServiceProcess, Stand

Injection = Callable[[Stand, random.Random], Awaitable[str]]
"""Injects a fault, removes it after a while, and restarts what does not recover on its own; returns details."""

_MAX_PAUSE_SECONDS = 1.0
# One fault in this many coincides with another one.
_MIXED = 5
# More than fit into the journal.
_MAX_DOCUMENTS = 500


async def kill_a_worker(stand: Stand, rng: random.Random) -> str:
    """Kill one of several workers; its supervisor starts another one."""
    workers = stand.two.worker_pids
    if len(workers) < stand.two.workers:
        return "skipped: a worker is still missing"
    pid = rng.choice(workers)
    _kill(pid)
    return "worker"


async def kill_the_service(stand: Stand, rng: random.Random) -> str:
    """Kill a service and start it again."""
    service = rng.choice([stand.one, stand.two])
    service.kill()
    await service.ended()
    await service.start()
    return service.name


async def drain_the_service(stand: Stand, rng: random.Random) -> str:
    """Stop a service with SIGTERM and start it again."""
    service = rng.choice([stand.one, stand.two])
    await restart(service)
    return service.name


async def restart(service: ServiceProcess) -> None:
    """Stop a service with SIGTERM and start it again."""
    assert service.process is not None
    service.process.send_signal(signal.SIGTERM)
    if code := await service.ended():
        raise AssertionError(f"service {service.name} ended a drain with exit code {code}")
    await service.start()


async def kill_the_database(stand: Stand, rng: random.Random) -> str:
    """Kill the database and start it again on its data."""
    stand.database.kill()
    await asyncio.sleep(rng.uniform(0, 0.3))
    await stand.restart_database()
    return ""


async def fill_the_disk(stand: Stand, rng: random.Random) -> str:
    """Fill the disk of the database, free it, and restart the database, which does not survive a full disk."""
    pid = stand.database.pid
    if stand.disk is not None:
        stand.disk.fill()
    else:
        disk.limit_files(pid)
    try:
        # The rest of its journal file lets it continue for a while.
        written = await _write_until_it_fails(stand.database.uri)
        await _for_a_while(rng)
    finally:
        if stand.disk is not None:
            stand.disk.make_room()
    stand.database.kill()
    await stand.restart_database()
    how = "a disk of its own" if stand.disk else f"a limit: {stand.why_no_disk}"
    return f"{how}; failed after {written} more documents"


async def step_the_clock(stand: Stand, rng: random.Random) -> str:
    """Step the clock of a service by minutes, and correct it."""
    clock = stand.here.clock
    steps = [rng.uniform(-600, 600) for _ in range(3)]
    for seconds in steps:
        clock.ahead = timedelta(seconds=seconds)
        await _for_a_while(rng, 0.3)
    clock.ahead = timedelta()
    return ", ".join(f"{seconds:+.0f} s" for seconds in steps)


def _of_database_commands(error: DatabaseError) -> Injection:
    async def fault(stand: Stand, rng: random.Random) -> str:
        plan = stand.here.plan
        before = plan.injected
        plan.share, plan.error = rng.choice([0.2, 0.5, 1.0]), error
        await _for_a_while(rng)
        plan.error = None
        return f"{plan.injected - before} commands"

    return fault


def _latency(proxy: Proxy, rng: random.Random) -> Awaitable[str]:
    async def fault() -> str:
        proxy.latency = rng.uniform(0.005, 0.1)
        await _for_a_while(rng)
        late, proxy.latency = proxy.latency, 0.0
        return f"{late * 1000:.0f} ms"

    return fault()


def _hang(proxy: Proxy, rng: random.Random) -> Awaitable[str]:
    async def fault() -> str:
        proxy.flowing.clear()
        # Sometimes longer than the timeout of any caller.
        await asyncio.sleep(rng.choice([0.3, 0.5, 1.0, 6.0]))
        proxy.flowing.set()
        return ""

    return fault()


def _reset(proxy: Proxy, rng: random.Random) -> Awaitable[str]:
    async def fault() -> str:
        connections = proxy.reset()
        await _for_a_while(rng, 0.2)
        return f"{connections} connections"

    return fault()


def _cut(proxy: Proxy, rng: random.Random) -> Awaitable[str]:
    async def fault() -> str:
        for _ in range(3):
            proxy.cut_after = rng.randrange(5_000)
            await _for_a_while(rng, 0.2)
        proxy.cut_after = None
        return ""

    return fault()


def _drop_answers(proxy: Proxy, rng: random.Random) -> Awaitable[str]:
    async def fault() -> str:
        before = proxy.dropped
        proxy.drops += rng.randint(1, 5)
        await _for_a_while(rng)
        proxy.drops = 0
        return f"{proxy.dropped - before} answers"

    return fault()


def _between(side: str, fault: Callable[[Proxy, random.Random], Awaitable[str]]) -> Injection:
    async def at_some_service(stand: Stand, rng: random.Random) -> str:
        service = rng.choice(stand.services)
        detail = await fault(service.front if side == "client" else service.back, rng)
        return f"service {service.name} {detail}".strip()

    return at_some_service


FAULTS: dict[str, Injection] = {
    "kill -9 of a worker": kill_a_worker,
    "kill -9 of the service": kill_the_service,
    "SIGTERM and restart": drain_the_service,
    "kill -9 of the database": kill_the_database,
    "full disk": fill_the_disk,
    "clock steps": step_the_clock,
    **{f"database: {error}": _of_database_commands(error) for error in DatabaseError},
    **{
        f"{side} network: {name}": _between(side, fault)
        for side in ("client", "database")
        for name, fault in {
            "latency": _latency,
            "hang": _hang,
            "reset": _reset,
            "cut": _cut,
            "answer dropped": _drop_answers,
        }.items()
    },
}


def schedule(seed: int, kinds: list[str]) -> Iterator[list[str]]:
    """Yield the next faults, endlessly: mostly one, sometimes two at a time, each kind equally often."""
    rng = random.Random(seed)  # noqa: S311 - repeatable
    while True:
        order = rng.sample(kinds, len(kinds))
        while order:
            mixed = len(order) > 1 and rng.randrange(_MIXED) == 0
            pair = [order.pop() for _ in range(2 if mixed else 1)]
            # Two of the same group would be one fault, and a race in the injection.
            if mixed and any(all(kind in sort for kind in pair) for sort in (_RESTARTS, _COMMANDS)):
                yield from ([kind] for kind in pair)
            else:
                yield pair


_RESTARTS = {
    "kill -9 of a worker",
    "kill -9 of the service",
    "SIGTERM and restart",
    "kill -9 of the database",
    "full disk",
}


_COMMANDS = {f"database: {error}" for error in DatabaseError}


async def _for_a_while(rng: random.Random, max_seconds: float = _MAX_PAUSE_SECONDS) -> None:
    await asyncio.sleep(rng.uniform(max_seconds / 4, max_seconds))


async def _write_until_it_fails(uri: str) -> int:
    """Write to the database until it fails; return the number of documents written."""
    bounds = "serverSelectionTimeoutMS=3000&socketTimeoutMS=3000"
    async with AsyncMongoClient[dict[str, object]](f"{uri}&{bounds}") as client:
        for written in range(_MAX_DOCUMENTS):
            try:
                await client["robustness"]["ballast"].insert_one({"text": "x" * 100_000})
            except PyMongoError:
                return written
    raise AssertionError("the database still writes to a full disk")


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
