"""The asynchronous client."""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import grpc

from contactsvc_client._async.batches import AsyncBatches
from contactsvc_client._async.connection import AsyncConnection
from contactsvc_client._async.reads import AsyncReads
from contactsvc_client._async.verifications import AsyncVerifications
from contactsvc_client._async.writes import AsyncWrites
from contactsvc_client._items import OMITTED, Omitted
from contactsvc_client._settings import Environment, TlsOptions, checked_settings


class AsyncContactMethods(AsyncReads, AsyncWrites, AsyncBatches, AsyncVerifications):
    """The operations on contact methods.

    Every method has a `timeout` in seconds, which overrides that of the client, and raises ValidationError for an
    invalid argument and a subclass of APIError for an error of the service or the network.

    Every write has a `request_id`, the caller's name for this request: repeated with the same arguments within 24
    hours, the request is applied once. By default the client generates one and keeps it for its own retries. An `etag`
    is that of the record as the caller last read it: if the record has changed since, the write raises ConflictError
    with reason ETAG_MISMATCH.

    An API key that lacks the permission `read` can create contact methods that are not primary, delete, erase and
    verify, as its other permissions allow. The records that these methods return have their `id` alone (see
    `ContactMethod`), `demoted_ids` is empty, and `promoted_id` None.
    """


class AsyncContactsClient:
    """A client of contactsvc.

    Use it with `async with`, or close it. It connects at the first call, and reconnects on its own.

    While the service is unavailable, a call is repeated up to `max_retries` times: reads, and writes by their
    `request_id`. A call that the service refuses as OVERLOADED, with nothing done, is repeated until its timeout, no
    sooner than the service asks for.

    Args:
        target: the address of the service, such as "localhost:50051"; by default that in the environment variable
            CONTACTSVC_TARGET.
        api_key: sent as a bearer token; by default that in the environment variable CONTACTSVC_API_KEY. None sends
            none.
        environment: "live" or "test". None sends none: the service uses that of the API key, or `live` without keys.
        timeout: seconds that a call may take, retries included; each method can override it.
        max_retries: the number of retries while the service is unavailable, at most 4; a larger one counts as 4. 0
            disables all retries.
        tls: True connects with TLS and trusts the authorities that gRPC trusts; a dictionary has certificates, such as
            `{"ca": Path("ca.crt")}` (see `TlsOptions`). False connects in plain text.
        credentials: gRPC credentials, where `tls` does not suffice.
        channel_options: additional options of the gRPC channel.

    Attributes:
        contact_methods: the operations.

    Raises:
        ValidationError: an argument is invalid.
    """

    def __init__(
        self,
        target: str | None = None,
        *,
        api_key: str | Omitted | None = OMITTED,
        environment: Environment | None = None,
        timeout: float = 10.0,
        max_retries: int = 3,
        tls: bool | TlsOptions = False,
        credentials: grpc.ChannelCredentials | None = None,
        channel_options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        settings = checked_settings(
            target,
            api_key=api_key,
            environment=environment,
            timeout=timeout,
            max_retries=max_retries,
            tls=tls,
            credentials=credentials,
            channel_options=channel_options,
            environ=os.environ,
        )
        self._target = settings.target
        self._connection = AsyncConnection(settings)
        self.contact_methods = AsyncContactMethods(self._connection)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._target!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; a later call opens another one."""
        await self._connection.close()
