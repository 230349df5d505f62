# Generated from _async/connection.py by `make protos`; never edited by hand.
"""The connection of the blocking client."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, TypeVar

import grpc
from contactsvc_stubs.v1 import contact_methods_pb2_grpc as pb_grpc

from contactsvc_client import _channels, _tracing
from contactsvc_client._errors import ConflictError, from_rpc_error
from contactsvc_client._operations import Operation
from contactsvc_client._retries import OverloadRetries
from contactsvc_client._settings import ClientSettings, checked_timeout

T = TypeVar("T")


class Connection:
    """Channels to the service, opened at the first call, and the calls on them."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        # One channel, and the stub on it, for calls that may be retried, and one for those that may not.
        self._channels: dict[bool, tuple[grpc.Channel, Any]] = {}
        self._server_supports_request_ids = True

    def close(self) -> None:
        """Close the channels; a later call opens new ones."""
        while self._channels:
            _, (channel, _) = self._channels.popitem()
            channel.close()

    def call(self, operation: Operation[T], timeout: float | None) -> T:
        """Make a call and return its result.

        A write without a request_id gets one, so that it can be retried while the service is unavailable and still be
        applied once.

        Raises:
            ContactsError: the call failed.
        """
        deadline = self._deadline(timeout)
        sent = operation.with_request_id() if self._server_supports_request_ids else operation
        try:
            return self._send(sent, deadline)
        except ConflictError as error:
            if sent is operation or error.reason != "TRANSACTIONS_UNSUPPORTED":
                raise
            # A database without transactions refuses request ids: from now on, writes have none and are not retried.
            self._server_supports_request_ids = False
            return self._send(operation, deadline)

    def stream(self, operation: Operation[T], timeout: float | None) -> Generator[T]:
        """Make a call and yield the results that it streams. It is repeated only before the first one.

        Raises:
            ContactsError: the call failed.
        """
        request_id, deadline = _channels.new_request_id(), self._deadline(timeout)
        retries = self._retries(deadline)
        started = False
        while True:
            call = self._start(operation, deadline, request_id)
            try:
                for response in call:
                    started = True
                    yield operation.outcome(response, request_id)
                return
            except grpc.RpcError as error:
                failure = from_rpc_error(error, request_id)
                delay = None if started else retries.delay(failure)
                if delay is None:
                    raise failure from error
            finally:
                call.cancel()
            time.sleep(delay)

    def _send(self, operation: Operation[T], deadline: float) -> T:
        request_id = _channels.new_request_id()
        retries = self._retries(deadline)
        while True:
            try:
                response = self._start(operation, deadline, request_id)
                break
            except grpc.RpcError as error:
                failure = from_rpc_error(error, request_id)
                delay = retries.delay(failure)
                if delay is None:
                    raise failure from error
            time.sleep(delay)
        return operation.outcome(response, request_id)

    def _start(self, operation: Operation[T], deadline: float, request_id: str) -> Any:
        rpc = getattr(self._stub(operation.may_be_repeated), operation.rpc)
        return rpc(
            operation.request,
            timeout=deadline - time.monotonic(),
            metadata=[*self._settings.headers, *_tracing.headers(), (_channels.REQUEST_ID_HEADER, request_id)],
        )

    def _deadline(self, timeout: float | None) -> float:
        return time.monotonic() + (self._settings.timeout if timeout is None else checked_timeout(timeout))

    def _retries(self, deadline: float) -> OverloadRetries:
        return OverloadRetries(enabled=self._settings.max_retries > 0, deadline=deadline)

    def _stub(self, retry_writes: bool) -> Any:
        if retry_writes not in self._channels:
            target, credentials = self._settings.target, self._settings.credentials
            options = _channels.channel_options(
                self._settings.channel_options, max_retries=self._settings.max_retries, retry_writes=retry_writes
            )
            channel = (
                grpc.insecure_channel(target, options=options)
                if credentials is None
                else grpc.secure_channel(target, credentials, options=options)
            )
            stub: Any = pb_grpc.ContactMethodsServiceStub(channel)  # type: ignore[no-untyped-call]
            self._channels[retry_writes] = channel, stub
        return self._channels[retry_writes][1]
