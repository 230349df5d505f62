"""Attackers beside the traffic: callers who ask for much, abandon it, or do not read the answer.

They work in the environment `test`, so that their records do not appear in the history of the others, and connect to
the services without the proxies, whose faults would only spare the services.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import grpc

from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import failure_in
from tests.hostile.raw_http2 import RawConnection, opened, prefixed
from tests.robustness.history import Call, CallOutcome, History
from tests.robustness.recorder import caller_of
from tests.robustness.stand import Service, Stand

SERVICE = "/contactsvc.v1.ContactMethodsService/"
ENVIRONMENT = (("x-environment", "test"),)

CHANNEL: list[tuple[str, Any]] = [
    # Attackers share no connection with others.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", -1),
]
# The largest that a record may have: four bytes a character.
_METADATA = {f"{number:040}": "\U0001f600" * 500 for number in range(50)}
_LARGE_PER_BATCH = 10
_SMALL_PER_BATCH = 250
_MAX_IDS = 250
_CLIENT = "attacked"

_ABANDONED_AFTER_SECONDS = 0.05
_TIMEOUT_SECONDS = 15.0
# Of a request that is never finished, and of an answer that is never read.
_MAX_HOLD_SECONDS = 2.0
_ANNOUNCED_BYTES = 4 * 1024 * 1024
# Each update of a large record is kept in the change log as a whole, and the disk is small.
_UPDATES = 2


@dataclass(frozen=True, slots=True)
class Attacks:
    """The size of the attacks.

    Attributes:
        scans: scans that are begun at once and abandoned.
        small: records that they scan.
        answers: answers on one connection that are not read, of each kind.
        requests: requests on one connection that are not finished.
        large: large records, of 100 kB each.
        lists: lists of large records at once, and half as many other reads of them.
        pause_seconds: the mean pause of an attacker between two attacks.
    """

    scans: int = 40
    small: int = 3_000
    answers: int = 20
    requests: int = 40
    large: int = 60
    lists: int = 10
    pause_seconds: float = 4.0


@dataclass(slots=True)
class Attackers:
    """One attacker of each kind.

    Attributes:
        stand: what they attack.
        history: gets their calls.
        size: of the attacks.
        rng: selects services and pauses.
        done: the number of attacks of each kind.
    """

    stand: Stand
    history: History
    size: Attacks
    rng: random.Random
    done: Counter[str] = field(default_factory=Counter)
    _ids: list[str] = field(default_factory=list)

    async def prepare(self) -> None:
        """Create the records to attack; no fault may be in effect."""
        async with grpc.aio.insecure_channel(self.stand.one.front.upstream, options=CHANNEL) as channel:
            for begin in range(0, self.size.small, _SMALL_PER_BATCH):
                await _create(channel, [f"small {number}" for number in range(begin, begin + _SMALL_PER_BATCH)], {})
            for begin in range(0, self.size.large, _LARGE_PER_BATCH):
                values = [f"large {number}" for number in range(begin, begin + _LARGE_PER_BATCH)]
                self._ids += await _create(channel, values, _METADATA)

    async def run(self, ended: asyncio.Event) -> None:
        """Attack until the event."""
        attacks = {
            "abandoned scans": self._abandon_scans,
            "unread answers": self._leave_answers_unread,
            "unfinished requests": self._leave_requests_unfinished,
            "large records": self._ask_for_large_records,
        }
        async with asyncio.TaskGroup() as group:
            for name, attack in attacks.items():
                group.create_task(self._repeat(name, attack, ended))

    def notes(self) -> list[str]:
        """Return a line per attack for the report: how often it was made, and how its calls ended."""
        codes: dict[str, Counter[str]] = {name: Counter() for name in self.done}
        for call in self.history.attacks:
            codes[call.caller.partition(" of ")[0]][call.reason or call.code] += 1
        return [
            f"attackers: {name}, {count} times" + "".join(f", {number} {code}" for code, number in codes[name].items())
            for name, count in sorted(self.done.items())
        ]

    async def _repeat(self, name: str, attack: Callable[[Service, str], Awaitable[None]], ended: asyncio.Event) -> None:
        while not ended.is_set():
            service = self.rng.choice(self.stand.services)
            # The service may be down.
            with suppress(OSError):
                await attack(service, caller_of(service.name, name))
                self.done[name] += 1
            await ended_within(self.rng.uniform(0.5, 1.5) * self.size.pause_seconds, ended)

    async def _abandon_scans(self, service: Service, caller: str) -> None:
        """Scan for what no record has, with too little time for it."""
        scan = pb.ContactMethodFilter(value_contains="no value has this")
        page = pb.ListContactMethodsRequest(filter=scan, include_total_size=True)
        pages = pb.StreamContactMethodsRequest(filter=scan)
        async with grpc.aio.insecure_channel(service.front.upstream, options=CHANNEL) as channel:
            await asyncio.gather(
                *(
                    self._call(channel, caller, rpc, request, _ABANDONED_AFTER_SECONDS)
                    for rpc, request in [("ListContactMethods", page), ("StreamContactMethods", pages)]
                    for _ in range(self.size.scans // 2)
                )
            )

    async def _leave_answers_unread(self, service: Service, caller: str) -> None:
        """Ask for large records on a connection that takes no byte of the answers."""
        many = pb.BatchGetContactMethodsRequest(ids=self._ids[:_MAX_IDS]).SerializeToString()
        async with opened(service.front.upstream, window=0) as connection:
            for _ in range(self.size.answers):
                await connection.call(f"{SERVICE}StreamContactMethods", b"", ENVIRONMENT)
                await connection.call(f"{SERVICE}BatchGetContactMethods", many, ENVIRONMENT)
            await self._hold(connection)

    async def _leave_requests_unfinished(self, service: Service, caller: str) -> None:
        """Announce large requests, and send as much of each as the service takes, but never all."""
        most = prefixed(b"x" * (_ANNOUNCED_BYTES - 1), _ANNOUNCED_BYTES)
        async with opened(service.front.upstream) as connection:
            sending = []
            for _ in range(self.size.requests):
                stream = await connection.begin(f"{SERVICE}BatchCreateContactMethods", ENVIRONMENT)
                sending.append(asyncio.create_task(connection.send(stream, most, end=False)))
            try:
                await self._hold(connection)
            finally:
                for task in sending:
                    task.cancel()
                await asyncio.gather(*sending, return_exceptions=True)

    async def _ask_for_large_records(self, service: Service, caller: str) -> None:
        """List, get and update large records, all at once."""
        page = pb.ListContactMethodsRequest(filter=pb.ContactMethodFilter(client_ids=[_CLIENT]), page_size=200)
        many = pb.BatchGetContactMethodsRequest(ids=self._ids[:_MAX_IDS])
        pages = pb.StreamContactMethodsRequest(filter=pb.ContactMethodFilter(client_ids=[_CLIENT]))
        updates = [
            pb.UpdateContactMethodRequest(id=id_, label=f"{self.rng.random()}")
            for id_ in self.rng.sample(self._ids, _UPDATES)
        ]
        asked: list[tuple[str, Any]] = [
            *[("ListContactMethods", page)] * self.size.lists,
            *[("BatchGetContactMethods", many)] * (self.size.lists // 2),
            *[("StreamContactMethods", pages)] * (self.size.lists // 2),
            ("BatchUpdateContactMethods", pb.BatchUpdateContactMethodsRequest(requests=updates)),
        ]
        async with grpc.aio.insecure_channel(service.front.upstream, options=CHANNEL) as channel:
            await asyncio.gather(
                *(self._call(channel, caller, rpc, request, _TIMEOUT_SECONDS) for rpc, request in asked)
            )

    async def _hold(self, connection: RawConnection) -> None:
        """Keep a connection open for a while, unless the service closes it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.rng.uniform(0.5, 1.0) * _MAX_HOLD_SECONDS), connection.changed:
                await connection.changed.wait_for(lambda: connection.closed)

    async def _call(self, channel: grpc.aio.Channel, caller: str, rpc: str, request: Any, timeout: float) -> None:
        """Make a call, leave its answer undecoded, and record how it ends."""
        began = time.monotonic()
        call = Call(-1, -1, caller, rpc, began, began, CallOutcome.OK)
        options: Any = {"timeout": timeout, "metadata": ENVIRONMENT}
        path, raw = f"{SERVICE}{rpc}", request.SerializeToString()
        try:
            if rpc.startswith("Stream"):
                stream: Any = channel.unary_stream(path)(raw, **options)
                async for _ in stream:
                    pass
            else:
                unary: Any = channel.unary_unary(path)(raw, **options)
                await unary
        except grpc.aio.AioRpcError as error:
            failure = failure_in(error)
            call.code, call.reason, call.outcome = error.code().name, failure.reason, CallOutcome.AMBIGUOUS
        call.ended = time.monotonic()
        self.history.attacks.append(call)


async def _create(channel: grpc.aio.Channel, values: list[str], metadata: dict[str, str]) -> list[str]:
    """Create records of the attacked client; return their ids."""
    create: Any = channel.unary_unary(f"{SERVICE}BatchCreateContactMethods")
    requests = [
        pb.CreateContactMethodRequest(
            client_id=_CLIENT if metadata else value,
            type=pb.CONTACT_METHOD_TYPE_OTHER,
            value=value,
            metadata=metadata,
        )
        for value in values
    ]
    raw = pb.BatchCreateContactMethodsRequest(requests=requests).SerializeToString()
    answer = pb.BatchCreateContactMethodsResponse.FromString(await create(raw, timeout=60.0, metadata=ENVIRONMENT))
    return [result.contact_method.id for result in answer.results]


async def ended_within(seconds: float, ended: asyncio.Event) -> bool:
    """Wait for an event, but not longer than a time; return whether it has happened."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await ended.wait()
    return ended.is_set()
