"""Contact methods as callers write them, as dictionaries or keyword arguments, and the messages made from them.

Type checkers refuse unknown and missing fields and wrong types of dictionaries that are written out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Required, TypedDict, TypeVar, get_type_hints

from contactsvc_stubs.v1 import contact_methods_pb2 as pb

from contactsvc_client._errors import ValidationError, invalid
from contactsvc_client._messages import message, suggestion, type_number
from contactsvc_client._records import AnyContactMethodType

T = TypeVar("T")


class Omitted:
    """The type of `OMITTED`, which distinguishes an omitted argument from None."""

    def __repr__(self) -> str:
        return "OMITTED"


OMITTED: Final = Omitted()


class ContactMethodFields(TypedDict, total=False):
    """The optional fields that all items share; a new one is added here.

    Where `None` is allowed, it clears the field; as an item of `create_many` it leaves the field empty.
    """

    label: str | None
    is_primary: bool


class NewContactMethod(ContactMethodFields, total=False):
    """An item of `create_many`: the arguments of `create`."""

    client_id: Required[str]
    type: Required[AnyContactMethodType]
    value: Required[str]
    external_id: str | None
    metadata: Mapping[str, str] | None


class ContactMethodUpdate(ContactMethodFields, total=False):
    """An item of `update_many`: the arguments of `update`. An absent field is left unchanged."""

    id: Required[str]
    type: AnyContactMethodType
    value: str
    external_id: str | None
    metadata: Mapping[str, str | None] | None
    remove_metadata_keys: Sequence[str]
    replace_metadata: bool
    etag: str | None


class ContactMethodUpsert(ContactMethodFields, total=False):
    """An item of `upsert_many_by_external_id`. An absent field of an existing record is left unchanged."""

    external_id: Required[str]
    client_id: Required[str]
    type: Required[AnyContactMethodType]
    value: Required[str]
    metadata: Mapping[str, str | None]
    etag: str | None


class SyncItem(ContactMethodFields, total=False):
    """An item of `sync`. An absent field of an existing record is left unchanged.

    `type` and `value` are required, except with `delete` and an id or external id.
    """

    id: str
    external_id: str | None
    type: AnyContactMethodType
    value: str
    metadata: Mapping[str, str | None]
    etag: str | None
    delete: bool


# Fields that None clears, sent as the empty string. `external_id` of an upsert is among them: the service rejects it.
_CLEARABLE = {name for name, hint in get_type_hints(ContactMethodUpdate).items() if hint == str | None}
_CLEARABLE |= {"request_id"}


def item_message(kind: Any, where: str, item_type: Any, fields: Mapping[str, Any]) -> Any:
    """Return the message of an item.

    Args:
        kind: the class of the message.
        where: the path of the item in the request, such as `requests[3]`.
        item_type: the TypedDict that names the allowed fields.
        fields: the item.

    Raises:
        ValidationError: the item is no dictionary, has an unknown field, or a field has the wrong type.
    """
    _reject_unknown(where, item_type, fields)
    return change_message(kind, where, fields)


def new_item_message(where: str, fields: Mapping[str, Any]) -> pb.CreateContactMethodRequest:
    """Return the message of an item of `create_many`; see `item_message`."""
    _reject_unknown(where, NewContactMethod, fields)
    return create_message(where, fields)


def create_message(where: str, fields: Mapping[str, Any]) -> pb.CreateContactMethodRequest:
    """Return the message of a create. None is the same as an omitted field."""
    sent = {**fields, "type": _type(where, fields.get("type"))}
    request: pb.CreateContactMethodRequest = message(pb.CreateContactMethodRequest, where, sent)
    return request


def change_message(kind: Any, where: str, fields: Mapping[str, Any]) -> Any:
    """Return the message of an update, an upsert or a sync item. Omitted fields are absent, and None clears."""
    if kind is pb.UpdateContactMethodRequest and fields.get("metadata", OMITTED) is None:
        fields = {**fields, "metadata": {}, "replace_metadata": True}
    sent: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, Omitted):
            continue
        if name in _CLEARABLE:
            sent[name] = "" if value is None else value
        elif value is None:
            raise invalid(_path(where, name), "cannot be None; omit the field to leave it unchanged")
        elif name == "type":
            sent[name] = _type(where, value)
        elif name == "metadata":
            if not isinstance(value, Mapping):
                raise invalid(_path(where, name), "must be a dictionary")
            sent[name] = {key: "" if pair is None else pair for key, pair in value.items()}
        else:
            sent[name] = value
    return message(kind, where, sent)


def id_list(ids: Iterable[str]) -> list[str]:
    """Return the argument `ids` as a list; raise ValidationError if it is not iterable or a single string."""
    if isinstance(ids, str):
        raise invalid("ids", "must be a list of ids, not a string")
    return item_list("ids", ids)


def item_list(field: str, items: Iterable[T]) -> list[T]:
    """Return an argument as a list; raise ValidationError if it is not iterable."""
    try:
        return list(items)
    except TypeError as error:
        raise invalid(field, "must be a list") from error


def _reject_unknown(where: str, item_type: Any, fields: Mapping[str, Any]) -> None:
    if not isinstance(fields, Mapping):
        raise invalid(where, "must be a dictionary")
    for name in fields:
        if name not in item_type.__annotations__:
            known = item_type.__annotations__
            raise invalid(_path(where, name), f"is not a field of this item{suggestion(name, known)}")


def _type(where: str, type_: Any) -> Any:
    """Return the number of a type.

    In a batch, an unknown or missing type is sent as UNSPECIFIED: the service reports all faults of a batch at once,
    and one faulty item of a partial batch must not keep the others from being sent.
    """
    try:
        return type_number("type", type_)
    except ValidationError:
        if where:
            return pb.CONTACT_METHOD_TYPE_UNSPECIFIED
        raise


def _path(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
