"""Each method as a request and a reading of the response: what the two clients share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, NotRequired, Required, TypedDict, TypeVar

from contactsvc.v1 import contact_methods_pb2 as pb
from contactsvc_client.errors import from_batch_error
from contactsvc_client.filters import Filter, Sort, filter_message, invalid, message, sort_messages, type_number
from contactsvc_client.records import (
    AtomicBatch,
    ContactMethod,
    DeleteResult,
    Page,
    Pagination,
    PartialBatch,
    from_proto,
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
    label: NotRequired[str | None]
    is_primary: NotRequired[bool]
    external_id: NotRequired[str | None]
    metadata: NotRequired[Mapping[str, str] | None]


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """A call: which RPC, with what, and how to read its response."""

    rpc: str
    request: Any
    read: Callable[[Any], T]


def create(**fields: Any) -> Operation[ContactMethod]:
    """Create one record."""
    return Operation("CreateContactMethod", _create_request("", fields), _record)


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


def update(id_: str, fields: Mapping[str, Any]) -> Operation[ContactMethod]:
    """Change a record: omitted fields are left alone, None clears."""
    sent: dict[str, Any] = {"id": id_}
    for name, value in fields.items():
        if isinstance(value, Omitted):
            continue
        if name in {"label", "external_id"}:
            sent[name] = "" if value is None else value
        elif value is None:
            raise invalid(name, "cannot be cleared; omit it to leave it alone")
        elif name == "type":
            sent[name] = type_number("type", value)
        elif name == "metadata":
            sent[name] = {key: "" if pair is None else pair for key, pair in value.items()}
        else:
            sent[name] = value
    return Operation("UpdateContactMethod", message(pb.UpdateContactMethodRequest, "", sent), _record)


def delete(id_: str, *, allow_missing: bool, on_primary: OnPrimary | None) -> Operation[DeleteResult]:
    """Delete a record."""
    if on_primary not in _POLICIES:
        raise invalid("on_primary", "must be promote_next, reject or None")
    request = message(
        pb.DeleteContactMethodRequest,
        "",
        {"id": id_, "allow_missing": allow_missing, "on_primary": _POLICIES[on_primary]},
    )
    return Operation(
        "DeleteContactMethod",
        request,
        lambda response: DeleteResult(response.promoted_id if response.HasField("promoted_id") else None),
    )


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
    items: Iterable[NewContactMethod | Mapping[str, Any]], *, atomic: bool
) -> Operation[AtomicBatch | PartialBatch]:
    """Create several records."""
    requests = [_create_request(f"requests[{index}]", item) for index, item in enumerate(items)]
    request = pb.BatchCreateContactMethodsRequest(requests=requests, partial=not atomic)
    return Operation("BatchCreateContactMethods", request, _atomic_batch if atomic else _partial_batch)


def _create_request(where: str, fields: Mapping[str, Any]) -> pb.CreateContactMethodRequest:
    prefix = f"{where}." if where else ""
    known = NewContactMethod.__annotations__
    for name in fields:
        if name not in known:
            raise invalid(f"{prefix}{name}", "is no field of a contact method")
    for name in ("client_id", "type", "value"):
        if name not in fields:
            raise invalid(f"{prefix}{name}", "is missing")
    sent = {**fields, "type": type_number(f"{prefix}type", fields["type"])}
    request: pb.CreateContactMethodRequest = message(pb.CreateContactMethodRequest, where, sent)
    return request


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


def _page_of(response: pb.ListContactMethodsResponse | pb.ListClientContactMethodsResponse, total: int | None) -> Page:
    token = response.next_page_token
    return Page(
        [from_proto(record) for record in response.contact_methods], Pagination(bool(token), token or None, total)
    )


def _atomic_batch(response: pb.BatchCreateContactMethodsResponse) -> AtomicBatch | PartialBatch:
    return AtomicBatch([from_proto(result.contact_method) for result in response.results])


def _partial_batch(response: pb.BatchCreateContactMethodsResponse) -> AtomicBatch | PartialBatch:
    outcomes = list(enumerate(response.results))
    return PartialBatch(
        succeeded=[(i, from_proto(result.contact_method)) for i, result in outcomes if not result.HasField("error")],
        failed=[(i, from_batch_error(result.error)) for i, result in outcomes if result.HasField("error")],
    )
