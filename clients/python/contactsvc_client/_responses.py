"""Readers of responses: what each method returns, from the message that the service sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from contactsvc_stubs.v1 import contact_methods_pb2 as pb

from contactsvc_client._errors import from_batch_error
from contactsvc_client._records import (
    AtomicBatch,
    ContactMethod,
    DeleteResult,
    FoundMany,
    Page,
    Pagination,
    PartialBatch,
    SyncResult,
    from_proto,
)

T = TypeVar("T")


def record(response: Any) -> ContactMethod:
    """Read a response with one record."""
    return from_proto(response.contact_method)


def optional_record(response: pb.GetPrimaryContactMethodResponse) -> ContactMethod | None:
    """Read a response with one record or none."""
    return from_proto(response.contact_method) if response.HasField("contact_method") else None


def listed_page(response: pb.ListContactMethodsResponse) -> Page:
    """Read a page that may have the total count."""
    return _page(response, response.total_size if response.HasField("total_size") else None)


def page(response: pb.ListClientContactMethodsResponse | pb.StreamContactMethodsResponse) -> Page:
    """Read a page without a total count."""
    return _page(response, None)


def delete_result(response: pb.DeleteContactMethodResponse) -> DeleteResult:
    """Read the response to a delete."""
    return DeleteResult(response.promoted_id if response.HasField("promoted_id") else None)


def deleted_id(result: pb.BatchDeleteContactMethodsResult) -> str:
    """Read one result of a batch delete."""
    return result.deleted_id


def found_many(response: pb.BatchGetContactMethodsResponse) -> FoundMany:
    """Read the response to a batch get."""
    return FoundMany([from_proto(found) for found in response.contact_methods], list(response.missing_ids))


def sync_result(response: pb.SyncClientContactMethodsResponse) -> SyncResult:
    """Read the response to a sync."""
    return SyncResult(
        created=[from_proto(created) for created in response.created],
        updated=[from_proto(updated) for updated in response.updated],
        unchanged=[from_proto(unchanged) for unchanged in response.unchanged],
        deleted_ids=list(response.deleted_ids),
        demoted_ids=list(response.demoted_ids),
    )


def erased_count(response: pb.EraseClientContactMethodsResponse) -> int:
    """Read the response to an erasure."""
    return response.erased_count


def batch(atomic: bool, read: Callable[[Any], T]) -> Callable[[Any], AtomicBatch[T] | PartialBatch[T]]:
    """Return the reader of a batch response; `read` reads each successful result."""

    def read_atomic(response: Any) -> AtomicBatch[T]:
        for result in response.results:
            if result.HasField("error"):
                # A repeated request_id: the batch succeeded before, and this record has been deleted since.
                raise from_batch_error(result.error)
        return AtomicBatch([read(result) for result in response.results])

    def read_partial(response: Any) -> PartialBatch[T]:
        outcomes = list(enumerate(response.results))
        return PartialBatch(
            succeeded=[(index, read(result)) for index, result in outcomes if not result.HasField("error")],
            failed=[(index, from_batch_error(result.error)) for index, result in outcomes if result.HasField("error")],
        )

    return read_atomic if atomic else read_partial


def _page(
    response: pb.ListContactMethodsResponse | pb.ListClientContactMethodsResponse | pb.StreamContactMethodsResponse,
    total: int | None,
) -> Page:
    token = response.next_page_token
    return Page(
        [from_proto(found) for found in response.contact_methods], Pagination(bool(token), token or None, total)
    )
