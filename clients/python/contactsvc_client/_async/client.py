"""The asynchronous client."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

import grpc

from contactsvc_client._async.batches import AsyncBatches
from contactsvc_client._async.connection import AsyncConnection
from contactsvc_client._async.reads import AsyncReads
from contactsvc_client._async.verifications import AsyncVerifications
from contactsvc_client._async.writes import AsyncWrites


class AsyncContactMethods(AsyncReads, AsyncWrites, AsyncBatches, AsyncVerifications):
    """The operations on contact methods.

    Every method has a `timeout` in seconds, which overrides that of the client, and raises ValidationError for an
    invalid argument and a subclass of APIError for an error of the service or the network.

    Every write has a `request_id`, the caller's name for this request: repeated with the same arguments within 24
    hours, the request is applied once. By default the client generates one and keeps it for its own retries. An `etag`
    is that of the record as the caller last read it: if the record has changed since, the write raises ConflictError
    with reason ETAG_MISMATCH.
    """


class AsyncContactsClient:
    """A client of contactsvc.

    Use it with `async with`, or close it. It connects at the first call, and reconnects on its own.

    Args:
        target: the address of the service, such as "localhost:50051".
        api_key: sent as a bearer token; None sends none.
        environment: "live" or "test". None sends none: the service uses that of the API key, or `live` without keys.
        timeout: seconds that a call may take, retries included; each method can override it.
        credentials: TLS credentials; None connects in plain text.
        channel_options: additional options of the gRPC channel.

    Attributes:
        contact_methods: the operations.

    Raises:
        ValidationError: the API key or the environment is invalid.
    """

    def __init__(
        self,
        target: str,
        *,
        api_key: str | None = None,
        environment: str | None = None,
        timeout: float = 10.0,
        credentials: grpc.ChannelCredentials | None = None,
        channel_options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        self._target = target
        self._connection = AsyncConnection(
            target,
            api_key=api_key,
            environment=environment,
            timeout=timeout,
            credentials=credentials,
            channel_options=channel_options,
        )
        self.contact_methods = AsyncContactMethods(self._connection)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._target!r})"

    async def __aenter__(self) -> AsyncContactsClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; a later call opens another one."""
        await self._connection.close()
