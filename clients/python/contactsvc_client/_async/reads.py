"""The reads of the asynchronous client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing

from contactsvc_client import _operations
from contactsvc_client._async.connection import AsyncConnection
from contactsvc_client._errors import APIError
from contactsvc_client._filters import Filter, Sort
from contactsvc_client._records import AnyContactMethodType, ContactMethod, FoundMany, Page


class AsyncReads:
    """Methods that read contact methods."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def retrieve(self, id: str, *, timeout: float | None = None) -> ContactMethod:  # noqa: A002 - the SDK's name
        """Return the contact method with an id; raise NotFoundError if there is none."""
        return await self._connection.call(_operations.retrieve(id), timeout)

    async def retrieve_by_external_id(self, external_id: str, *, timeout: float | None = None) -> ContactMethod:
        """Return the contact method with an external id; raise NotFoundError if there is none."""
        return await self._connection.call(_operations.retrieve_by_external_id(external_id), timeout)

    async def retrieve_by_metadata(
        self, key: str, value: str, *, client_id: str | None = None, timeout: float | None = None
    ) -> ContactMethod:
        """Return the only contact method with a metadata pair, optionally among those of one client.

        Raises:
            NotFoundError: no contact method has the pair.
            ConflictError: several have it (reason METADATA_AMBIGUOUS).
        """
        return await self._connection.call(_operations.retrieve_by_metadata(key, value, client_id), timeout)

    async def retrieve_many(self, ids: Iterable[str], *, timeout: float | None = None) -> FoundMany:
        """Return up to 250 contact methods by id, and the ids that do not exist."""
        return await self._connection.call(_operations.retrieve_many(ids), timeout)

    async def get_primary(
        self,
        client_id: str,
        type: AnyContactMethodType,  # noqa: A002 - the SDK's name
        *,
        timeout: float | None = None,
    ) -> ContactMethod | None:
        """Return the primary contact method of a client and type, or None if there is none."""
        return await self._connection.call(_operations.get_primary(client_id, type), timeout)

    async def list_by_client(
        self,
        client_id: str,
        *,
        type: AnyContactMethodType | None = None,  # noqa: A002 - the SDK's name
        cursor: str | None = None,
        limit: int | None = None,
        timeout: float | None = None,
    ) -> Page:
        """Return one page of a client's contact methods, oldest first, optionally of one type."""
        return await self._connection.call(_operations.list_by_client(client_id, type, cursor, limit), timeout)

    async def iterate(
        self,
        filter: Filter | None = None,  # noqa: A002 - the SDK's name
        *,
        sort: Sort | None = None,
        page_size: int = 200,
        timeout: float | None = None,
    ) -> AsyncIterator[ContactMethod]:
        """Yield all contact methods that match.

        Each record that is not written during the iteration is yielded exactly once. The first page is a single call;
        the rest is streamed, no faster than it is consumed. A stream that breaks, or outlasts the timeout, is resumed
        after the last page received.

        Args:
            filter: as for `list`.
            sort: as for `list`.
            page_size: the maximum size of the first page.
            timeout: seconds of each stream, within which at least one page must arrive.

        Raises:
            APIError: the service is unavailable or too slow, and no page has arrived since the last attempt.
        """
        page = await self.list(filter=filter, sort=sort, limit=page_size, timeout=timeout)
        for contact_method in page.data:
            yield contact_method
        cursor = page.pagination.next_cursor
        while cursor is not None:
            start = cursor
            try:
                async with aclosing(
                    self._connection.stream(_operations.stream(filter, sort, cursor), timeout)
                ) as pages:
                    async for page in pages:
                        for contact_method in page.data:
                            yield contact_method
                        cursor = page.pagination.next_cursor
                return
            except APIError as error:
                if cursor is None:
                    return
                is_resumable = error.code in {"UNAVAILABLE", "DEADLINE_EXCEEDED"} or error.reason == "OVERLOADED"
                if not is_resumable or cursor == start:
                    raise

    async def list(
        self,
        filter: Filter | None = None,  # noqa: A002 - the SDK's name
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
            filter: conditions, such as `{"client_id": "c1", "type": one_of("email", "phone")}`; None matches all.
            sort: "created_at" (the default) or "updated_at"; a leading "-" sorts latest first.
            cursor: `pagination.next_cursor` of the previous page; valid only with the same filter and sort.
            offset: how many records to skip, for numbered pages; not together with a cursor.
            limit: the maximum page size, 1-200; None means 20.
            include_total_count: whether to count all matching records.
            timeout: seconds, instead of the timeout of the client.
        """
        operation = _operations.list_page(filter, sort, cursor, offset, limit, include_total_count=include_total_count)
        return await self._connection.call(operation, timeout)
