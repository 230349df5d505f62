"""The connection of the asynchronous client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, TypeVar

import grpc
import grpc.aio

from contactsvc.v1 import contact_methods_pb2_grpc as pb_grpc
from contactsvc_client import channels, tracing
from contactsvc_client.errors import ConflictError, from_rpc_error
from contactsvc_client.operations import Operation

T = TypeVar("T")


class AsyncConnection:
    """Channels to the service, opened at the first call, and the calls on them.

    Args: those of `AsyncContactsClient`.

    Raises:
        ValidationError: the API key or the environment is invalid.
    """

    def __init__(
        self,
        target: str,
        *,
        api_key: str | None,
        environment: str | None,
        timeout: float,
        credentials: grpc.ChannelCredentials | None,
        channel_options: Sequence[tuple[str, Any]],
    ) -> None:
        self._target = target
        self._headers = channels.headers(api_key, environment)
        self._timeout = timeout
        self._credentials = credentials
        self._options = channel_options
        # One channel, and the stub on it, for calls that may be retried, and one for those that may not.
        self._channels: dict[bool, tuple[grpc.aio.Channel, Any]] = {}
        self._server_supports_request_ids = True

    async def close(self) -> None:
        """Close the channels; a later call opens new ones."""
        while self._channels:
            _, (channel, _) = self._channels.popitem()
            await channel.close()

    async def call(self, operation: Operation[T], timeout: float | None) -> T:
        """Make a call and return its result.

        A write without a request_id gets one, so that it can be retried while the service is unavailable and still be
        applied once.

        Raises:
            ContactsError: the call failed.
        """
        sent = operation.with_request_id() if self._server_supports_request_ids else operation
        try:
            return await self._send(sent, timeout)
        except ConflictError as error:
            if sent is operation or error.reason != "TRANSACTIONS_UNSUPPORTED":
                raise
            # A database without transactions refuses request ids: from now on, writes have none and are not retried.
            self._server_supports_request_ids = False
            return await self._send(operation, timeout)

    async def stream(self, operation: Operation[T], timeout: float | None) -> AsyncGenerator[T]:
        """Make a call and yield the results that it streams.

        Raises:
            ContactsError: the call failed.
        """
        request_id = channels.new_request_id()
        call = self._start(operation, timeout, request_id)
        try:
            async for response in call:
                yield operation.outcome(response, request_id)
        except grpc.RpcError as error:
            raise from_rpc_error(error, request_id) from error
        finally:
            call.cancel()

    async def _send(self, operation: Operation[T], timeout: float | None) -> T:
        request_id = channels.new_request_id()
        try:
            response = await self._start(operation, timeout, request_id)
        except grpc.RpcError as error:
            raise from_rpc_error(error, request_id) from error
        return operation.outcome(response, request_id)

    def _start(self, operation: Operation[T], timeout: float | None, request_id: str) -> Any:
        rpc = getattr(self._stub(operation.may_be_repeated), operation.rpc)
        return rpc(
            operation.request,
            timeout=self._timeout if timeout is None else timeout,
            metadata=[*self._headers, *tracing.headers(), (channels.REQUEST_ID_HEADER, request_id)],
        )

    def _stub(self, retry_writes: bool) -> Any:
        # Not in __init__: a channel belongs to the event loop it is made in.
        if retry_writes not in self._channels:
            options = channels.channel_options(self._options, retry_writes=retry_writes)
            channel = (
                grpc.aio.insecure_channel(self._target, options=options)
                if self._credentials is None
                else grpc.aio.secure_channel(self._target, self._credentials, options=options)
            )
            stub: Any = pb_grpc.ContactMethodsServiceStub(channel)  # type: ignore[no-untyped-call]
            self._channels[retry_writes] = channel, stub
        return self._channels[retry_writes][1]
