"""The one wrapper around every RPC: limits, who calls, bytes in, deadline, errors -> status, metrics, log line.

Requests are decoded here, since bytes that gRPC itself cannot decode would end before any code of ours, as INTERNAL
with the decoder's text. Health and reflection are not wrapped: they have handlers of their own shape.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import grpc
from google.protobuf import symbol_database
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import DecodeError, Message

from contactsvc import deadlines
from contactsvc.domain.ids import new_request_id
from contactsvc.domain.kinds import Environment
from contactsvc.errors import ContactsvcError, DeadlineExceeded, InternalFault, MalformedRequest
from contactsvc.rpc.admission import ConcurrencyLimiter
from contactsvc.rpc.auth import Authenticator, Caller
from contactsvc.rpc.status import code_of, status_of, trailing_of
from contactsvc.telemetry.call_report import CallReport
from contactsvc.telemetry.metrics import MethodMetrics, Metrics

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


class CallPipeline:
    """Makes gRPC handlers of a servicer's methods, and keeps the writes that are under way.

    Args:
        gate: lets callers in.
        in_flight: limits how many calls there are at a time.
        metrics: counts them.
        longest: how many seconds a unary call may take, however long its caller would wait.
        tracing: traces them, if they are to be traced.
        log: told of every call that has ended, if that is wanted.
    """

    def __init__(
        self,
        gate: Authenticator,
        in_flight: ConcurrencyLimiter,
        metrics: Metrics,
        *,
        longest: float,
        tracing: Tracing | None = None,
        log: Callable[[CallReport], None] | None = None,
    ) -> None:
        self._gate = gate
        self._in_flight = in_flight
        self._metrics = metrics
        self._longest = longest
        self._tracing = tracing
        self._log = log
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
        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(self._streaming(method, rpc))
        return grpc.unary_unary_rpc_method_handler(self._unary(method, rpc))

    def _exchanges(self, method: MethodDescriptor, kind: str) -> Callable[[Context], CallContext]:
        """Return what begins the exchange of a call of this method."""
        metrics = self._metrics.of_method(kind, method.containing_service.full_name, method.name)
        return lambda context: CallContext(method.name, context, metrics, self._tracing, self._log)

    def _unary(
        self, method: MethodDescriptor, rpc: Callable[[Any, Call], Coroutine[Any, Any, Message]]
    ) -> Callable[[bytes, Context], Awaitable[bytes]]:
        begin = self._exchanges(method, "unary")
        request_class = symbol_database.Default().GetSymbol(method.input_type.full_name)
        reads_only = method.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS
        carry_out = self._read if reads_only else self._write

        async def handle(raw: bytes, context: Context) -> bytes:
            exchange = begin(context)
            try:
                try:
                    call = await self._admitted(exchange, self._longest)
                    answer = await carry_out(lambda: rpc(_decoded(request_class, raw), call), exchange)
                    context.set_trailing_metadata(exchange.trailing)
                except BaseException as error:
                    failure = exchange.failure(error)
                else:
                    exchange.sent()
                    return answer
                return await exchange.abort(failure)
            finally:
                exchange.end()

        return handle

    def _streaming(
        self, method: MethodDescriptor, rpc: Callable[[Any, Call], AsyncGenerator[Message]]
    ) -> Callable[[bytes, Context], Awaitable[None]]:
        begin = self._exchanges(method, "server_stream")
        request_class = symbol_database.Default().GetSymbol(method.input_type.full_name)

        async def handle(raw: bytes, context: Context) -> None:
            exchange = begin(context)
            try:
                try:
                    # A stream takes as long as its caller reads: only the caller's own deadline counts.
                    call = await self._admitted(exchange, None)
                    try:
                        async with aclosing(rpc(_decoded(request_class, raw), call)) as messages:
                            async for message in messages:
                                self._gate.check_still_good(exchange.caller)
                                await _send(context, message)
                                exchange.sent()
                    finally:
                        self._in_flight.leave(exchange.key_id)
                    context.set_trailing_metadata(exchange.trailing)
                except BaseException as error:
                    failure = exchange.failure(error)
                else:
                    return
                await exchange.abort(failure)
            finally:
                exchange.end()

        return handle

    async def _admitted(self, exchange: CallContext, longest: float | None) -> Call:
        """Let a call in, count it as in flight, and begin its deadline. Whoever goes on must let it leave."""
        left = exchange.context.time_remaining()
        deadlines.begin(longest if left is None else left if longest is None else min(left, longest))
        caller = self._gate.authenticate_cached(exchange.metadata, exchange.method)
        if caller is None:
            try:
                async with asyncio.timeout_at(deadlines.when()):
                    caller = await self._gate.authenticate(exchange.metadata, exchange.method)
            except TimeoutError:
                raise DeadlineExceeded from None
        exchange.caller = caller
        # Strangers who wait for the gate do not count.
        self._in_flight.enter(caller.key_id)
        return Call(caller.environment, exchange.request_id)

    async def _read(self, work: Callable[[], Coroutine[Any, Any, Message]], exchange: CallContext) -> bytes:
        """Return the answer of a read; it ends when its caller leaves or its deadline passes."""
        try:
            async with asyncio.timeout_at(deadlines.when()) as timeout:
                return (await work()).SerializeToString()
        except TimeoutError:
            if timeout.expired():
                raise DeadlineExceeded from None
            raise
        finally:
            self._in_flight.leave(exchange.key_id)

    async def _write(self, work: Callable[[], Coroutine[Any, Any, Message]], exchange: CallContext) -> bytes:
        """Return the answer of a write; it goes on when its caller leaves or its deadline passes.

        Half a write helps nobody. And as long as it goes on, it counts as in flight.
        """
        try:
            running = asyncio.create_task(work(), name=exchange.method)
        except BaseException:
            self._in_flight.leave(exchange.key_id)
            raise
        self._writes.add(running)
        running.add_done_callback(lambda _: self._write_ended(running, exchange.key_id))
        told = False
        try:
            await asyncio.wait({running}, timeout=deadlines.remaining())
            told = running.done()
            if told:
                return running.result().SerializeToString()
            raise DeadlineExceeded
        finally:
            # Also when it ended in the moment in which its caller left.
            if not told:
                running.add_done_callback(_log_lost_failure)

    def _write_ended(self, running: asyncio.Task[Message], key_id: str | None) -> None:
        self._writes.discard(running)
        self._in_flight.leave(key_id)


async def _send(context: Context, message: Message) -> None:
    """Send a message; a slow caller slows us down, and one that does not read at all is left."""
    try:
        async with asyncio.timeout(_LONGEST_SEND):
            await context.write(message.SerializeToString())
    except TimeoutError:
        raise DeadlineExceeded from None


class CallContext:
    """One call: what came with it, how it ends, and the report of it. Begins when it is made."""

    __slots__ = (
        "_code",
        "_log",
        "_metrics",
        "_reason",
        "_span",
        "_started",
        "caller",
        "context",
        "metadata",
        "method",
        "request_id",
        "trailing",
    )

    def __init__(
        self,
        method: str,
        context: Context,
        metrics: MethodMetrics,
        tracing: Tracing | None,
        log: Callable[[CallReport], None] | None,
    ) -> None:
        self.method = method
        self.context = context
        self._metrics = metrics
        self._log = log
        self.metadata: dict[str, tuple[str | bytes, ...]] = {}
        for key, value in context.invocation_metadata() or ():
            self.metadata[key] = (*self.metadata.get(key, ()), value)
        self.request_id = _request_id(self.metadata.get(REQUEST_ID_HEADER, ()))
        self.trailing = ((REQUEST_ID_HEADER, self.request_id),)
        self.caller: Caller | None = None
        self._code = "OK"
        self._reason = ""
        self._span = tracing.start(method, self.metadata) if tracing else None
        self._started = time.monotonic()
        metrics.began()

    @property
    def key_id(self) -> str | None:
        """The key of the caller, if it has one."""
        return self.caller.key_id if self.caller else None

    def sent(self) -> None:
        """Count a message that was sent."""
        self._metrics.sent()

    def end(self) -> None:
        """Count, trace and log the call."""
        seconds = time.monotonic() - self._started
        self._metrics.ended(self._code, seconds)
        if self._span is not None:
            self._span.end(self._code, self._reason, self.request_id)
        if self._log is not None:
            environment = self.caller.environment.value if self.caller else ""
            self._log(
                CallReport(
                    self.method, self._code, self._reason, seconds, self.request_id, environment, self.key_id or ""
                )
            )

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
        self._code, self._reason = code_of(failure).name, failure.reason
        return failure

    async def abort(self, failure: ContactsvcError) -> NoReturn:
        """End the call with the status of a failure."""
        status = status_of(failure)
        trailing = (*self.trailing, *trailing_of(failure, status))
        await self.context.abort(code_of(failure), status.message, trailing)
        raise AssertionError("abort returned")


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
    return new_request_id()
