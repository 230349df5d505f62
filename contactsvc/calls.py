"""The one wrapper around every RPC of the service: bytes in, environment, errors -> status.

Requests are decoded here, since bytes that gRPC itself cannot decode would end before any code of ours, as INTERNAL
with the decoder's text. Health and reflection are not wrapped: they have handlers of their own shape.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import grpc
from google.protobuf import symbol_database
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import DecodeError, Message

from contactsvc import statuses
from contactsvc.domain.environment import Environment
from contactsvc.errors import ContactsvcError, FieldViolation, InternalFault, InvalidFields, MalformedRequest

ENVIRONMENT_HEADER = "x-environment"
REQUEST_ID_HEADER = "x-request-id"

_LONGEST_REQUEST_ID = 128

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

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        """Set the metadata that goes out with the status."""

    async def abort(self, code: Any, details: str = "", trailing_metadata: Any = ()) -> Any:
        """End the call with a status; raises."""


class Calls:
    """Makes gRPC handlers of a servicer's methods, and keeps the writes that are under way."""

    def __init__(self) -> None:
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

    async def finish_writes(self) -> None:
        """Wait for the writes whose callers have gone."""
        await asyncio.gather(*self._writes, return_exceptions=True)

    def _method_handler(
        self, method: MethodDescriptor, rpc: Callable[[Any, Call], Any]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(self._streaming(method, rpc))
        return grpc.unary_unary_rpc_method_handler(self._unary(method, rpc))

    def _unary(
        self, method: MethodDescriptor, rpc: Callable[[Any, Call], Coroutine[Any, Any, Message]]
    ) -> Callable[[bytes, Context], Awaitable[bytes]]:
        request_class = symbol_database.Default().GetSymbol(method.input_type.full_name)
        reads_only = method.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS

        async def handle(raw: bytes, context: Context) -> bytes:
            exchange = _Exchange(method.name, context)
            try:
                running = rpc(_decoded(request_class, raw), exchange.call())
                response = await (running if reads_only else self._to_the_end(running, method.name))
                context.set_trailing_metadata(exchange.trailing)
                return response.SerializeToString()
            except BaseException as error:
                failure = exchange.failure(error)
            return await exchange.abort(failure)

        return handle

    def _streaming(
        self, method: MethodDescriptor, rpc: Callable[[Any, Call], AsyncGenerator[Message]]
    ) -> Callable[[bytes, Context], AsyncGenerator[bytes]]:
        request_class = symbol_database.Default().GetSymbol(method.input_type.full_name)

        async def handle(raw: bytes, context: Context) -> AsyncGenerator[bytes]:
            exchange = _Exchange(method.name, context)
            try:
                async with aclosing(rpc(_decoded(request_class, raw), exchange.call())) as messages:
                    async for message in messages:
                        # gRPC asks for the next one when the transport has taken this one: a slow caller slows us down.
                        yield message.SerializeToString()
                context.set_trailing_metadata(exchange.trailing)
                return
            except BaseException as error:
                failure = exchange.failure(error)
            await exchange.abort(failure)

        return handle

    async def _to_the_end(self, write: Coroutine[Any, Any, Message], name: str) -> Message:
        """Await a write in a task of its own, which goes on when the caller leaves: half a write helps nobody."""
        task = asyncio.create_task(write, name=name)
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_log_lost_failure)
            raise


class _Exchange:
    """One call: what came with it, and how it ends when it fails."""

    def __init__(self, method: str, context: Context) -> None:
        self._method = method
        self._context = context
        self._metadata = dict(context.invocation_metadata() or ())
        self._request_id = _request_id(self._metadata.get(REQUEST_ID_HEADER))
        self.trailing = ((REQUEST_ID_HEADER, self._request_id),)

    def call(self) -> Call:
        """Return what the methods need to know; raise InvalidFields for a header that makes no sense."""
        return Call(_environment(self._metadata.get(ENVIRONMENT_HEADER)), self._request_id)

    def failure(self, error: BaseException) -> ContactsvcError:
        """Return what the caller is told of an error; raise it again when it is not for the caller."""
        if isinstance(error, ContactsvcError):
            return error
        task = asyncio.current_task()
        # A CancelledError that nobody sent to this call comes from something below it. Let through, it would end the
        # call without a status, and the caller would wait for ever.
        stray = isinstance(error, asyncio.CancelledError) and task is not None and not task.cancelling()
        if not stray and not isinstance(error, Exception):
            raise error
        _log.error("%s failed, request id %s", self._method, self._request_id, exc_info=error)
        return InternalFault(self._request_id)

    async def abort(self, failure: ContactsvcError) -> NoReturn:
        """End the call with the status of a failure."""
        status = statuses.status_of(failure)
        details = ("grpc-status-details-bin", status.SerializeToString())
        await self._context.abort(statuses.code_of(failure), status.message, (*self.trailing, details))
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


def _environment(asked: str | bytes | None) -> Environment:
    if asked is None:
        return Environment.LIVE
    try:
        return Environment(str(asked))
    except ValueError:
        raise InvalidFields([FieldViolation(ENVIRONMENT_HEADER, "must be live or test")]) from None


def _request_id(asked: str | bytes | None) -> str:
    """Return the caller's request id if it can go into a log, or a new one."""
    if isinstance(asked, str) and 0 < len(asked) <= _LONGEST_REQUEST_ID and asked.isascii() and asked.isprintable():
        return asked
    return secrets.token_hex(16)
