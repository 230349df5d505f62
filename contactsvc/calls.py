"""The one wrapper around every RPC: limits, who calls, bytes in, deadline, errors -> status, metrics, log line.

Requests are decoded here, since bytes that gRPC itself cannot decode would end before any code of ours, as INTERNAL
with the decoder's text. Health and reflection are not wrapped: they have handlers of their own shape.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import grpc
from google.protobuf import symbol_database
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import DecodeError, Message

from contactsvc import deadlines, statuses
from contactsvc.domain.environment import Environment
from contactsvc.errors import ContactsvcError, DeadlineExceeded, InternalFault, MalformedRequest
from contactsvc.gate import Caller, Gate
from contactsvc.limits import InFlight
from contactsvc.metrics import MethodMetrics, Metrics

REQUEST_ID_HEADER = "x-request-id"

# No spaces: it stands in log lines, between other fields.
_REQUEST_ID = re.compile(r"[!-~]{1,128}")
# Seconds in which a caller of a stream must have taken a page.
_LONGEST_SEND = 60.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Call:
    """What the wrapper found out about a call."""

    environment: Environment
    request_id: str


class Context(Protocol):
    """What the wrapper uses of gRPC's ServicerContext."""

    def invocation_metadata(self) -> Any:
        """Return the metadata that came with the call."""

    def time_remaining(self) -> float | None:
        """Return how many seconds the caller still waits; None is for ever."""

    async def write(self, message: bytes) -> None:
        """Send a message of a stream; return when the transport has taken it."""

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        """Set the metadata that goes out with the status."""

    async def abort(self, code: Any, details: str = "", trailing_metadata: Any = ()) -> Any:
        """End the call with a status; raises."""


class Span(Protocol):
    """The trace of one call."""

    def end(self, code: str, reason: str, request_id: str) -> None:
        """End with the status of the call."""


class Tracing(Protocol):
    """Whoever traces calls."""

    def start(self, method: str, headers: dict[str, tuple[str | bytes, ...]]) -> Span:
        """Begin the trace of a call."""
        ...


class Calls:
    """Makes gRPC handlers of a servicer's methods, and keeps the writes that are under way.

    Args:
        gate: lets callers in.
        in_flight: limits how many calls there are at a time.
        metrics: counts them.
        longest: how many seconds a unary call may take, however long its caller would wait.
        tracing: traces them, if they are to be traced.
    """

    def __init__(
        self, gate: Gate, in_flight: InFlight, metrics: Metrics, *, longest: float, tracing: Tracing | None = None
    ) -> None:
        self._gate = gate
        self._in_flight = in_flight
        self._metrics = metrics
        self._longest = longest
        self._tracing = tracing
        self._writes: set[asyncio.Task[Any]] = set()

    def handler(self, service: ServiceDescriptor, servicer: object) -> grpc.GenericRpcHandler:
        """Return the handler of a service whose methods the servicer has by their names.

        Raises:
            AttributeError: the servicer lacks one.
        """
        return grpc.method_handlers_generic_handler(
            service.full_name,
            {method.name: self._method_handler(method, getattr(servicer, method.name)) for method in service.methods},
        )

    async def finish_writes(self, patience: float) -> int:
        """Wait for the writes whose callers have gone, but not for ever; return how many are still under way."""
        if self._writes:
            await asyncio.wait(self._writes, timeout=patience)
        return len(self._writes)

    def _method_handler(self, method: MethodDescriptor, rpc: Callable[[Any, Call], Any]) -> Any:
        kind = "server_stream" if method.server_streaming else "unary"
        metrics = self._metrics.of_method(kind, method.containing_service.full_name, method.name)
        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(self._streaming(method, rpc, metrics))
        return grpc.unary_unary_rpc_method_handler(self._unary(method, rpc, metrics))

    def _unary(
        self,
        method: MethodDescriptor,
        rpc: Callable[[Any, Call], Coroutine[Any, Any, Message]],
        metrics: MethodMetrics,
    ) -> Callable[[bytes, Context], Awaitable[bytes]]:
        request_class = symbol_database.Default().GetSymbol(method.input_type.full_name)
        reads_only = method.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS
        name = method.name

        async def handle(raw: bytes, context: Context) -> bytes:
            exchange = _Exchange(name, context, metrics, self._tracing)
            with exchange.reported():
                try:
                    slots = ExitStack()
                    try:
                        call = await self._admitted(exchange, slots, self._longest)
                        running = asyncio.create_task(rpc(_decoded(request_class, raw), call), name=name)
                    except BaseException:
                        slots.close()
                        raise
                    # The slots belong to the work: a write whose caller has left goes on, and still counts.
                    running.add_done_callback(lambda _: slots.close())
                    answer = (await self._outcome(running, reads_only=reads_only)).SerializeToString()
                    context.set_trailing_metadata(exchange.trailing)
                    metrics.sent()
                    return answer
                except BaseException as error:
                    failure = exchange.failure(error)
                return await exchange.abort(failure)

        return handle

    def _streaming(
        self,
        method: MethodDescriptor,
        rpc: Callable[[Any, Call], AsyncGenerator[Message]],
        metrics: MethodMetrics,
    ) -> Callable[[bytes, Context], Awaitable[None]]:
        request_class = symbol_database.Default().GetSymbol(method.input_type.full_name)
        name = method.name

        async def handle(raw: bytes, context: Context) -> None:
            exchange = _Exchange(name, context, metrics, self._tracing)
            with exchange.reported():
                try:
                    with ExitStack() as slots:
                        # A stream takes as long as its caller reads: only the caller's own deadline counts.
                        call = await self._admitted(exchange, slots, None)
                        async with aclosing(rpc(_decoded(request_class, raw), call)) as messages:
                            async for message in messages:
                                self._gate.check_still_good(exchange.caller)
                                await _send(context, message)
                                metrics.sent()
                        context.set_trailing_metadata(exchange.trailing)
                        return
                except BaseException as error:
                    failure = exchange.failure(error)
                await exchange.abort(failure)

        return handle

    async def _admitted(self, exchange: _Exchange, slots: ExitStack, longest: float | None) -> Call:
        """Let a call in, take its slots, and begin its deadline."""
        left = exchange.context.time_remaining()
        seconds = longest if left is None else left if longest is None else min(left, longest)
        deadlines.begin(seconds)
        try:
            async with asyncio.timeout_at(deadlines.when()):
                caller = exchange.caller = await self._gate.admit(exchange.metadata, exchange.method)
        except TimeoutError:
            raise DeadlineExceeded from None
        # Strangers who wait for the gate take no slot.
        slots.enter_context(self._in_flight.in_process())
        slots.enter_context(self._in_flight.with_key(caller.key_id))
        return Call(caller.environment, exchange.request_id)

    async def _outcome(self, running: asyncio.Task[Message], *, reads_only: bool) -> Message:
        """Wait for the end of a call, or for its deadline.

        A write goes on when its caller leaves or its deadline passes: half a write helps nobody. A read is cancelled.
        """
        if not reads_only:
            self._writes.add(running)
            running.add_done_callback(self._writes.discard)
        try:
            # Not wait_for: a driver that swallows the cancellation must not hold the answer.
            await asyncio.wait({running}, timeout=deadlines.remaining())
            if running.done():
                return running.result()
            raise DeadlineExceeded
        finally:
            if not running.done():
                running.add_done_callback(_log_lost_failure)
                if reads_only:
                    running.cancel()


async def _send(context: Context, message: Message) -> None:
    """Send a message; a slow caller slows us down, and one that does not read at all is left."""
    try:
        async with asyncio.timeout(_LONGEST_SEND):
            await context.write(message.SerializeToString())
    except TimeoutError:
        raise DeadlineExceeded from None


class _Exchange:
    """One call: what came with it, how it ends, and the report of it."""

    def __init__(self, method: str, context: Context, metrics: MethodMetrics, tracing: Tracing | None) -> None:
        self.method = method
        self.context = context
        self._metrics = metrics
        self.metadata: dict[str, tuple[str | bytes, ...]] = {}
        for key, value in context.invocation_metadata() or ():
            self.metadata[key] = (*self.metadata.get(key, ()), value)
        self.request_id = _request_id(self.metadata.get(REQUEST_ID_HEADER, ()))
        self.trailing = ((REQUEST_ID_HEADER, self.request_id),)
        self.caller: Caller | None = None
        self._tracing = tracing
        self._code = "OK"
        self._reason = ""

    @contextmanager
    def reported(self) -> Iterator[None]:
        """Count, log and trace the call when the block ends."""
        span = self._tracing.start(self.method, self.metadata) if self._tracing else None
        started = time.monotonic()
        self._metrics.started()
        self._metrics.received()
        try:
            yield
        finally:
            seconds = time.monotonic() - started
            self._metrics.ended(self._code, seconds)
            if span is not None:
                span.end(self._code, self._reason, self.request_id)
            if _log.isEnabledFor(logging.INFO):
                self._log_line(seconds)

    def failure(self, error: BaseException) -> ContactsvcError:
        """Return what the caller is told of an error; raise it again when it is not for the caller."""
        if isinstance(error, ContactsvcError):
            failure = error
        else:
            task = asyncio.current_task()
            # A CancelledError that nobody sent to this call comes from something below it. Let through, it would end
            # the call without a status, and the caller would wait for ever.
            stray = isinstance(error, asyncio.CancelledError) and task is not None and not task.cancelling()
            if not stray and not isinstance(error, Exception):
                self._code = "CANCELLED"
                raise error
            _log.error("%s failed, request id %s", self.method, self.request_id, exc_info=error)
            failure = InternalFault(self.request_id)
        self._code, self._reason = statuses.code_of(failure).name, failure.reason
        return failure

    async def abort(self, failure: ContactsvcError) -> NoReturn:
        """End the call with the status of a failure."""
        status = statuses.status_of(failure)
        trailing = (*self.trailing, *statuses.trailing_of(failure, status))
        await self.context.abort(statuses.code_of(failure), status.message, trailing)
        raise AssertionError("abort returned")

    def _log_line(self, seconds: float) -> None:
        caller = self.caller
        fields = {
            "method": self.method,
            "code": self._code,
            "reason": self._reason,
            "ms": round(seconds * 1000, 2),
            "request_id": self.request_id,
            "environment": caller.environment.value if caller else "",
            "key_id": (caller.key_id if caller else None) or "",
        }
        _log.info("call", extra={"fields": {name: value for name, value in fields.items() if value != ""}})


def _log_lost_failure(task: asyncio.Task[Any]) -> None:
    """Log the failure of a write whose caller has gone; without this it would be reported nowhere."""
    if task.cancelled():
        return
    error = task.exception()
    if error is not None and not isinstance(error, ContactsvcError):
        _log.error("%s failed after its caller had gone", task.get_name(), exc_info=error)


def _decoded(request_class: type[Message], raw: bytes) -> Message:
    try:
        return request_class.FromString(raw)
    except DecodeError:
        raise MalformedRequest(request_class.DESCRIPTOR.name) from None


def _request_id(values: tuple[str | bytes, ...]) -> str:
    """Return the caller's request id if it can go into a log, or a new one."""
    if len(values) == 1 and isinstance(values[0], str) and _REQUEST_ID.fullmatch(values[0]):
        return values[0]
    return secrets.token_hex(16)
