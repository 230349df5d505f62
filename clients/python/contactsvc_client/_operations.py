"""Operations: the request of each method and the reader of its response, shared by both clients."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, TypeVar

from contactsvc_stubs.v1 import contact_methods_pb2 as pb

from contactsvc_client import _responses
from contactsvc_client._errors import ContactsError, invalid
from contactsvc_client._filters import Filter, Sort, filter_message, sort_messages
from contactsvc_client._items import (
    ContactMethodUpdate,
    ContactMethodUpsert,
    NewContactMethod,
    SyncItem,
    change_message,
    create_message,
    id_list,
    item_list,
    item_message,
    new_item_message,
)
from contactsvc_client._messages import message, type_number
from contactsvc_client._records import (
    AnyContactMethodType,
    AtomicBatch,
    ContactMethod,
    DeleteResult,
    FoundMany,
    Page,
    PartialBatch,
    SyncResult,
    UpsertedContactMethod,
    WrittenContactMethod,
    upserted_from_proto,
    written_from_proto,
)

T = TypeVar("T")
OnPrimary = Literal["promote_next", "reject"]

_POLICIES = {
    None: pb.PRIMARY_DELETE_POLICY_UNSPECIFIED,
    "promote_next": pb.PRIMARY_DELETE_POLICY_PROMOTE_NEXT,
    "reject": pb.PRIMARY_DELETE_POLICY_REJECT,
}


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """One call of an RPC.

    Attributes:
        rpc: the name of the RPC.
        request: the message to send; kept out of the repr, since it holds contact values.
        read: converts the response.
    """

    rpc: str
    request: Any = field(repr=False)
    read: Callable[[Any], T]

    @property
    def may_be_repeated(self) -> bool:
        """Whether sending it again is safe: it is a read, or a write with a request_id."""
        return not self._writes or bool(self.request.request_id)

    def with_request_id(self) -> Operation[T]:
        """Return the operation with a generated request_id, or itself if it needs none."""
        if self.may_be_repeated:
            return self
        request = type(self.request)()
        request.CopyFrom(self.request)
        request.request_id = uuid.uuid4().hex
        return replace(self, request=request)

    def outcome(self, response: Any, request_id: str) -> T:
        """Return the converted response; errors in it get the request id of the call."""
        try:
            found = self.read(response)
        except ContactsError as error:
            error.request_id = request_id
            raise
        if isinstance(found, PartialBatch):
            for _, failure in found.failed:
                failure.request_id = request_id
        return found

    @property
    def _writes(self) -> bool:
        return "request_id" in self.request.DESCRIPTOR.fields_by_name


def create(request_id: str | None, **fields: Any) -> Operation[WrittenContactMethod]:
    """Create one record."""
    request = create_message("", {**fields, "request_id": request_id})
    return Operation("CreateContactMethod", request, written_from_proto)


def retrieve(id_: str) -> Operation[ContactMethod]:
    """Get a record by its id."""
    return Operation("GetContactMethod", message(pb.GetContactMethodRequest, "", {"id": id_}), _responses.record)


def retrieve_by_external_id(external_id: str) -> Operation[ContactMethod]:
    """Get a record by its external id."""
    request = message(pb.GetContactMethodByExternalIdRequest, "", {"external_id": external_id})
    return Operation("GetContactMethodByExternalId", request, _responses.record)


def retrieve_by_metadata(key: str, value: str, client_id: str | None) -> Operation[ContactMethod]:
    """Get the record with a metadata pair."""
    request = message(pb.GetContactMethodByMetadataRequest, "", {"key": key, "value": value, "client_id": client_id})
    return Operation("GetContactMethodByMetadata", request, _responses.record)


def list_page(
    filter_: Filter | None,
    sort: Sort | None,
    cursor: str | None,
    offset: int | None,
    limit: int | None,
    *,
    include_total_count: bool,
) -> Operation[Page]:
    """Get one page."""
    request = message(
        pb.ListContactMethodsRequest,
        "",
        {
            "filter": filter_message(filter_),
            "sort": sort_messages(sort),
            "page_token": cursor,
            "offset": offset,
            "page_size": _limit(limit),
            "include_total_size": include_total_count,
        },
    )
    return Operation("ListContactMethods", request, _responses.listed_page)


def list_by_client(
    client_id: str, type_: AnyContactMethodType | None, cursor: str | None, limit: int | None
) -> Operation[Page]:
    """Get one page of a client's records."""
    request = message(
        pb.ListClientContactMethodsRequest,
        "",
        {
            "client_id": client_id,
            "type": None if type_ is None else type_number("type", type_),
            "page_token": cursor,
            "page_size": _limit(limit),
        },
    )
    return Operation("ListClientContactMethods", request, _responses.page)


def retrieve_many(ids: Iterable[str]) -> Operation[FoundMany]:
    """Get several records by their ids."""
    request = message(pb.BatchGetContactMethodsRequest, "", {"ids": id_list(ids)})
    return Operation("BatchGetContactMethods", request, _responses.found_many)


def stream(filter_: Filter | None, sort: Sort | None, cursor: str) -> Operation[Page]:
    """Get all pages after a cursor."""
    fields = {"filter": filter_message(filter_), "sort": sort_messages(sort), "page_token": cursor}
    request = message(pb.StreamContactMethodsRequest, "", fields)
    return Operation("StreamContactMethods", request, _responses.page)


def update(id_: str, request_id: str | None, fields: Mapping[str, Any]) -> Operation[WrittenContactMethod]:
    """Update a record. Omitted fields are left unchanged, and None clears."""
    request = change_message(pb.UpdateContactMethodRequest, "", {"id": id_, "request_id": request_id, **fields})
    return Operation("UpdateContactMethod", request, written_from_proto)


def delete(
    id_: str, *, allow_missing: bool, on_primary: OnPrimary | None, etag: str | None, request_id: str | None
) -> Operation[DeleteResult]:
    """Delete a record."""
    if on_primary is not None and (not isinstance(on_primary, str) or on_primary not in _POLICIES):
        raise invalid("on_primary", "must be promote_next, reject or None")
    request = message(
        pb.DeleteContactMethodRequest,
        "",
        {
            "id": id_,
            "allow_missing": allow_missing,
            "on_primary": _POLICIES[on_primary],
            "etag": etag,
            "request_id": request_id,
        },
    )
    return Operation("DeleteContactMethod", request, _responses.delete_result)


def upsert(request_id: str | None, fields: Mapping[str, Any]) -> Operation[UpsertedContactMethod]:
    """Create or update the record with an external id."""
    request = change_message(pb.UpsertContactMethodRequest, "", {"request_id": request_id, **fields})
    return Operation("UpsertContactMethod", request, upserted_from_proto)


def sync(
    client_id: str,
    items: Iterable[SyncItem],
    *,
    replace: bool,
    allow_empty_replace: bool,
    request_id: str | None,
) -> Operation[SyncResult]:
    """Make the records of a client match a list."""
    request = message(
        pb.SyncClientContactMethodsRequest,
        "",
        {
            "client_id": client_id,
            "items": [
                item_message(pb.SyncItem, f"items[{index}]", SyncItem, item)
                for index, item in enumerate(item_list("items", items))
            ],
            "replace": replace,
            "allow_empty_replace": allow_empty_replace,
            "request_id": request_id,
        },
    )
    return Operation("SyncClientContactMethods", request, _responses.sync_result)


def erase_client(client_id: str, request_id: str | None) -> Operation[int]:
    """Delete all records of a client."""
    request = message(pb.EraseClientContactMethodsRequest, "", {"client_id": client_id, "request_id": request_id})
    return Operation("EraseClientContactMethods", request, _responses.erased_count)


def get_primary(client_id: str, type_: AnyContactMethodType) -> Operation[ContactMethod | None]:
    """Get the primary of a client and type."""
    request = message(
        pb.GetPrimaryContactMethodRequest, "", {"client_id": client_id, "type": type_number("type", type_)}
    )
    return Operation("GetPrimaryContactMethod", request, _responses.optional_record)


def create_many(
    items: Iterable[NewContactMethod], *, atomic: bool, request_id: str | None
) -> Operation[AtomicBatch[WrittenContactMethod] | PartialBatch[WrittenContactMethod]]:
    """Create several records."""
    requests = [new_item_message(f"requests[{index}]", item) for index, item in enumerate(item_list("requests", items))]
    request = message(
        pb.BatchCreateContactMethodsRequest,
        "",
        {"requests": requests, "partial": not atomic, "request_id": request_id},
    )
    return Operation("BatchCreateContactMethods", request, _responses.batch(atomic, written_from_proto))


def update_many(
    items: Iterable[ContactMethodUpdate], *, atomic: bool, request_id: str | None
) -> Operation[AtomicBatch[WrittenContactMethod] | PartialBatch[WrittenContactMethod]]:
    """Update several records."""
    requests = [
        item_message(pb.UpdateContactMethodRequest, f"requests[{index}]", ContactMethodUpdate, item)
        for index, item in enumerate(item_list("requests", items))
    ]
    request = message(
        pb.BatchUpdateContactMethodsRequest,
        "",
        {"requests": requests, "partial": not atomic, "request_id": request_id},
    )
    return Operation("BatchUpdateContactMethods", request, _responses.batch(atomic, written_from_proto))


def delete_many(
    ids: Iterable[str], *, atomic: bool, request_id: str | None
) -> Operation[AtomicBatch[str] | PartialBatch[str]]:
    """Delete several records."""
    request = message(
        pb.BatchDeleteContactMethodsRequest, "", {"ids": id_list(ids), "partial": not atomic, "request_id": request_id}
    )
    return Operation("BatchDeleteContactMethods", request, _responses.batch(atomic, _responses.deleted_id))


def upsert_many(
    items: Iterable[ContactMethodUpsert], *, atomic: bool, request_id: str | None
) -> Operation[AtomicBatch[UpsertedContactMethod] | PartialBatch[UpsertedContactMethod]]:
    """Create or update the records with several external ids."""
    requests = [
        item_message(pb.UpsertContactMethodRequest, f"requests[{index}]", ContactMethodUpsert, item)
        for index, item in enumerate(item_list("requests", items))
    ]
    request = message(
        pb.BatchUpsertContactMethodsRequest,
        "",
        {"requests": requests, "partial": not atomic, "request_id": request_id},
    )
    return Operation("BatchUpsertContactMethods", request, _responses.batch(atomic, upserted_from_proto))


def _limit(limit: int | None) -> int | None:
    if limit == 0:
        # The service reads 0 as its default.
        raise invalid("limit", "must be at least 1; omit it for the default")
    return limit
