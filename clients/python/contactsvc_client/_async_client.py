"""The asynchronous client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, TypeVar, overload

import grpc
import grpc.aio

from contactsvc.v1 import contact_methods_pb2_grpc as pb_grpc
from contactsvc_client import channels, operations
from contactsvc_client.errors import from_rpc_error
from contactsvc_client.filters import Filter, Sort
from contactsvc_client.operations import OMITTED, NewContactMethod, Omitted, OnPrimary, Operation
from contactsvc_client.records import AtomicBatch, ContactMethod, DeleteResult, Page, PartialBatch

T = TypeVar("T")


class AsyncContactsClient:
    """A connection to contactsvc.

    Use it as `async with`, or close it. It connects at the first call, and again by itself when the connection breaks.

    Args:
        target: where the service is, such as "localhost:50051".
        api_key: sent as a bearer token; None sends none.
        environment: "live" or "test"; None leaves the choice to the service (live, or that of the key).
        timeout: how many seconds a call may take, retries included; each method may be told otherwise.
        credentials: TLS; None connects in plain text.
        channel_options: further options of the gRPC channel.

    Attributes:
        contact_methods: the operations.

    Raises:
        ValidationError: the environment is unknown.
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
        self._headers = channels.headers(api_key, environment)
        self._timeout = timeout
        self._credentials = credentials
        self._options = channels.channel_options(channel_options)
        self._channel: grpc.aio.Channel | None = None
        self._stub: Any = None
        self.contact_methods = AsyncContactMethods(self)

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
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    async def call(self, operation: Operation[T], timeout: float | None) -> T:
        """Make a call; raise what it ends with as an exception of this package."""
        if self._channel is None:
            # Not in __init__: a channel belongs to the event loop it is made in.
            if self._credentials is None:
                self._channel = grpc.aio.insecure_channel(self._target, options=self._options)
            else:
                self._channel = grpc.aio.secure_channel(self._target, self._credentials, options=self._options)
            self._stub = pb_grpc.ContactMethodsServiceStub(self._channel)  # type: ignore[no-untyped-call]
        rpc = getattr(self._stub, operation.rpc)
        try:
            response = await rpc(
                operation.request, timeout=self._timeout if timeout is None else timeout, metadata=self._headers
            )
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        return operation.read(response)


class AsyncContactMethods:
    """The operations on contact methods.

    Every method takes a `timeout` in seconds instead of the client's, and raises ValidationError for a bad argument and
    the classes of APIError for what the service or the network answers.
    """

    def __init__(self, client: AsyncContactsClient) -> None:
        self._client = client

    async def create(
        self,
        *,
        client_id: str,
        type: str,  # noqa: A002 - the SDK's name
        value: str,
        label: str | None = None,
        is_primary: bool = False,
        external_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> ContactMethod:
        """Create a contact method; as primary it takes the flag from the one that has it.

        Args:
            client_id: the client it belongs to, 1-128 characters.
            type: "email", "phone", "fax" or "other".
            value: the address or number, 1-512 characters.
            label: what people call it, at most 100 characters.
            is_primary: whether it becomes the primary of its client and type.
            external_id: your own identifier, unique in the environment, 1-255 characters.
            metadata: your own pairs, at most 50.
            timeout: seconds.

        Raises:
            ConflictError: the external id is taken, or others kept changing the same primary.
        """
        operation = operations.create(
            client_id=client_id,
            type=type,
            value=value,
            label=label,
            is_primary=is_primary,
            external_id=external_id,
            metadata=metadata,
        )
        return await self._client.call(operation, timeout)

    async def retrieve(self, id: str, *, timeout: float | None = None) -> ContactMethod:  # noqa: A002 - the SDK's name
        """Return a contact method by its id; raise NotFoundError when there is none."""
        return await self._client.call(operations.retrieve(id), timeout)

    async def retrieve_by_external_id(self, external_id: str, *, timeout: float | None = None) -> ContactMethod:
        """Return a contact method by your own identifier; raise NotFoundError when there is none."""
        return await self._client.call(operations.retrieve_by_external_id(external_id), timeout)

    async def retrieve_by_metadata(
        self, key: str, value: str, *, client_id: str | None = None, timeout: float | None = None
    ) -> ContactMethod:
        """Return the contact method that carries a metadata pair, among those of a client if one is named.

        Raises:
            NotFoundError: none carries it.
            ConflictError: several do (reason METADATA_AMBIGUOUS).
        """
        return await self._client.call(operations.retrieve_by_metadata(key, value, client_id), timeout)

    async def list(
        self,
        *,
        filter: Filter | Mapping[str, Any] | None = None,  # noqa: A002 - the SDK's name
        sort: Sort | None = None,
        cursor: str | None = None,
        offset: int | None = None,
        limit: int | None = None,
        include_total_count: bool = False,
        timeout: float | None = None,
    ) -> Page:
        """Return one page of contact methods.

        Args:
            filter: which ones, such as `{"client_id": "c1", "type": one_of("email", "phone")}`; all when None.
            sort: "created_at" (the default), "updated_at", or one of them with "-" before it for latest first.
            cursor: `pagination.next_cursor` of the page before; good only with the same filter and sort.
            offset: how many to skip, for screens with page numbers; not together with a cursor.
            limit: how many at most; 20 when None, and never more than 200.
            include_total_count: whether to count all that match.
            timeout: seconds.
        """
        operation = operations.list_page(filter, sort, cursor, offset, limit, include_total_count=include_total_count)
        return await self._client.call(operation, timeout)

    async def list_by_client(
        self,
        client_id: str,
        *,
        type: str | None = None,  # noqa: A002 - the SDK's name
        cursor: str | None = None,
        limit: int | None = None,
        timeout: float | None = None,
    ) -> Page:
        """Return one page of a client's contact methods, oldest first; of one type if it is named."""
        return await self._client.call(operations.list_by_client(client_id, type, cursor, limit), timeout)

    async def iterate(
        self,
        filter: Filter | Mapping[str, Any] | None = None,  # noqa: A002 - the SDK's name
        *,
        sort: Sort | None = None,
        page_size: int = 200,
        timeout: float | None = None,
    ) -> AsyncIterator[ContactMethod]:
        """Yield all contact methods that match, fetching page after page as they are consumed.

        What nobody touches meanwhile comes exactly once. `timeout` holds for each page.
        """
        cursor: str | None = None
        while True:
            page = await self.list(filter=filter, sort=sort, cursor=cursor, limit=page_size, timeout=timeout)
            for contact_method in page.data:
                yield contact_method
            cursor = page.pagination.next_cursor
            if cursor is None:
                return

    async def update(
        self,
        id: str,  # noqa: A002 - the SDK's name
        *,
        type: str | Omitted = OMITTED,  # noqa: A002 - the SDK's name
        value: str | Omitted = OMITTED,
        label: str | Omitted | None = OMITTED,
        is_primary: bool | Omitted = OMITTED,
        external_id: str | Omitted | None = OMITTED,
        metadata: Mapping[str, str | None] | Omitted = OMITTED,
        remove_metadata_keys: Sequence[str] | Omitted = OMITTED,
        replace_metadata: bool = False,
        timeout: float | None = None,
    ) -> ContactMethod:
        """Change a contact method: an omitted argument is left alone, and None clears.

        Args:
            id: which one.
            type: the new type; clears the verification.
            value: the new value; clears the verification when its normalized form is another.
            label: the new label; None clears it.
            is_primary: True takes the flag from the one that has it; False leaves none.
            external_id: the new external id; None clears it.
            metadata: pairs to merge; None as a value removes its key.
            remove_metadata_keys: keys to remove.
            replace_metadata: whether `metadata` replaces all pairs instead.
            timeout: seconds.

        Raises:
            NotFoundError: there is no such contact method.
            ConflictError: the external id is taken, or others kept changing the same primary.
        """
        fields = {
            "type": type,
            "value": value,
            "label": label,
            "is_primary": is_primary,
            "external_id": external_id,
            "metadata": metadata,
            "remove_metadata_keys": remove_metadata_keys,
            "replace_metadata": replace_metadata,
        }
        return await self._client.call(operations.update(id, fields), timeout)

    async def delete(
        self,
        id: str,  # noqa: A002 - the SDK's name
        *,
        allow_missing: bool = False,
        on_primary: OnPrimary | None = None,
        timeout: float | None = None,
    ) -> DeleteResult:
        """Delete a contact method.

        Args:
            id: which one.
            allow_missing: whether one that does not exist counts as deleted.
            on_primary: when it is primary: None leaves none, "promote_next" promotes the next one, "reject" refuses.
            timeout: seconds.

        Raises:
            NotFoundError: there is no such contact method.
            ConflictError: it is primary, and `on_primary` is "reject".
        """
        operation = operations.delete(id, allow_missing=allow_missing, on_primary=on_primary)
        return await self._client.call(operation, timeout)

    async def get_primary(
        self,
        client_id: str,
        type: str,  # noqa: A002 - the SDK's name
        *,
        timeout: float | None = None,
    ) -> ContactMethod | None:
        """Return the primary contact method of a client and type, or None."""
        return await self._client.call(operations.get_primary(client_id, type), timeout)

    @overload
    async def create_many(
        self,
        items: Iterable[NewContactMethod | Mapping[str, Any]],
        *,
        atomic: Literal[True] = True,
        timeout: float | None = None,
    ) -> AtomicBatch: ...
    @overload
    async def create_many(
        self,
        items: Iterable[NewContactMethod | Mapping[str, Any]],
        *,
        atomic: Literal[False],
        timeout: float | None = None,
    ) -> PartialBatch: ...
    async def create_many(
        self,
        items: Iterable[NewContactMethod | Mapping[str, Any]],
        *,
        atomic: bool = True,
        timeout: float | None = None,
    ) -> AtomicBatch | PartialBatch:
        """Create up to 250 contact methods, as if one after the other.

        Args:
            items: the arguments of `create`, each as a dictionary.
            atomic: all or nothing; otherwise each item succeeds or fails alone.
            timeout: seconds.

        Raises:
            ValidationError: atomic, and items are wrong; `issues` names all of them, as in `requests[3].value`.
            ConflictError: atomic, and an external id is taken.
        """
        return await self._client.call(operations.create_many(items, atomic=atomic), timeout)
