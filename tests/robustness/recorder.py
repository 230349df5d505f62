"""Calls the service over the wire, and writes down what was asked and answered.

By the raw stubs rather than the Python client: when a request is repeated shall be seen in the history.
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
from tests.robustness.history import Call, Change, History, Outcome, State

MADE, NOTE = "made", "note"

# What the contract promises to have had no effect. INTERNAL may have had one.
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
_MOST_REPETITIONS = 4
_FIRST_PAUSE = 0.05
_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Ask:
    """What to ask.

    Attributes:
        rpc: the name of the RPC.
        request: its message, without a request_id.
        changes: what it asks for.
        read: puts what an answer says into the call.
        missing: puts what NOT_FOUND says into the call.
        atomic: whether the changes happen together or not at all.
        repeatable: whether it is to carry a request_id, and so may be repeated.
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
    """Makes calls, and keeps the history of them.

    Attributes:
        history: what has been called and answered.
        succeeded: of each service, for reads and for writes, when the last call that succeeded had begun.
        repeated: which part of the requests are repeated although they were answered.
    """

    history: History = field(default_factory=History)
    succeeded: dict[tuple[str, bool], float] = field(default_factory=dict)
    repeated: float = 0.05
    _operations: int = 0

    def next_operation(self) -> int:
        """Return a number that no other operation has; marks are made of it."""
        self._operations += 1
        return self._operations

    async def carry_out(self, caller: str, stub: Any, ask: Ask, operation: int, rng: random.Random) -> Call:
        """Ask, and ask again as clients do when the answer is ambiguous, now and then also when it is not."""
        request = ask.request
        request_id = ""
        if ask.changes and ask.repeatable:
            request_id = request.request_id = uuid.UUID(int=rng.getrandbits(128)).hex
        pause = _FIRST_PAUSE
        for repetition in range(_MOST_REPETITIONS):
            call = await self._call(caller, stub, ask, operation, request_id, rng)
            again = call.outcome is Outcome.AMBIGUOUS or (repetition == 0 and rng.random() < self.repeated)
            if not request_id or not again:
                break
            await asyncio.sleep(pause * rng.uniform(0.5, 1.5))
            pause *= 3
        return call

    async def _call(
        self, caller: str, stub: Any, ask: Ask, operation: int, request_id: str, rng: random.Random
    ) -> Call:
        impatient = rng.random() < 0.02
        timeout = rng.uniform(0.002, 0.2) if impatient else _TIMEOUT
        began = time.monotonic()
        call = Call(-1, operation, caller, ask.rpc, began, began, Outcome.OK, request_id=request_id)
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
            call.outcome = Outcome.FAILED if error.code() in _WITHOUT_EFFECT else Outcome.AMBIGUOUS
            if error.code() is grpc.StatusCode.NOT_FOUND:
                ask.missing(call)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            call.ended = time.monotonic()
            call.code, call.outcome = "CANCELLED", Outcome.AMBIGUOUS
            if task is not None and task.cancelling():
                self._keep(call)
                raise
        self._keep(call)
        return call

    async def _perhaps_cancelled(self, rpc: Any, rng: random.Random) -> Message:
        """Await an answer; one caller in a hundred changes its mind."""
        if rng.random() < 0.01:
            asyncio.get_running_loop().call_later(rng.uniform(0.001, 0.02), rpc.cancel)
        answer: Message = await rpc
        return answer

    def _keep(self, call: Call) -> None:
        call.number = len(self.history.calls)
        self.history.calls.append(call)


def caller_of(service: str, number: int) -> str:
    """Return the name of a caller, which says which service it uses."""
    return f"{number} of {service}"


def service_of(caller: str) -> str:
    """Return the name of the service that a caller uses."""
    return caller.rpartition(" of ")[2]


def state_of(record: pb.ContactMethod) -> State:
    """Return a record as the checker sees it."""
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
