"""Each method as a request and a reading of the response: what the two clients share."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Generic, Literal, Required, TypedDict, TypeVar

from contactsvc.v1 import contact_methods_pb2 as pb
from contactsvc_client.errors import ContactsError, ValidationError, from_batch_error
from contactsvc_client.filters import Filter, Sort, filter_message, invalid, message, sort_messages, type_number
from contactsvc_client.records import (
    AtomicBatch,
    ContactMethod,
    DeleteResult,
    FoundMany,
    Page,
    Pagination,
    PartialBatch,
    SyncResult,
    UpsertedContactMethod,
    from_proto,
    upserted_from_proto,
)

T = TypeVar("T")


class Omitted:
    """The type of `OMITTED`, which tells an omitted argument from None."""

    def __repr__(self) -> str:
        return "OMITTED"


OMITTED: Final = Omitted()

OnPrimary = Literal["promote_next", "reject"]

_POLICIES = {
    None: pb.PRIMARY_DELETE_POLICY_UNSPECIFIED,
    "promote_next": pb.PRIMARY_DELETE_POLICY_PROMOTE_NEXT,
    "reject": pb.PRIMARY_DELETE_POLICY_REJECT,
}


class NewContactMethod(TypedDict, total=False):
    """An item of `create_many`: the arguments of `create`."""

    client_id: Required[str]
    type: Required[str]
    value: Required[str]
    label: str | None
    is_primary: bool
    external_id: str | None
    metadata: Mapping[str, str] | None


class ContactMethodUpdate(TypedDict, total=False):
    """An item of `update_many`: the arguments of `update`. What is not there is left alone, and None clears."""

    id: Required[str]
    type: str
    value: str
    label: str | None
    is_primary: bool
    external_id: str | None
    metadata: Mapping[str, str | None] | None
    remove_metadata_keys: Sequence[str]
    replace_metadata: bool
    etag: str | None


class ContactMethodUpsert(TypedDict, total=False):
    """An item of `upsert_many_by_external_id`. What is not there is left alone on a record that exists."""

    external_id: Required[str]
    client_id: Required[str]
    type: Required[str]
    value: Required[str]
    label: str | None
    is_primary: bool
    metadata: Mapping[str, str | None]
    etag: str | None


class SyncItem(TypedDict, total=False):
    """An item of `sync`. What is not there is left alone on a record that exists.

    `type` and `value` are required, unless `delete` comes with an id or external id.
    """

    id: str
    external_id: str | None
    type: str
    value: str
    label: str | None
    is_primary: bool
    metadata: Mapping[str, str | None]
    etag: str | None
    delete: bool


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """A call: which RPC, with what (not in its repr, since it holds contact values), and how to read its response."""

    rpc: str
    request: Any = field(repr=False)
    read: Callable[[Any], T]

    @property
    def may_be_repeated(self) -> bool:
        """Whether the service does it once, however often it is sent: a read, or a write with a request_id."""
        return not self._writes or bool(self.request.request_id)

    def with_request_id(self) -> Operation[T]:
        """Return the operation with a request_id of its own, or itself if it needs none."""
        if self.may_be_repeated:
            return self
        request = type(self.request)()
        request.CopyFrom(self.request)
        request.request_id = uuid.uuid4().hex
        return replace(self, request=request)

    def outcome(self, response: Any, request_id: str) -> T:
        """Return what the response of a call says; the errors in it belong to the call with this request id."""
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


def create(request_id: str | None, **fields: Any) -> Operation[ContactMethod]:
    """Create one record."""
    request = _create_request("", {**fields, "request_id": request_id})
    return Operation("CreateContactMethod", request, _record)


def retrieve(id_: str) -> Operation[ContactMethod]:
    """Get a record by its id."""
    return Operation("GetContactMethod", message(pb.GetContactMethodRequest, "", {"id": id_}), _record)


def retrieve_by_external_id(external_id: str) -> Operation[ContactMethod]:
    """Get a record by its external id."""
    request = message(pb.GetContactMethodByExternalIdRequest, "", {"external_id": external_id})
    return Operation("GetContactMethodByExternalId", request, _record)


def retrieve_by_metadata(key: str, value: str, client_id: str | None) -> Operation[ContactMethod]:
    """Get the record that carries a pair."""
    request = message(pb.GetContactMethodByMetadataRequest, "", {"key": key, "value": value, "client_id": client_id})
    return Operation("GetContactMethodByMetadata", request, _record)


def list_page(
    filter_: Filter | Mapping[str, Any] | None,
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
    return Operation("ListContactMethods", request, _page)


def list_by_client(client_id: str, type_: str | None, cursor: str | None, limit: int | None) -> Operation[Page]:
    """Get one page of a client."""
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
    return Operation("ListClientContactMethods", request, _client_page)


def retrieve_many(ids: Iterable[str]) -> Operation[FoundMany]:
    """Get several records by their ids."""
    request = message(pb.BatchGetContactMethodsRequest, "", {"ids": _ids(ids)})
    return Operation("BatchGetContactMethods", request, _found_many)


def stream(filter_: Filter | Mapping[str, Any] | None, sort: Sort | None, cursor: str) -> Operation[Page]:
    """Get all pages after a position."""
    fields = {"filter": filter_message(filter_), "sort": sort_messages(sort), "page_token": cursor}
    request = message(pb.StreamContactMethodsRequest, "", fields)
    return Operation("StreamContactMethods", request, lambda response: _page_of(response, None))


def update(id_: str, request_id: str | None, fields: Mapping[str, Any]) -> Operation[ContactMethod]:
    """Change a record: omitted fields are left alone, None clears."""
    request = _request(pb.UpdateContactMethodRequest, "", {"id": id_, "request_id": request_id, **fields})
    return Operation("UpdateContactMethod", request, _record)


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
    return Operation(
        "DeleteContactMethod",
        request,
        lambda response: DeleteResult(response.promoted_id if response.HasField("promoted_id") else None),
    )


def upsert(request_id: str | None, fields: Mapping[str, Any]) -> Operation[UpsertedContactMethod]:
    """Create or change the record with an external id."""
    request = _request(pb.UpsertContactMethodRequest, "", {"request_id": request_id, **fields})
    return Operation("UpsertContactMethod", request, upserted_from_proto)


def sync(
    client_id: str,
    items: Iterable[SyncItem | Mapping[str, Any]],
    *,
    replace: bool,
    allow_empty_replace: bool,
    request_id: str | None,
) -> Operation[SyncResult]:
    """Make the records of a client what a list says."""
    request = message(
        pb.SyncClientContactMethodsRequest,
        "",
        {
            "client_id": client_id,
            "items": [
                _item(pb.SyncItem, f"items[{index}]", SyncItem, item)
                for index, item in enumerate(_items("items", items))
            ],
            "replace": replace,
            "allow_empty_replace": allow_empty_replace,
            "request_id": request_id,
        },
    )
    return Operation("SyncClientContactMethods", request, _sync_result)


def erase_client(client_id: str, request_id: str | None) -> Operation[int]:
    """Delete all records of a client."""
    request = message(pb.EraseClientContactMethodsRequest, "", {"client_id": client_id, "request_id": request_id})
    return Operation("EraseClientContactMethods", request, lambda response: int(response.erased_count))


def get_primary(client_id: str, type_: str) -> Operation[ContactMethod | None]:
    """Get the primary of a client and type."""
    request = message(
        pb.GetPrimaryContactMethodRequest, "", {"client_id": client_id, "type": type_number("type", type_)}
    )
    return Operation(
        "GetPrimaryContactMethod",
        request,
        lambda response: from_proto(response.contact_method) if response.HasField("contact_method") else None,
    )


def create_many(
    items: Iterable[NewContactMethod | Mapping[str, Any]], *, atomic: bool, request_id: str | None
) -> Operation[AtomicBatch[ContactMethod] | PartialBatch[ContactMethod]]:
    """Create several records."""
    requests = [_new(f"requests[{index}]", item) for index, item in enumerate(_items("requests", items))]
    request = message(
        pb.BatchCreateContactMethodsRequest,
        "",
        {"requests": requests, "partial": not atomic, "request_id": request_id},
    )
    return Operation("BatchCreateContactMethods", request, _batch(atomic, _record))


def update_many(
    items: Iterable[ContactMethodUpdate | Mapping[str, Any]], *, atomic: bool, request_id: str | None
) -> Operation[AtomicBatch[ContactMethod] | PartialBatch[ContactMethod]]:
    """Change several records."""
    requests = [
        _item(pb.UpdateContactMethodRequest, f"requests[{index}]", ContactMethodUpdate, item)
        for index, item in enumerate(_items("requests", items))
    ]
    request = message(
        pb.BatchUpdateContactMethodsRequest,
        "",
        {"requests": requests, "partial": not atomic, "request_id": request_id},
    )
    return Operation("BatchUpdateContactMethods", request, _batch(atomic, _record))


def delete_many(
    ids: Iterable[str], *, atomic: bool, request_id: str | None
) -> Operation[AtomicBatch[str] | PartialBatch[str]]:
    """Delete several records."""
    request = message(
        pb.BatchDeleteContactMethodsRequest, "", {"ids": _ids(ids), "partial": not atomic, "request_id": request_id}
    )
    return Operation("BatchDeleteContactMethods", request, _batch(atomic, lambda result: str(result.deleted_id)))


def upsert_many(
    items: Iterable[ContactMethodUpsert | Mapping[str, Any]], *, atomic: bool, request_id: str | None
) -> Operation[AtomicBatch[UpsertedContactMethod] | PartialBatch[UpsertedContactMethod]]:
    """Create or change the records with several external ids."""
    requests = [
        _item(pb.UpsertContactMethodRequest, f"requests[{index}]", ContactMethodUpsert, item)
        for index, item in enumerate(_items("requests", items))
    ]
    request = message(
        pb.BatchUpsertContactMethodsRequest,
        "",
        {"requests": requests, "partial": not atomic, "request_id": request_id},
    )
    return Operation("BatchUpsertContactMethods", request, _batch(atomic, upserted_from_proto))


def _item(kind: Any, where: str, known: Any, fields: Mapping[str, Any]) -> Any:
    """Return the message of an item that came as a dictionary."""
    _refuse_unknown(where, known, fields)
    return _request(kind, where, fields)


def _new(where: str, fields: Mapping[str, Any]) -> pb.CreateContactMethodRequest:
    _refuse_unknown(where, NewContactMethod, fields)
    return _create_request(where, fields)


def _create_request(where: str, fields: Mapping[str, Any]) -> pb.CreateContactMethodRequest:
    """Return a message in which what is None is absent."""
    sent = {**fields, "type": _type(where, fields.get("type"))}
    request: pb.CreateContactMethodRequest = message(pb.CreateContactMethodRequest, where, sent)
    return request


def _refuse_unknown(where: str, known: Any, fields: Mapping[str, Any]) -> None:
    """Raise ValidationError for fields that an item does not have: there is no way to send them."""
    if not isinstance(fields, Mapping):
        raise invalid(where, "must be a dictionary")
    for name in fields:
        if name not in known.__annotations__:
            raise invalid(_path(where, name), "is no field of this item")


def _request(kind: Any, where: str, fields: Mapping[str, Any]) -> Any:
    """Return a message in which omitted fields are absent, and None clears."""
    if kind is pb.UpdateContactMethodRequest and fields.get("metadata", OMITTED) is None:
        fields = {**fields, "metadata": {}, "replace_metadata": True}
    sent: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, Omitted):
            continue
        if name in {"label", "external_id", "etag", "request_id"}:
            sent[name] = "" if value is None else value
        elif value is None:
            raise invalid(_path(where, name), "cannot be cleared; omit it to leave it alone")
        elif name == "type":
            sent[name] = _type(where, value)
        elif name == "metadata":
            if not isinstance(value, Mapping):
                raise invalid(_path(where, name), "must be a dictionary")
            sent[name] = {key: "" if pair is None else pair for key, pair in value.items()}
        else:
            sent[name] = value
    return message(kind, where, sent)


def _type(where: str, type_: Any) -> Any:
    """Return the number of a type.

    In a batch a wrong one is left to the service, as is what is missing: it names all that is wrong at once, and one
    item of a partial batch must not keep the others from being sent.
    """
    try:
        return type_number("type", type_)
    except ValidationError:
        if where:
            return pb.CONTACT_METHOD_TYPE_UNSPECIFIED
        raise


def _path(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _ids(ids: Iterable[str]) -> list[str]:
    if isinstance(ids, str):
        raise invalid("ids", "must be several ids, not one text")
    return _items("ids", ids)


def _items(field: str, items: Iterable[T]) -> list[T]:
    try:
        return list(items)
    except TypeError as error:
        raise invalid(field, "must be a list") from error


def _limit(limit: int | None) -> int | None:
    if limit == 0:
        # The service takes 0 for its default.
        raise invalid("limit", "must be at least 1; omit it for the default")
    return limit


def _record(response: Any) -> ContactMethod:
    return from_proto(response.contact_method)


def _page(response: pb.ListContactMethodsResponse) -> Page:
    total = response.total_size if response.HasField("total_size") else None
    return _page_of(response, total)


def _client_page(response: pb.ListClientContactMethodsResponse) -> Page:
    return _page_of(response, None)


def _page_of(
    response: pb.ListContactMethodsResponse | pb.ListClientContactMethodsResponse | pb.StreamContactMethodsResponse,
    total: int | None,
) -> Page:
    token = response.next_page_token
    return Page(
        [from_proto(record) for record in response.contact_methods], Pagination(bool(token), token or None, total)
    )


def _found_many(response: pb.BatchGetContactMethodsResponse) -> FoundMany:
    return FoundMany([from_proto(record) for record in response.contact_methods], list(response.missing_ids))


def _sync_result(response: pb.SyncClientContactMethodsResponse) -> SyncResult:
    return SyncResult(
        created=[from_proto(record) for record in response.created],
        updated=[from_proto(record) for record in response.updated],
        unchanged=[from_proto(record) for record in response.unchanged],
        deleted_ids=list(response.deleted_ids),
        demoted_ids=list(response.demoted_ids),
    )


def _batch(atomic: bool, read: Callable[[Any], T]) -> Callable[[Any], AtomicBatch[T] | PartialBatch[T]]:
    """Return the reading of a batch's response, of which `read` reads the results that are no errors."""

    def read_atomic(response: Any) -> AtomicBatch[T]:
        for result in response.results:
            if result.HasField("error"):
                # The batch was carried out before, and somebody has deleted this record since.
                raise from_batch_error(result.error)
        return AtomicBatch([read(result) for result in response.results])

    def read_partial(response: Any) -> PartialBatch[T]:
        outcomes = list(enumerate(response.results))
        return PartialBatch(
            succeeded=[(index, read(result)) for index, result in outcomes if not result.HasField("error")],
            failed=[(index, from_batch_error(result.error)) for index, result in outcomes if result.HasField("error")],
        )

    return read_atomic if atomic else read_partial
