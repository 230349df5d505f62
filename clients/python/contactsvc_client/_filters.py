"""Filters and sort orders, and the messages made from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Literal, TypedDict, TypeVar

from contactsvc_stubs.v1 import contact_methods_pb2 as pb

from contactsvc_client._errors import invalid
from contactsvc_client._messages import message, suggestion, timestamp, type_number
from contactsvc_client._records import AnyContactMethodType

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class OneOf(Generic[T_co]):
    """A condition that matches any of several values; made by `one_of`."""

    values: tuple[T_co, ...]


@dataclass(frozen=True, slots=True)
class Contains:
    """A condition that matches part of a value; made by `contains`."""

    text: str


def one_of(*values: T) -> OneOf[T]:
    """Return the condition that a field has one of these values, at most 250."""
    return OneOf(values)


def contains(text: str) -> Contains:
    """Return the condition that a value contains this text, which is literal and case-sensitive.

    Digits are found in numbers regardless of punctuation, and texts without blanks in emails regardless of case.
    """
    return Contains(text)


class Filter(TypedDict, total=False):
    """Conditions on records, all of which must hold. A field with several values matches any of them.

    None is no condition: omit a field to match all records.
    """

    id: str | OneOf[str] | Sequence[str]
    client_id: str | OneOf[str] | Sequence[str]
    type: AnyContactMethodType | OneOf[AnyContactMethodType] | Sequence[AnyContactMethodType]
    value: str | OneOf[str] | Sequence[str] | Contains
    label: str | OneOf[str] | Sequence[str]
    external_id: str | OneOf[str] | Sequence[str]
    is_primary: bool
    is_verified: bool
    metadata: Mapping[str, str]
    created_at_or_after: datetime
    created_before: datetime
    updated_at_or_after: datetime
    updated_before: datetime


SortKey = Literal["created_at", "-created_at", "updated_at", "-updated_at"]
"""A field to sort by; a leading `-` sorts latest first."""

Sort = SortKey | Sequence[SortKey]
"""One sort key, or several."""

_REPEATED = {
    "id": "ids",
    "client_id": "client_ids",
    "type": "types",
    "value": "values",
    "label": "labels",
    "external_id": "external_ids",
}
_PLAIN = ("is_primary", "is_verified", "metadata")
_TIMES = ("created_at_or_after", "created_before", "updated_at_or_after", "updated_before")
_NAMES = (*_REPEATED, *_PLAIN, *_TIMES)
_SORT_FIELDS = {
    "created_at": pb.CONTACT_METHOD_SORT_FIELD_CREATED_AT,
    "updated_at": pb.CONTACT_METHOD_SORT_FIELD_UPDATED_AT,
}


def filter_message(asked: Filter | None) -> pb.ContactMethodFilter | None:
    """Return the message of a filter; raise ValidationError for an invalid condition."""
    if asked is None:
        return None
    if not isinstance(asked, Mapping):
        raise invalid("filter", "must be a dictionary")
    fields: dict[str, Any] = {}
    for name, wanted in asked.items():
        path = f"filter.{name}"
        if name not in _NAMES:
            raise invalid(path, f"is not a filter field{suggestion(name, _NAMES)}")
        if wanted is None:
            # As "no condition", a missing value would select the records of everybody.
            raise invalid(path, "must not be None; omit the field to match all records")
        if isinstance(wanted, Contains):
            if name != "value":
                raise invalid(path, "does not support contains(); only value does")
            fields["value_contains"] = wanted.text
        elif name in _REPEATED:
            fields[_REPEATED[name]] = _values(name, path, wanted)
        elif name in _TIMES:
            fields[name] = timestamp(path, wanted)
        else:
            fields[name] = wanted
    made: pb.ContactMethodFilter = message(pb.ContactMethodFilter, "filter", fields)
    return made


def sort_messages(asked: Sort | None) -> list[pb.ContactMethodSort]:
    """Return the messages of a sort order; raise ValidationError for an unknown key."""
    keys: Iterable[object] = [] if asked is None else asked if isinstance(asked, (list, tuple)) else [asked]
    messages = []
    for key in keys:
        if not isinstance(key, str) or key.removeprefix("-") not in _SORT_FIELDS:
            raise invalid("sort", "must be created_at or updated_at, with a leading - for latest first")
        field = _SORT_FIELDS[key.removeprefix("-")]
        messages.append(pb.ContactMethodSort(field=field, descending=key.startswith("-")))
    return messages


def _values(name: str, path: str, wanted: Any) -> list[Any]:
    if isinstance(wanted, OneOf):
        wanted = wanted.values
    values = [wanted] if isinstance(wanted, str) or not isinstance(wanted, Iterable) else list(wanted)
    if not values:
        # The service reads an empty list as no condition; the caller means that nothing matches.
        raise invalid(path, "must have at least one value")
    return [type_number(path, value) for value in values] if name == "type" else values
