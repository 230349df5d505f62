"""The pipeline around every RPC: deadline, authentication, admission, decoding, errors -> status, metrics, log line.

Requests are read and decoded here: a caller is known before its message may follow (request_reader.py), and bytes that
gRPC itself cannot decode would end before any code of ours, as INTERNAL with the decoder's text. A call is in flight
until its answer is out or given up (answers.py), and a write until it has ended. Health and reflection bypass the
pipeline, since their handlers have another shape.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from contextlib import aclosing
from typing import Any

import grpc
from google.protobuf import symbol_database
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import DecodeError, Message

from contactsvc import deadlines
from contactsvc.domain.kinds import Environment
from contactsvc.errors import ContactsvcError, DeadlineExceeded, MalformedRequest, Overloaded
from contactsvc.memory import CallMemory, MemoryBudget
from contactsvc.rpc.admission import ConcurrencyLimiter
from contactsvc.rpc.answers import AnswerBudget
from contactsvc.rpc.auth import Authenticator, Caller
from contactsvc.rpc.call_context import CallContext
from contactsvc.rpc.call_ports import Context, Tracing
from contactsvc.rpc.deadline_sweep import DeadlineSweep
from contactsvc.rpc.rate_limit import RateLimiter
from contactsvc.rpc.request_reader import RequestReader
from contactsvc.rpc.visibility import visible
from contactsvc.telemetry.call_report import CallReport
from contactsvc.telemetry.limit import Limit
from contactsvc.telemetry.metrics import Metrics

# Calls that wait at a time for the API keys to be read.
_MAX_AUTHENTICATING = 200
# What a write needs for each byte of its request: the message, records, documents, BSON and the answer, and four bytes
# in Python for a character of one. Small requests are bounded by the limits of calls in flight.
_MEMORY_PER_REQUEST_BYTE = 12
_MAX_UNCOUNTED_REQUEST_BYTES = 8 * 1024

_log = logging.getLogger(__name__)


class CallPipeline:
    """Makes gRPC handlers of a servicer's methods, and keeps track of running writes.

    Args:
        authenticator: authenticates callers.
        limiter: limits concurrent calls.
        answers: limits the bytes of answers.
        memory: limits the memory of calls.
        reader: reads requests.
        metrics: counts calls.
        max_seconds: the longest time that a unary call may take, whatever deadline its caller has set.
        rate_limiter: limits the rate of calls per API key; None sets no limits.
        tracing: traces calls; None traces none.
        on_end: receives the report of every call that has ended; None for none.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        limiter: ConcurrencyLimiter,
        answers: AnswerBudget,
        memory: MemoryBudget,
        reader: RequestReader,
        metrics: Metrics,
        *,
        max_seconds: float,
        rate_limiter: RateLimiter | None = None,
        tracing: Tracing | None = None,
        on_end: Callable[[CallReport], None] | None = None,
    ) -> None:
        self._authenticator = authenticator
        self._limiter = limiter
        self._answers = answers
        self._memory = memory
        self._reader = reader
        self._metrics = metrics
        self._max_seconds = max_seconds
        self._rate_limiter = rate_limiter
        self._tracing = tracing
        self._on_end = on_end
        self._deadlines = DeadlineSweep()
        self._writes: set[asyncio.Task[Any]] = set()
        self._authenticating = 0

    def handler(self, service: ServiceDescriptor, servicers: Mapping[Environment, object]) -> grpc.GenericRpcHandler:
        """Return the handler of a service.

        Args:
            service: its descriptor.
            servicers: one per environment, with a method for each RPC under its name.

        Raises:
            AttributeError: a servicer lacks a method.
        """
        return grpc.method_handlers_generic_handler(
            service.full_name, {method.name: self._method_handler(method, servicers) for method in service.methods}
        )

    async def finish_writes(self, timeout: float) -> int:
        """Wait up to `timeout` seconds for running writes, abandoned ones included; return how many remain."""
        if self._writes:
            await asyncio.wait(self._writes, timeout=timeout)
        return len(self._writes)

    def _method_handler(self, method: MethodDescriptor, servicers: Mapping[Environment, object]) -> Any:
        rpcs = {environment: getattr(servicer, method.name) for environment, servicer in servicers.items()}
        if method.server_streaming:
            return grpc.stream_stream_rpc_method_handler(self._streaming(method, rpcs))
        return grpc.stream_unary_rpc_method_handler(self._unary(method, rpcs))

    def _call_contexts(self, method: MethodDescriptor, kind: str) -> Callable[[Context], CallContext]:
        """Return what begins the call of a call of this method."""
        metrics = self._metrics.of_method(kind, method.containing_service.full_name, method.name)
        return lambda context: CallContext(method.name, context, metrics, self._tracing, self._on_end)

    def _unary(
        self,
        method: MethodDescriptor,
        rpcs: Mapping[Environment, Callable[[Any, Caller], Coroutine[Any, Any, Message]]],
    ) -> Callable[[object, Context], Awaitable[bytes]]:
        begin = self._call_contexts(method, "unary")
        request_class = symbol_database.Default().GetSymbol(method.input_type.full_name)
        reads_only = method.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS
        carry_out = self._read if reads_only else self._write

        async def handle(_: object, context: Context) -> bytes:
            call = begin(context)
            try:
                try:
                    caller = await self._admitted(call, self._max_seconds)
                    raw = await self._request(call)
                    rpc = rpcs[caller.environment]
                    answer = await carry_out(lambda: rpc(_decoded(request_class, raw), caller), call)
                    context.set_trailing_metadata(call.trailing)
                except BaseException as error:
                    failure = call.failure(error)
                else:
                    call.sent()
                    return answer
                return await call.abort(failure)
            finally:
                call.end()

        return handle

    def _streaming(
        self, method: MethodDescriptor, rpcs: Mapping[Environment, Callable[[Any, Caller], AsyncGenerator[Message]]]
    ) -> Callable[[object, Context], Awaitable[None]]:
        begin = self._call_contexts(method, "server_stream")
        request_class = symbol_database.Default().GetSymbol(method.input_type.full_name)

        async def handle(_: object, context: Context) -> None:
            call = begin(context)
            try:
                try:
                    # A stream takes as long as its caller reads: only the caller's own deadline counts.
                    caller = await self._admitted(call, None)
                    raw = await self._request(call)
                    rpc = rpcs[caller.environment]
                    async with aclosing(rpc(_decoded(request_class, raw), caller)) as messages:
                        async for message in messages:
                            self._authenticator.check_still_good(call.caller)
                            await call.answer.send(context, visible(message, caller).SerializeToString())
                            call.sent()
                    context.set_trailing_metadata(call.trailing)
                except BaseException as error:
                    failure = call.failure(error)
                else:
                    return
                await call.abort(failure)
            finally:
                call.end()

        return handle

    async def _admitted(self, call: CallContext, max_seconds: float | None) -> Caller:
        """Begin the deadline of a call, authenticate it and admit it until its task has ended."""
        left = call.context.time_remaining()
        deadlines.begin(max_seconds if left is None else left if max_seconds is None else min(left, max_seconds))
        caller = self._authenticator.authenticate_cached(call.metadata, call.method)
        if caller is None:
            # Strangers wait here, each with up to 64 KiB of a request.
            if self._authenticating >= _MAX_AUTHENTICATING:
                self._metrics.rejected(Limit.REQUESTS)
                raise Overloaded.by_requests()
            self._authenticating += 1
            try:
                async with asyncio.timeout_at(deadlines.when()):
                    caller = await self._authenticator.authenticate(call.metadata, call.method)
            except TimeoutError:
                raise DeadlineExceeded from None
            finally:
                self._authenticating -= 1
        call.caller = caller
        # Unauthenticated calls neither take tokens nor count as in flight.
        if self._rate_limiter is not None:
            self._rate_limiter.take(caller)
        call.answer = self._answers.answer(call.peer, caller.key_id, call.task)
        call.admission = self._limiter.enter(caller.key_id)
        call.task.add_done_callback(call.leave)
        call.admission.memory = call.memory = CallMemory(self._memory, caller.key_id or call.peer)
        call.memory.begin()
        return caller

    async def _request(self, call: CallContext) -> bytes:
        """Return the message of an admitted call once there is memory for what it will become."""
        raw = await self._reader.read(call.context, call.memory.owner, call.task)
        if len(raw) > _MAX_UNCOUNTED_REQUEST_BYTES:
            await call.memory.hold(_MEMORY_PER_REQUEST_BYTE * len(raw))
        return raw

    async def _read(self, work: Callable[[], Coroutine[Any, Any, Message]], call: CallContext) -> bytes:
        """Return the answer of a read, which ends when its caller leaves or its deadline passes."""
        return await self._answer(await self._deadlines.run(work(), call.task), call)

    async def _write(self, work: Callable[[], Coroutine[Any, Any, Message]], call: CallContext) -> bytes:
        """Return the answer of a write, which is completed also when its caller leaves or its deadline passes.

        Until then it counts as in flight.
        """
        running = asyncio.create_task(work(), name=call.method)
        self._writes.add(running)
        call.admission.retain()
        running.add_done_callback(self._writes.discard)
        running.add_done_callback(call.admission.release)
        delivered = False
        try:
            await asyncio.wait({running}, timeout=deadlines.remaining())
            delivered = running.done()
            if delivered:
                return await self._answer(running.result(), call)
        except Overloaded:
            # The write has happened: only its answer finds no room.
            if running.exception() is not None:
                raise
        finally:
            # Also when it ended in the moment its caller left.
            if not delivered:
                running.add_done_callback(_log_lost_failure)
        raise DeadlineExceeded

    async def _answer(self, message: Message, call: CallContext) -> bytes:
        """Return the bytes of an answer once there is room for them, counted until the task of the call has ended."""
        raw = visible(message, call.caller).SerializeToString()
        del message
        await call.answer.reserve(len(raw))
        call.answer.begin()
        call.memory.release()
        return raw


def _log_lost_failure(task: asyncio.Task[Any]) -> None:
    """Log the failure of a write whose caller has left; it would be reported nowhere else."""
    if task.cancelled():
        return
    error = task.exception()
    if error is not None and not isinstance(error, ContactsvcError):
        _log.error("%s failed after its caller had left", task.get_name(), exc_info=error)


def _decoded(request_class: type[Message], raw: bytes) -> Message:
    try:
        return request_class.FromString(raw)
    except DecodeError:
        raise MalformedRequest(request_class.DESCRIPTOR.name) from None
