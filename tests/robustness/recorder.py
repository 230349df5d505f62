"""A recorder of calls over the wire and their answers.

It uses the stubs rather than the Python client, since the history has to show repetitions of requests.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import Message

from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import failure_in
from tests.robustness.history import Call, CallOutcome, Change, History, State

MADE, NOTE = "made", "note"

# Status codes that guarantee that the call had no effect. INTERNAL does not.
_WITHOUT_EFFECT = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
}
_MAX_ATTEMPTS = 4
_FIRST_PAUSE_SECONDS = 0.05
_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to make.

    Attributes:
        rpc: the name of the RPC.
        request: the message, without a request_id.
        changes: the changes that it asks for.
        read: records the contents of an answer in the call.
        missing: records in the call what NOT_FOUND means.
        atomic: whether all changes are made or none.
        repeatable: whether it gets a request_id and may be repeated.
    """

    rpc: str
    request: Any
    changes: Sequence[Change] = ()
    read: Callable[[Any, Call], None] = lambda _answer, _call: None
    missing: Callable[[Call], None] = lambda _call: None
    atomic: bool = True
    repeatable: bool = True


@dataclass(slots=True)
class Recorder:
    """Makes calls and records their history.

    Attributes:
        history: the history so far.
        succeeded: by service, and for reads and writes, the start of the last successful call.
        repeated: the fraction of answered requests to repeat.
    """

    history: History = field(default_factory=History)
    succeeded: dict[tuple[str, bool], float] = field(default_factory=dict)
    repeated: float = 0.05
    _operations: int = 0

    def next_operation(self) -> int:
        """Return a unique number, from which marks are made."""
        self._operations += 1
        return self._operations

    async def carry_out(self, caller: str, stub: Any, ask: Ask, operation: int, rng: random.Random) -> Call:
        """Make a call; repeat it after an ambiguous answer, as clients do, and sometimes after a definite one."""
        request = ask.request
        request_id = ""
        if ask.changes and ask.repeatable:
            request_id = request.request_id = uuid.UUID(int=rng.getrandbits(128)).hex
        pause = _FIRST_PAUSE_SECONDS
        for repetition in range(_MAX_ATTEMPTS):
            call = await self._call(caller, stub, ask, operation, request_id, rng)
            again = call.outcome is CallOutcome.AMBIGUOUS or (repetition == 0 and rng.random() < self.repeated)
            if not request_id or not again:
                break
            await asyncio.sleep(pause * rng.uniform(0.5, 1.5))
            pause *= 3
        return call

    async def _call(
        self, caller: str, stub: Any, ask: Ask, operation: int, request_id: str, rng: random.Random
    ) -> Call:
        impatient = rng.random() < 0.02
        timeout = rng.uniform(0.002, 0.2) if impatient else _TIMEOUT_SECONDS
        began = time.monotonic()
        call = Call(-1, operation, caller, ask.rpc, began, began, CallOutcome.OK, request_id=request_id)
        call.changes, call.atomic, call.impatient = ask.changes, ask.atomic, impatient
        try:
            method = getattr(stub, ask.rpc)
            if ask.rpc == "StreamContactMethods":
                call.together = False
                answer: Any = [page async for page in method(ask.request, timeout=timeout)]
            else:
                answer = await self._perhaps_cancelled(method(ask.request, timeout=timeout), rng)
            call.ended = time.monotonic()
            ask.read(answer, call)
            kind = service_of(caller), bool(ask.changes)
            self.succeeded[kind] = max(began, self.succeeded.get(kind, 0.0))
        except grpc.aio.AioRpcError as error:
            call.ended = time.monotonic()
            failure = failure_in(error)
            call.code, call.reason = error.code().name, failure.reason
            call.outcome = CallOutcome.FAILED if error.code() in _WITHOUT_EFFECT else CallOutcome.AMBIGUOUS
            if error.code() is grpc.StatusCode.NOT_FOUND:
                ask.missing(call)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            call.ended = time.monotonic()
            call.code, call.outcome = "CANCELLED", CallOutcome.AMBIGUOUS
            if task is not None and task.cancelling():
                self._keep(call)
                raise
        self._keep(call)
        return call

    async def _perhaps_cancelled(self, rpc: Any, rng: random.Random) -> Message:
        """Await an answer; one caller in a hundred cancels the call."""
        if rng.random() < 0.01:
            asyncio.get_running_loop().call_later(rng.uniform(0.001, 0.02), rpc.cancel)
        answer: Message = await rpc
        return answer

    def _keep(self, call: Call) -> None:
        call.number = len(self.history.calls)
        self.history.calls.append(call)


def caller_of(service: str, number: int | str) -> str:
    """Return the name of a caller, which includes its service."""
    return f"{number} of {service}"


def service_of(caller: str) -> str:
    """Return the name of the service that a caller uses."""
    return caller.rpartition(" of ")[2]


def state_of(record: pb.ContactMethod) -> State:
    """Return the state of a record for the checker."""
    return State(
        record.id,
        record.etag,
        record.client_id,
        pb.ContactMethodType.Name(record.type),
        record.is_primary,
        record.external_id,
        record.label,
        record.metadata.get(NOTE, ""),
        record.metadata.get(MADE, ""),
    )
