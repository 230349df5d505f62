from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NamedTuple

from contactsvc.domain.kinds import Environment
from contactsvc.errors import DeadlineExceeded
from contactsvc.memory import MemoryBudget
from contactsvc.rpc.admission import ConcurrencyLimiter
from contactsvc.rpc.answers import AnswerBudget, AnswerLimits
from contactsvc.rpc.auth import Authenticator
from contactsvc.rpc.pipeline import CallPipeline
from contactsvc.rpc.request_reader import RequestReader
from contactsvc.runtime.server import SERVICE
from contactsvc.telemetry.metrics import Metrics


class Servicer:
    """All its methods fail when they are told to."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.go = asyncio.Event()
        self.failed = False

    def __getattr__(self, name: str) -> Callable[[Any, Any], Awaitable[Any]]:
        return self.fail

    async def fail(self, request: Any, caller: Any) -> Any:
        self.began.set()
        await self.go.wait()
        self.failed = True
        raise DeadlineExceeded


class Context:
    """A caller who waits for ever."""

    def invocation_metadata(self) -> Any:
        return ()

    def time_remaining(self) -> None:
        return None

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"

    async def read(self) -> bytes:
        return b""


class Details(NamedTuple):
    """What gRPC says of a call before it begins."""

    method: str
    invocation_metadata: Any = ()


async def test_a_write_that_fails_as_its_caller_leaves_is_no_error_of_the_loop() -> None:
    servicer, metrics = Servicer(), Metrics()
    in_flight = ConcurrencyLimiter(10, 10, metrics.rejected)
    answers, reader = AnswerBudget(AnswerLimits(timeout=60), metrics.rejected), RequestReader(metrics.rejected)
    authenticator = Authenticator(None, monotonic=time.monotonic)
    memory = MemoryBudget(lambda: None)
    calls = CallPipeline(authenticator, in_flight, answers, memory, reader, metrics, max_seconds=30)
    handler: Any = calls.handler(SERVICE, dict.fromkeys(Environment, servicer))
    method = handler.service(Details(f"/{SERVICE.full_name}/DeleteContactMethod"))
    complaints: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context["message"]))
    try:
        call = asyncio.create_task(method.stream_unary(None, Context()))
        await servicer.began.wait()
        servicer.go.set()
        while not servicer.failed:  # noqa: ASYNC110 - turn by turn: the moment matters
            await asyncio.sleep(0)

        call.cancel()
        with suppress(asyncio.CancelledError):
            await call
        await asyncio.sleep(0)
        gc.collect()
    finally:
        loop.set_exception_handler(None)

    assert complaints == []
