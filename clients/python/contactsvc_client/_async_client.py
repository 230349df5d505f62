"""The asynchronous client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, Literal, TypeVar, overload

import grpc
import grpc.aio

from contactsvc.v1 import contact_methods_pb2_grpc as pb_grpc
from contactsvc_client import channels, operations
from contactsvc_client.errors import APIError, ConflictError, from_rpc_error
from contactsvc_client.filters import Filter, Sort
from contactsvc_client.operations import (
    OMITTED,
    ContactMethodUpdate,
    ContactMethodUpsert,
    NewContactMethod,
    Omitted,
    OnPrimary,
    Operation,
    SyncItem,
)
from contactsvc_client.records import (
    AtomicBatch,
    ContactMethod,
    DeleteResult,
    FoundMany,
    Page,
    PartialBatch,
    SyncResult,
    UpsertedContactMethod,
)

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
        self._options = channel_options
        # By whether writes are repeated as well: the channel, and the stub on it.
        self._channels: dict[bool, tuple[grpc.aio.Channel, Any]] = {}
        self._remembers_requests = True
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
        while self._channels:
            _, (channel, _) = self._channels.popitem()
            await channel.close()

    async def call(self, operation: Operation[T], timeout: float | None) -> T:
        """Make a call; raise what it ends with as an exception of this package.

        A write gets a request_id, so that it can be repeated while the service is unavailable without writing twice.
        """
        sent = operation.with_request_id() if self._remembers_requests else operation
        try:
            return await self._send(sent, timeout)
        except ConflictError as error:
            if sent is operation or error.reason != "TRANSACTIONS_UNSUPPORTED":
                raise
            # On a database without transactions a request_id is refused: from now on writes go without, and only once.
            self._remembers_requests = False
            return await self._send(operation, timeout)

    async def stream(self, operation: Operation[T], timeout: float | None) -> AsyncGenerator[T]:
        """Make a call that answers with a stream; raise what it ends with as an exception of this package."""
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
            metadata=[*self._headers, (channels.REQUEST_ID_HEADER, request_id)],
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


class AsyncContactMethods:
    """The operations on contact methods.

    Every method takes a `timeout` in seconds instead of the client's, and raises ValidationError for a bad argument and
    the classes of APIError for what the service or the network answers.

    Every write takes a `request_id`, a name for this one request: repeated with the same arguments within 24 hours it
    writes nothing again. Without one the client makes one, and keeps it when it repeats the call by itself. An `etag`
    is that of a record as you have seen it: when it has changed since, the write raises ConflictError (ETAG_MISMATCH).
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
        request_id: str | None = None,
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
            request_id: makes the call safe to repeat; the client makes one by itself.
            timeout: seconds.

        Raises:
            ConflictError: the external id is taken, or others kept changing the same primary.
        """
        operation = operations.create(
            request_id,
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
        filter: Filter | Mapping[str, Any] | None = None,  # noqa: A002 - the SDK's name
        *,
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
        """Yield all contact methods that match.

        What nobody touches meanwhile comes exactly once. The first page is fetched alone; what follows is streamed, as
        fast as it is consumed. When the stream breaks off, or takes longer than the timeout, it is taken up again where
        it stopped; an error is raised when nothing more arrives.

        Args:
            filter: which ones, as for `list`.
            sort: in which order, as for `list`.
            page_size: how many the first page has at most.
            timeout: seconds within which at least one page must arrive.
        """
        page = await self.list(filter=filter, sort=sort, limit=page_size, timeout=timeout)
        for contact_method in page.data:
            yield contact_method
        cursor = page.pagination.next_cursor
        while cursor is not None:
            start = cursor
            try:
                async with aclosing(self._client.stream(operations.stream(filter, sort, cursor), timeout)) as pages:
                    async for page in pages:
                        for contact_method in page.data:
                            yield contact_method
                        cursor = page.pagination.next_cursor
                return
            except APIError as error:
                if cursor is None:
                    return
                if error.code not in {"UNAVAILABLE", "DEADLINE_EXCEEDED"} or cursor == start:
                    raise

    async def update(
        self,
        id: str,  # noqa: A002 - the SDK's name
        *,
        type: str | Omitted = OMITTED,  # noqa: A002 - the SDK's name
        value: str | Omitted = OMITTED,
        label: str | Omitted | None = OMITTED,
        is_primary: bool | Omitted = OMITTED,
        external_id: str | Omitted | None = OMITTED,
        metadata: Mapping[str, str | None] | Omitted | None = OMITTED,
        remove_metadata_keys: Sequence[str] | Omitted = OMITTED,
        replace_metadata: bool = False,
        etag: str | None = None,
        request_id: str | None = None,
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
            metadata: pairs to merge; None as a value removes its key, and None alone removes all pairs.
            remove_metadata_keys: keys to remove.
            replace_metadata: whether `metadata` replaces all pairs instead.
            etag: that of the record as you have seen it; None takes any.
            request_id: makes the call safe to repeat; the client makes one by itself.
            timeout: seconds.

        Raises:
            NotFoundError: there is no such contact method.
            ConflictError: the external id is taken, the etag differs, or others kept changing the same primary.
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
            "etag": etag,
        }
        return await self._client.call(operations.update(id, request_id, fields), timeout)

    async def delete(
        self,
        id: str,  # noqa: A002 - the SDK's name
        *,
        allow_missing: bool = False,
        on_primary: OnPrimary | None = None,
        etag: str | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> DeleteResult:
        """Delete a contact method.

        Args:
            id: which one.
            allow_missing: whether one that does not exist counts as deleted.
            on_primary: when it is primary: None leaves none, "promote_next" promotes the next one, "reject" refuses.
            etag: that of the record as you have seen it; None takes any.
            request_id: makes the call safe to repeat; the client makes one by itself.
            timeout: seconds.

        Raises:
            NotFoundError: there is no such contact method.
            ConflictError: it is primary, and `on_primary` is "reject"; or the etag differs.
        """
        operation = operations.delete(
            id, allow_missing=allow_missing, on_primary=on_primary, etag=etag, request_id=request_id
        )
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
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> AtomicBatch[ContactMethod]: ...
    @overload
    async def create_many(
        self,
        items: Iterable[NewContactMethod | Mapping[str, Any]],
        *,
        atomic: Literal[False],
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> PartialBatch[ContactMethod]: ...
    async def create_many(
        self,
        items: Iterable[NewContactMethod | Mapping[str, Any]],
        *,
        atomic: bool = True,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> AtomicBatch[ContactMethod] | PartialBatch[ContactMethod]:
        """Create up to 250 contact methods, as if one after the other.

        Args:
            items: the arguments of `create`, each as a dictionary.
            atomic: all or nothing; otherwise each item succeeds or fails alone.
            request_id: makes the call safe to repeat; the client makes one by itself.
            timeout: seconds.

        Raises:
            ValidationError: atomic, and items are wrong; `issues` names all of them, as in `requests[3].value`.
            ConflictError: atomic, and an external id is taken.
        """
        return await self._client.call(operations.create_many(items, atomic=atomic, request_id=request_id), timeout)

    @overload
    async def update_many(
        self,
        items: Iterable[ContactMethodUpdate | Mapping[str, Any]],
        *,
        atomic: Literal[True] = True,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> AtomicBatch[ContactMethod]: ...
    @overload
    async def update_many(
        self,
        items: Iterable[ContactMethodUpdate | Mapping[str, Any]],
        *,
        atomic: Literal[False],
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> PartialBatch[ContactMethod]: ...
    async def update_many(
        self,
        items: Iterable[ContactMethodUpdate | Mapping[str, Any]],
        *,
        atomic: bool = True,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> AtomicBatch[ContactMethod] | PartialBatch[ContactMethod]:
        """Change up to 250 contact methods, as if one after the other.

        Args:
            items: the arguments of `update`, each as a dictionary with its `id`.
            atomic: all or nothing; otherwise each item succeeds or fails alone.
            request_id: makes the call safe to repeat; the client makes one by itself.
            timeout: seconds.

        Raises:
            ValidationError: atomic, and items are wrong; `issues` names all of them, as in `requests[3].value`.
            NotFoundError: atomic, and a contact method does not exist.
            ConflictError: atomic, and an external id is taken or an etag differs.
        """
        return await self._client.call(operations.update_many(items, atomic=atomic, request_id=request_id), timeout)

    @overload
    async def delete_many(
        self,
        ids: Iterable[str],
        *,
        atomic: Literal[True] = True,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> AtomicBatch[str]: ...
    @overload
    async def delete_many(
        self,
        ids: Iterable[str],
        *,
        atomic: Literal[False],
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> PartialBatch[str]: ...
    async def delete_many(
        self,
        ids: Iterable[str],
        *,
        atomic: bool = True,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> AtomicBatch[str] | PartialBatch[str]:
        """Delete up to 250 contact methods; what comes back are their ids.

        Args:
            ids: which ones.
            atomic: all or nothing; otherwise each item succeeds or fails alone.
            request_id: makes the call safe to repeat; the client makes one by itself.
            timeout: seconds.

        Raises:
            NotFoundError: atomic, and a contact method does not exist.
        """
        return await self._client.call(operations.delete_many(ids, atomic=atomic, request_id=request_id), timeout)

    async def retrieve_many(self, ids: Iterable[str], *, timeout: float | None = None) -> FoundMany:
        """Return up to 250 contact methods by their ids, and the ids that do not exist."""
        return await self._client.call(operations.retrieve_many(ids), timeout)

    async def upsert_by_external_id(
        self,
        external_id: str,
        *,
        client_id: str,
        type: str,  # noqa: A002 - the SDK's name
        value: str,
        label: str | Omitted | None = OMITTED,
        is_primary: bool | Omitted = OMITTED,
        metadata: Mapping[str, str | None] | Omitted = OMITTED,
        etag: str | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> UpsertedContactMethod:
        """Create the contact method with your own identifier, or change the one that has it.

        On one that exists an omitted argument is left alone, and None clears. When nothing would change nothing is
        written; `action` of the result says what was done.

        Args:
            external_id: your own identifier, 1-255 characters.
            client_id: the client it belongs to; one that exists must be this client's.
            type: "email", "phone", "fax" or "other".
            value: the address or number.
            label: what people call it.
            is_primary: True takes the flag from the one that has it; False leaves none.
            metadata: pairs to merge; None as a value removes its key.
            etag: that of the record as you have seen it, which then must exist; None takes any or none.
            request_id: makes the call safe to repeat; the client makes one by itself.
            timeout: seconds.

        Raises:
            ConflictError: another client's record has the external id, the etag differs, or others kept changing the
                same primary.
        """
        fields = {
            "external_id": external_id,
            "client_id": client_id,
            "type": type,
            "value": value,
            "label": label,
            "is_primary": is_primary,
            "metadata": metadata,
            "etag": etag,
        }
        return await self._client.call(operations.upsert(request_id, fields), timeout)

    @overload
    async def upsert_many_by_external_id(
        self,
        items: Iterable[ContactMethodUpsert | Mapping[str, Any]],
        *,
        atomic: Literal[True] = True,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> AtomicBatch[UpsertedContactMethod]: ...
    @overload
    async def upsert_many_by_external_id(
        self,
        items: Iterable[ContactMethodUpsert | Mapping[str, Any]],
        *,
        atomic: Literal[False],
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> PartialBatch[UpsertedContactMethod]: ...
    async def upsert_many_by_external_id(
        self,
        items: Iterable[ContactMethodUpsert | Mapping[str, Any]],
        *,
        atomic: bool = True,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> AtomicBatch[UpsertedContactMethod] | PartialBatch[UpsertedContactMethod]:
        """Upsert up to 250 contact methods, as if one after the other.

        Args:
            items: the arguments of `upsert_by_external_id`, each as a dictionary.
            atomic: all or nothing; otherwise each item succeeds or fails alone.
            request_id: makes the call safe to repeat; the client makes one by itself.
            timeout: seconds.

        Raises:
            ValidationError: atomic, and items are wrong; `issues` names all of them, as in `requests[3].value`.
            ConflictError: atomic, and another client's record has an external id, or an etag differs.
        """
        return await self._client.call(operations.upsert_many(items, atomic=atomic, request_id=request_id), timeout)

    async def sync(
        self,
        client_id: str,
        items: Iterable[SyncItem | Mapping[str, Any]],
        *,
        replace: bool = False,
        allow_empty_replace: bool = False,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> SyncResult:
        """Make the contact methods of a client what a list says, all or nothing.

        Each item means the record with its `id`, else the one with its `external_id`, else one with its type and value;
        an item that means none becomes a new record. The same sync again changes nothing.

        Args:
            client_id: the client.
            items: up to 250 dictionaries; `delete` in one removes its record.
            replace: whether the client's other records are deleted.
            allow_empty_replace: must be set to delete everything with `replace` and no items.
            request_id: makes the call safe to repeat; the client makes one by itself.
            timeout: seconds.

        Raises:
            ValidationError: items are wrong; `issues` names all of them, as in `items[3].value`.
            NotFoundError: an item names a record that does not exist, or is another client's.
            ConflictError: an external id is taken, an etag differs, or others kept changing the same primary.
        """
        operation = operations.sync(
            client_id, items, replace=replace, allow_empty_replace=allow_empty_replace, request_id=request_id
        )
        return await self._client.call(operation, timeout)

    async def erase_client(self, client_id: str, *, request_id: str | None = None, timeout: float | None = None) -> int:
        """Delete all contact methods of a client, for the right to erasure; return how many there were."""
        return await self._client.call(operations.erase_client(client_id, request_id), timeout)
